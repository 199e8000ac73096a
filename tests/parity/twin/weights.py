"""Weights made by rule from a tensor's name and a seed, bit for bit those of the reference outputs and of
``crates/sed-model/src/synthetic.rs``."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from .sed import ROOT, Sed

# Scales the values of tensors of more than one axis; the first that fits counts.
GAINS = (
    ("attn.in_proj_weight", 2),
    ("predictor.transformer.conv1.weight", 4),
    ("decoder_corr_guidance_projection.0.0.weight", 8),
)
# Offset and scale by the end of a tensor's name.
AFFINE = (
    ("visual.trunk.head.norm.bias", 0, 0.25),
    ("token_embedding.weight", 0, 0.5),
    ("positional_embedding", 0, 0.125),
)


def make(config: dict, seed: int) -> dict[str, Tensor]:
    """All tensors of a checkpoint of these sizes, by full name."""
    with torch.device("meta"):
        shapes = {ROOT + name: tensor.shape for name, tensor in Sed(config).state_dict().items()}
    # numpy computes without Python's lock.
    with ThreadPoolExecutor() as pool:
        arrays = pool.map(lambda item: values(item[0], tuple(item[1]), seed), shapes.items())
        return {name: torch.from_numpy(array) for name, array in zip(shapes, arrays, strict=True)}


def uniform(name: str, seed: int, count: int) -> np.ndarray:
    """``count`` numbers f32 in [-1, 1): splitmix64 from the FNV-1a hash of the name and the seed."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    z = np.arange(1, count + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(state ^ seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def values(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The values f32 of one tensor."""
    if name.endswith("logit_scale"):
        return np.full(shape, 4.6051702, np.float32)
    drawn = uniform(name, seed, math.prod(shape)).reshape(shape)
    if name.endswith(".gamma"):
        return np.float32(0.5) + np.float32(0.4) * drawn
    if len(shape) == 1 and name.endswith(".weight"):
        return np.float32(1) + np.float32(0.1) * drawn
    for end, offset, scale in AFFINE:
        if name.endswith(end):
            return np.float32(offset) + np.float32(scale) * drawn
    if len(shape) == 1:
        return np.float32(0.02) * drawn
    by_input = name.endswith(("text_projection", ".up.weight")) or "decoder_corr_guidance_projection" in name
    fan_in = shape[0] if by_input else math.prod(shape[1:])
    if ".predictor.transformer." in name and len(shape) == 4 and math.prod(shape[2:]) > 1:
        # A part that is constant over each kernel keeps offsets between categories through the up-convolutions.
        drawn = drawn + uniform(f"{name}#dc", seed, shape[0] * shape[1]).reshape(*shape[:2], 1, 1)
        fan_in *= 2
    gain = next((gain for end, gain in GAINS if name.endswith(end)), 1)
    return np.float32(gain * math.sqrt(3 / fan_in)) * drawn
