"""CLIP's text transformer: token ids to unit vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPLATES = 80


class Mlp(nn.Module):
    """Linear, exact GELU, linear: ``[.., W]`` to the same."""

    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    """A pre-norm transformer block, ``[rows, T, W]`` to the same; a token sees itself and those before it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Clip(nn.Module):
    """``clip_model`` of a checkpoint: the image encoder and the text transformer."""

    def __init__(self, config: dict, visual: nn.Module):
        super().__init__()
        text = config["text"]
        width = text["width"]
        self.visual = visual
        self.positional_embedding = nn.Parameter(torch.empty(text["context_length"], width))
        self.text_projection = nn.Parameter(torch.empty(width, config["embed_dim"]))
        self.logit_scale = nn.Parameter(torch.empty(()))  # in the checkpoint, but never applied
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        blocks = (Block(width, text["heads"]) for _ in range(text["layers"]))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.ln_final = nn.LayerNorm(width)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids ``[rows, T]``, zeros behind the end of text, to unit vectors ``[rows, D]``."""
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        mask = torch.full((length, length), float("-inf"), dtype=x.dtype, device=x.device).triu(1)
        for block in self.transformer["resblocks"]:
            x = block(x, mask)
        end = ids.argmax(dim=-1)  # the end of text has the largest id
        x = self.ln_final(x)[torch.arange(len(ids), device=ids.device), end] @ self.text_projection
        return x / x.norm(dim=-1, keepdim=True)

    def embed_category(self, ids: Tensor, phrases: int = 1) -> Tensor:
        """Ids ``[80 * phrases, T]`` of a category's prompts, all phrases in the first template, then all in the
        second, and so on, to its embedding ``[80, D]``."""
        vectors = self.encode_text(ids)
        if phrases == 1:
            return vectors
        mean = vectors.reshape(TEMPLATES, phrases, -1).mean(dim=1)
        return mean / mean.norm(dim=-1, keepdim=True)
