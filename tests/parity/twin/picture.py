"""Pictures to network inputs, as the official evaluation does it."""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MEAN = torch.tensor([122.7709383, 116.7460125, 104.09373615])
STD = torch.tensor([68.5005327, 66.6321579, 70.3231630])


def network_input(path: pathlib.Path, side: int) -> tuple[Tensor, tuple[int, int]]:
    """A picture as ``[1, 3, side, side]``, and its height and width: its shorter side is brought to 640 (with Pillow,
    which smooths), then the whole to a square. Not for pictures four times as long as wide, which are limited."""
    picture = Image.open(path).convert("RGB")
    scale = 640 / min(picture.size)
    size = tuple(int(scale * length + 0.5) for length in picture.size)
    resized = torch.from_numpy(np.array(picture.resize(size, Image.BILINEAR))).float()
    pixels = ((resized - MEAN) / STD).permute(2, 0, 1)[None]
    return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False), picture.size[::-1]
