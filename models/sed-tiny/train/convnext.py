"""The image side: a ConvNeXt whose last stage is projected, pixel by pixel, to the text width."""

import torch
import torch.nn.functional as F
from torch import nn


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [n, c, h, w]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises; shape unchanged."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two linears with a GELU between, on [..., c]."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape unchanged."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Depthwise 7x7, norm, MLP, scale, residual on [n, c, h, w]."""

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 0.3))
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape unchanged."""
        y = self.conv_dw(x).permute(0, 2, 3, 1)
        y = self.mlp(self.norm(y)) * self.gamma
        return x + y.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Halves the resolution (but for the first stage), then ``depth`` blocks."""

    def __init__(self, before: int, dim: int, depth: int):
        super().__init__()
        if before:
            self.downsample = nn.Sequential(ChannelNorm(before, eps=1e-6), nn.Conv2d(before, dim, 2, stride=2))
        else:
            self.downsample = nn.Identity()
        self.blocks = nn.Sequential(*[Block(dim) for _ in range(depth)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, before, h, w] to [n, dim, h/2, w/2] (the first stage keeps h, w)."""
        return self.blocks(self.downsample(x))


class Head(nn.Module):
    """Holds ``trunk.head.norm``."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = ChannelNorm(dim, eps=1e-6)


class Trunk(nn.Module):
    """Stem and four stages."""

    def __init__(self, dims: list[int], depths: list[int]):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ChannelNorm(dims[0], eps=1e-6))
        befores = [0, *dims[:-1]]
        self.stages = nn.ModuleList([Stage(b, d, n) for b, d, n in zip(befores, dims, depths)])
        self.head = Head(dims[-1])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """[n, 3, h, w] to the raw outputs at strides 4, 8, 16, 32."""
        x = self.stem(x)
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


class Visual(nn.Module):
    """Trunk and linear head (keys ``visual.trunk...`` and ``visual.head.proj.weight``)."""

    def __init__(self, dims: list[int], depths: list[int], embed_dim: int):
        super().__init__()
        self.trunk = Trunk(dims, depths)
        self.head = nn.ModuleDict({"proj": nn.Linear(dims[-1], embed_dim, bias=False)})

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """[n, 3, h, w] to (stage outputs, dense embedding [n, embed_dim, h/32, w/32])."""
        stages = self.trunk(x)
        y = self.trunk.head.norm(stages[-1]).permute(0, 2, 3, 1)
        return stages, self.head["proj"](y).permute(0, 3, 1, 2)
