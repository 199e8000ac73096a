"""From the cost map to logits: the gradual fusion decoder, and the rejection of categories on its way.

The axis that is first in every tensor here is that of the categories of one image, N at first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .text import TEMPLATES


class PositionAggregation(nn.Module):
    """A ConvNeXt block with a large kernel, ``[N, C, h, w]`` to the same."""

    def __init__(self, dim: int, kernel: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))
        self.dwconv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class LinearAttention(nn.Module):
    """Attention over the categories of each pixel, linear in their number: ``[pixels, N, C]`` to the same. There
    is no output projection."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        pixels, categories, dim = x.shape
        q, k, v = (f(x).reshape(pixels, categories, self.heads, -1) for f in (self.q, self.k, self.v))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        key_values = torch.einsum("pshd,pshv->phdv", k, v / categories)
        weights = 1 / (torch.einsum("pqhd,phd->pqh", q, k.sum(dim=1)) + 1e-6)
        out = torch.einsum("pqhd,phdv,pqh->pqhv", q, key_values, weights) * categories
        return out.reshape(pixels, categories, dim)


class CategoryAggregation(nn.Module):
    """A transformer layer over the categories of each pixel, ``[N, C, h, w]`` to the same."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attention = LinearAttention(dim, heads)
        self.MLP = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        categories, dim, height, width = x.shape
        y = x.permute(2, 3, 0, 1).reshape(height * width, categories, dim)
        y = y + self.attention(self.norm1(y))
        y = y + self.MLP(self.norm2(y))
        # The layer has a shortcut of its own around all of this: x counts twice.
        return x + y.reshape(height, width, categories, dim).permute(2, 3, 0, 1)


class DoubleConv(nn.Module):
    """Two 3×3 convolutions, each with group norm (one group for 16 channels) and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        layers = []
        for channels in (inputs, outputs):
            conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(outputs // 16, outputs), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Level(nn.Module):
    """One level of the decoder: aggregation, then fusion with both guidances at twice the side."""

    def __init__(self, inputs: int, outputs: int, guidance: int, cost_guidance: int, kernel: int, heads: int):
        super().__init__()
        up = inputs - guidance
        self.cnext = PositionAggregation(inputs, kernel)
        self.attention = CategoryAggregation(inputs, heads)
        self.up = nn.ConvTranspose2d(inputs, up, 2, stride=2)
        self.conv = DoubleConv(up + guidance + cost_guidance, outputs)

    def forward(self, x: Tensor, guidance: Tensor, cost_guidance: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` with ``[1, g, 2h, 2w]`` of the image and ``[n, g', 2h, 2w]`` of the cost map to
        ``[n, outputs, 2h, 2w]``."""
        x = self.up(self.attention(self.cnext(x)))
        return self.conv(torch.cat([x, guidance.expand(x.shape[0], -1, -1, -1), cost_guidance], dim=1))


def survivors(logits: Tensor, top_k: int) -> Tensor:
    """Categories of logits ``[n, 1, h, w]`` that are among the ``top_k`` best at some pixel, rising: ``[kept]``."""
    if top_k == 0 or top_k >= len(logits):
        return torch.arange(len(logits), device=logits.device)
    best = logits.flatten(1).argsort(dim=0, descending=True)[:top_k]
    return best.unique()


class Decoder(nn.Module):
    """``transformer`` of a checkpoint: everything behind the encoders."""

    def __init__(self, config: dict):
        super().__init__()
        sizes, stages = config["decoder"], config["vision"]["dims"]
        hidden, dims = sizes["hidden_dim"], sizes["dims"]
        guidance, cost_guidance = sizes["guidance_dims"], sizes["corr_guidance_dims"]
        relu = nn.ReLU()
        self.conv1 = nn.Conv2d(TEMPLATES, hidden, 7, padding=3)
        self.decoder_guidance_projection = nn.ModuleList(
            nn.Sequential(nn.Conv2d(stage, outputs, 3, padding=1), relu)
            for stage, outputs in zip(reversed(stages[:3]), guidance, strict=True)
        )
        self.decoder_corr_guidance_projection = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, stride=2), relu)
            for inputs, outputs in zip([TEMPLATES, *cost_guidance[:2]], cost_guidance, strict=True)
        )
        shapes = zip([hidden, *dims[:2]], dims, guidance, cost_guidance, strict=True)
        levels = [Level(*shape, sizes["kernel_size"], sizes["attention_heads"]) for shape in shapes]
        self.decoder1, self.decoder2, self.decoder3 = levels
        channels = [hidden, *dims]
        self.head0, self.head1, self.head2, self.head = (nn.Conv2d(c, 1, 3, padding=1) for c in channels)

    def guide(self, levels: list[Tensor]) -> list[Tensor]:
        """The encoder's stages to the image's guidance of the three levels, ``[1, g_i, S/16 << i, S/16 << i]``."""
        return [f(x) for f, x in zip(self.decoder_guidance_projection, reversed(levels[:3]), strict=True)]

    def start(self, dense: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Dense features ``[1, D, h, w]`` and text embeddings ``[N, 80, D]`` to embedded costs
        ``[N, hidden, h, w]`` and the cost map's guidance of all levels, ``[N, g_i, 2h << i, 2w << i]``."""
        pixels, text = F.normalize(dense, dim=1), F.normalize(text, dim=-1)
        cost = torch.einsum("bchw,tpc->btphw", pixels, text)[0]
        guidance, x = [], cost
        for project in self.decoder_corr_guidance_projection:
            x = project(x)
            guidance.append(x)
        return self.conv1(cost), guidance

    def forward(
        self, dense: Tensor, guidance: list[Tensor], text: Tensor, top_k: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits ``[kept, S/4, S/4]`` of the categories that survive all levels, and the survivors of each of the
        three rejections as indices into ``text``. A ``top_k`` of 0 turns rejection off.

        As in the official code everything before the first rejection is computed for all categories. Its heads of
        the first levels are left out where nothing reads them."""
        x, cost_guidance = self.start(dense, text)
        alive = torch.arange(text.shape[0], device=text.device)
        kept = []
        heads = [self.head0, self.head1, self.head2]
        levels = [self.decoder1, self.decoder2, self.decoder3]
        for index, (head, level) in enumerate(zip(heads, levels, strict=True)):
            costs = cost_guidance[index]
            if top_k:
                chosen = survivors(head(x), top_k)
                x, alive = x[chosen], alive[chosen]
                costs = costs[alive]
            kept.append(alive)
            x = level(x, guidance[index], costs)
        return self.head(x)[:, 0], kept
