"""Folders of downloaded and made files, and the sizes of the model.

Everything that is not part of the repository (downloads, rendered artwork, checkpoints, logs) lies
under one folder: the environment variable SED_TINY_CACHE, or ~/.cache/sed-tiny.
"""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL_DIR = HERE.parent
CACHE = Path(os.environ.get("SED_TINY_CACHE", Path.home() / ".cache" / "sed-tiny"))
SOURCES = CACHE / "sources"
MADE = CACHE / "made"
RUNS = CACHE / "runs"

# CLIP's statistics, RGB order, 0..255 scale (the same that the server uses).
PIXEL_MEAN = (122.7709383, 116.7460125, 104.09373615)
PIXEL_STD = (68.5005327, 66.6321579, 70.3231630)

CONFIG = {
    "name": "sed-tiny",
    "image_size": 320,
    "embed_dim": 256,
    "vision": {"dims": [32, 64, 128, 256], "depths": [2, 2, 6, 2], "head": {"type": "linear"}},
    "text": {"width": 128, "heads": 2, "layers": 3, "context_length": 77, "vocab_size": 8192},
    "decoder": {
        "hidden_dim": 64,
        "dims": [32, 16, 16],
        "guidance_dims": [16, 8, 8],
        "corr_guidance_dims": [16, 8, 8],
        "kernel_size": 9,
        "attention_heads": 4,
    },
}


def templates() -> list[str]:
    """The 80 prompt templates, each with one ``{}``."""
    return (HERE / "templates.txt").read_text(encoding="utf-8").splitlines()
