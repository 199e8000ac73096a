"""The SED decoder: cost map, three gradual-fusion levels, rejection heads.

Per-class tensors carry shape [b * n, c, h, w] with the classes of an image next to each other.
"""

import torch
import torch.nn.functional as F
from torch import nn

PROMPTS = 80


class ConvBlock(nn.Module):
    """ConvNeXt block with its own names (``cnext``): large depthwise kernel, norm, MLP, residual."""

    def __init__(self, dim: int, kernel: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.dwconv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[m, c, h, w], shape unchanged."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.pwconv2(F.gelu(self.pwconv1(y))) * self.gamma
        return x + y.permute(0, 3, 1, 2)


class LinearAttention(nn.Module):
    """Linear attention over the classes of a pixel, no output projection."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[b, n, p, c] (classes n, pixels p), shape unchanged."""
        shape = (*x.shape[:3], self.heads, -1)
        # The quotient of two sums is not for half precision: it made the training diverge.
        q = F.elu(self.q(x).float()).view(shape) + 1
        k = F.elu(self.k(x).float()).view(shape) + 1
        v = self.v(x).float().view(shape)
        with torch.autocast(x.device.type, enabled=False):
            memory = torch.einsum("bnphd,bnphe->bphde", k, v / x.shape[1])
            scale = 1 / (torch.einsum("bnphd,bphd->bnph", q, k.sum(1)) + 1e-6)
            out = torch.einsum("bnphd,bphde->bnphe", q, memory) * scale[..., None] * x.shape[1]
        return out.reshape(x.shape).to(x.dtype)


class ClassAttention(nn.Module):
    """Attention and MLP over the classes; its input is added twice, as the official code does."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attention = LinearAttention(dim, heads)
        self.MLP = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor, classes: int) -> torch.Tensor:
        """[b * classes, c, h, w], shape unchanged."""
        m, c, h, w = x.shape
        seq = x.permute(0, 2, 3, 1).reshape(m // classes, classes, h * w, c)
        y = seq + self.attention(self.norm1(seq))
        y = seq + y + self.MLP(self.norm2(y))
        return y.reshape(m, h, w, c).permute(0, 3, 1, 2)


class DoubleConv(nn.Module):
    """Twice: conv 3x3, GroupNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        groups = max(1, outputs // 16)
        layers = []
        for c in (inputs, outputs):
            layers += [nn.Conv2d(c, outputs, 3, padding=1, bias=False), nn.GroupNorm(groups, outputs), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[m, inputs, h, w] to [m, outputs, h, w]."""
        return self.double_conv(x)


class Level(nn.Module):
    """One decoder level: refine, mix classes, double the resolution, join the guidances."""

    def __init__(self, inputs: int, outputs: int, image: int, corr: int, kernel: int, heads: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs - image, 2, stride=2)
        self.conv = DoubleConv(inputs + corr, outputs)
        self.cnext = ConvBlock(inputs, kernel)
        self.attention = ClassAttention(inputs, heads)

    def forward(self, x: torch.Tensor, image: torch.Tensor, corr: torch.Tensor, classes: int) -> torch.Tensor:
        """x [b*n, inputs, h, w], image [b, g, 2h, 2w], corr [b*n, g', 2h, 2w] to [b*n, outputs, 2h, 2w]."""
        x = self.up(self.attention(self.cnext(x), classes))
        image = image.repeat_interleave(classes, 0)
        return self.conv(torch.cat([x, image, corr], 1))


def _relu_seq(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ReLU())


class Decoder(nn.Module):
    """Cost map to one logit map per class (keys ``transformer...``)."""

    def __init__(self, vision_dims: list[int], config: dict):
        super().__init__()
        hidden, dims = config["hidden_dim"], [config["hidden_dim"], *config["dims"]]
        image, corr = config["guidance_dims"], config["corr_guidance_dims"]
        self.conv1 = nn.Conv2d(PROMPTS, hidden, 7, padding=3)
        stages = vision_dims[2::-1]
        self.decoder_guidance_projection = nn.ModuleList(
            [_relu_seq(nn.Conv2d(c, g, 3, padding=1)) for c, g in zip(stages, image)]
        )
        self.decoder_corr_guidance_projection = nn.ModuleList(
            [_relu_seq(nn.ConvTranspose2d(c, g, 2, stride=2)) for c, g in zip([PROMPTS, *corr], corr)]
        )
        for i in range(3):
            level = Level(dims[i], dims[i + 1], image[i], corr[i], config["kernel_size"], config["attention_heads"])
            setattr(self, f"decoder{i + 1}", level)
        for i, dim in enumerate(dims[:3]):
            setattr(self, f"head{i}", nn.Conv2d(dim, 1, 3, padding=1))
        self.head = nn.Conv2d(dims[3], 1, 3, padding=1)
        for head in (self.head0, self.head1, self.head2, self.head):
            # A candidate covers few pixels of an image: start from "no".
            nn.init.constant_(head.bias, -3.0)

    def forward(
        self, stages: list[torch.Tensor], dense: torch.Tensor, text: torch.Tensor, topk: int = 0
    ) -> dict[str, torch.Tensor | list]:
        """Decodes.

        ``stages`` are the trunk's outputs, ``dense`` [b, d, h, w], ``text`` [b, n, 80, d].
        Gives ``logits`` [b, n, 8h, 8w] and ``rejection``: the three auxiliary maps [b, n, 1|2|4 times h, w]
        (computed on detached features). With ``topk`` (b = 1) classes are rejected early: ``kept`` lists the
        survivors after every level and ``logits`` holds the last ones only.
        """
        b, n = text.shape[:2]
        corr = torch.einsum("bdhw,bnpd->bnphw", F.normalize(dense, dim=1), F.normalize(text, dim=-1)).flatten(0, 1)
        x, kept, rejection = self.conv1(corr), [], []
        alive = torch.arange(n)
        guide = corr
        for i in range(3):
            aux = getattr(self, f"head{i}")(x.detach())
            rejection.append(aux.view(b, -1, *aux.shape[-2:]))
            if topk:
                best = aux[:, 0].topk(min(topk, len(aux)), 0).indices.unique()
                alive, x, guide = alive[best], x[best], guide[best]
                kept.append(alive)
            guide = self.decoder_corr_guidance_projection[i](guide)
            image = self.decoder_guidance_projection[i](stages[2 - i])
            x = getattr(self, f"decoder{i + 1}")(x, image, guide, x.shape[0] // b)
        logits = self.head(x)
        return {"logits": logits.view(b, -1, *logits.shape[-2:]), "rejection": rejection, "kept": kept}
