"""The whole network."""

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .decoder import Decoder
from .encoder import Encoder
from .text import Clip

ROOT = "sem_seg_head.predictor."


class Sed(nn.Module):
    """SED of the sizes of a ``config.json``, with the parameters' names of the official checkpoints (less
    ``ROOT``)."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        self.clip_model = Clip(config, Encoder(config))
        self.transformer = Decoder(config)

    @classmethod
    def load(cls, config: dict, path: str) -> "Sed":
        """Reads a ``.safetensors`` checkpoint; fails when a tensor is missing, one too many or of another shape."""
        return cls.of(config, load_file(path))

    @classmethod
    def of(cls, config: dict, weights: dict[str, Tensor]) -> "Sed":
        """A network of tensors by their full names."""
        strange = [name for name in weights if not name.startswith(ROOT)]
        if strange:
            raise ValueError(f"tensors of something else than SED: {strange[:3]}")
        with torch.device("meta"):
            model = cls(config)
        weights = {name.removeprefix(ROOT): tensor for name, tensor in weights.items()}
        model.load_state_dict(weights, strict=True, assign=True)
        return model.eval().requires_grad_(False)

    def encode(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Normalised pixels ``[1, 3, S, S]`` to what is known of the picture before any word is: dense features
        ``[1, D, S/32, S/32]`` and the guidance of the three levels."""
        levels, dense = self.clip_model.visual(pixels)
        return dense, self.transformer.guide(levels)

    def decode(self, features: tuple[Tensor, list[Tensor]], text: Tensor, top_k: int) -> tuple[Tensor, list[Tensor]]:
        """Logits ``[kept, S/4, S/4]`` and survivors of the three rejections; see :class:`Decoder`."""
        return self.transformer(*features, text, top_k)


def index_map(logits: Tensor, kept: Tensor, size: tuple[int, int]) -> Tensor:
    """The best category of every pixel of a picture, ``[height, width]``: the sigmoid comes before the bilinear
    resizing. Categories that were rejected score 0 and cannot win, so that only the others are resized."""
    return kept[upsampled_scores(logits, size).argmax(dim=0)]


def upsampled_scores(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores ``[kept, height, width]``, 0 to 1."""
    scores = logits.sigmoid()[None]
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)[0]
