"""The whole model, with the official checkpoint's names for its parameters."""

import torch
from torch import nn

from convnext import Visual
from decoder import Decoder
from settings import PIXEL_MEAN, PIXEL_STD
from text_tower import TextTower

PREFIX = "sem_seg_head.predictor."


class ClipModel(TextTower):
    """Text tower and ``visual`` side by side."""

    def __init__(self, config: dict):
        super().__init__(**config["text"], embed_dim=config["embed_dim"])
        self.visual = Visual(config["vision"]["dims"], config["vision"]["depths"], config["embed_dim"])


class Sed(nn.Module):
    """``clip_model`` and ``transformer`` (the decoder)."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        self.clip_model = ClipModel(config)
        self.transformer = Decoder(config["vision"]["dims"], config["decoder"])

    def forward(self, images: torch.Tensor, text: torch.Tensor, topk: int = 0) -> dict:
        """images [b, 3, s, s] normalised, text [b, n, 80, d]; see ``Decoder.forward``; adds ``dense``."""
        stages, dense = self.clip_model.visual(images)
        return self.transformer(stages, dense, text, topk) | {"dense": dense}

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """The state dict under the official key names."""
        return {PREFIX + k: v for k, v in self.state_dict().items()}


def normalise(images: torch.Tensor) -> torch.Tensor:
    """u8 [b, h, w, 3] to f32 [b, 3, h, w] in CLIP's statistics."""
    x = images.permute(0, 3, 1, 2).float()
    mean = torch.tensor(PIXEL_MEAN, device=x.device).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=x.device).view(3, 1, 1)
    return (x - mean) / std
