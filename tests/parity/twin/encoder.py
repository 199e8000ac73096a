"""The image encoder: CLIP's ConvNeXt, whose four stages and dense projected features SED reads."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of ``[n, C, h, w]``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Linear, exact GELU, linear, over the last axis: ``[.., inputs]`` to ``[.., outputs]``."""

    def __init__(self, inputs: int, hidden: int, outputs: int, last_bias: bool = True):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs, bias=last_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A ConvNeXt block, ``[n, C, h, w]`` to the same."""

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        y = self.gamma * self.mlp(y)
        return x + y.permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks behind a downsampling by two: ``[n, inputs, h, w]`` to ``[n, dim, h/2, w/2]``. The first stage does
    not downsample (``inputs`` is 0)."""

    def __init__(self, inputs: int, dim: int, depth: int):
        super().__init__()
        if inputs:
            self.downsample = nn.Sequential(ChannelNorm(inputs, eps=1e-6), nn.Conv2d(inputs, dim, 2, stride=2))
        else:
            self.downsample = nn.Identity()
        self.blocks = nn.Sequential(*(Block(dim) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Trunk(nn.Module):
    """ConvNeXt without its classification head, but for the head's norm, which is applied to every pixel."""

    def __init__(self, dims: list[int], depths: list[int]):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ChannelNorm(dims[0], eps=1e-6))
        inputs = [0, *dims[:-1]]
        self.stages = nn.ModuleList(Stage(*sizes) for sizes in zip(inputs, dims, depths, strict=True))
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(dims[-1], eps=1e-6)})

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels ``[n, 3, S, S]`` to the outputs of the stages: ``[n, dims[i], S/4 >> i, S/4 >> i]``."""
        x, outputs = self.stem(pixels), []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Encoder(nn.Module):
    """``clip_model.visual`` of a checkpoint."""

    def __init__(self, config: dict):
        super().__init__()
        vision, width = config["vision"], config["embed_dim"]
        dim, head = vision["dims"][-1], vision["head"]
        self.trunk = Trunk(vision["dims"], vision["depths"])
        if head["type"] == "mlp":
            self.head = nn.ModuleDict({"mlp": Mlp(dim, head["hidden"], width, last_bias=False)})
        else:
            self.head = nn.ModuleDict({"proj": nn.Linear(dim, width, bias=False)})

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pixels ``[n, 3, S, S]`` to the stages' outputs, and the dense features ``[n, D, S/32, S/32]``."""
        levels = self.trunk(pixels)
        x = self.trunk.head["norm"](levels[-1].permute(0, 2, 3, 1))
        for layer in self.head.values():
            x = layer(x)
        return levels, x.permute(0, 3, 1, 2)
