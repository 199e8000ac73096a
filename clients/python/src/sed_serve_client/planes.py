"""Values for every pixel, read from the masks of an answer."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from .v1 import mask_pb2

IndexMap: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
ScoreMap: TypeAlias = npt.NDArray[np.float32]


def index_map(mask: mask_pb2.Mask, width: int, height: int) -> IndexMap:
    """Reads the indices of categories, [height, width]."""
    if mask.HasField("raw_indices"):
        return np.frombuffer(mask.raw_indices, np.dtype("<u2")).reshape(height, width)
    return _png(mask.index_png)


def runner_up_map(mask: mask_pb2.Mask, unlabelled_index: int) -> IndexMap:
    """Reads the indices of the second best categories, [height, width], with the unlabelled index of the best ones."""
    indices = _png(mask.runner_up_png)
    if mask.unlabelled_index == unlabelled_index:
        return indices
    wide = indices.astype(np.uint16)  # the best ones are raw, and these fit 8 bits
    wide[indices == mask.unlabelled_index] = unlabelled_index
    return wide


def score_map(raw: bytes, width: int, height: int) -> ScoreMap:
    """Reads 16 bit floats, [height, width]. They become wider ones, in which sums are exact enough."""
    return np.frombuffer(raw, np.dtype("<f2")).reshape(height, width).astype(np.float32)


def _png(file: bytes) -> IndexMap:
    indices = np.asarray(Image.open(io.BytesIO(file), formats=["PNG"]))
    # Older versions of Pillow read 16 bits of grey as 32.
    return indices if indices.dtype == np.uint8 else indices.astype(np.uint16, copy=False)
