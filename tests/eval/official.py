"""The datasets of the official evaluation in small: folders, file types and values as SED's scripts write them.

Their source is the repository xb534/SED at commit db20d93: datasets/prepare_*.py and sed/data/datasets/register_*.py.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "models/sed-tiny/examples"
NAMES = ["farm", "street", "living-room"]
SIZE = (160, 120)


@dataclass(frozen=True)
class Dataset:
    """A dataset: its vocabulary, its folders, and the categories that its evaluator counts."""

    name: str
    pictures: str
    labels: str
    categories: int
    ignored: int
    background: int | None = None
    ending: str = "png"

    @property
    def names(self) -> list[str]:
        """The pictures with labels; fewer where words are many and a picture takes long."""
        return NAMES if self.categories < 400 else NAMES[:2]

    def folded(self, prediction: np.ndarray) -> np.ndarray:
        """The predictions as the evaluator counts them (VOCbEvaluator in train_net.py)."""
        return prediction if self.background is None else np.minimum(prediction, self.background)


DATASETS = [
    Dataset(
        "ade20k-847",
        "ADE20K_2021_17_01/images_detectron2/validation",
        "ADE20K_2021_17_01/annotations_detectron2/validation",
        847,
        65_535,
        ending="tif",
    ),
    Dataset(
        "pascal-context-459",
        "VOCdevkit/VOC2010/JPEGImages",
        "VOCdevkit/VOC2010/annotations_detectron2/pc459_val",
        459,
        459,
        ending="tif",
    ),
    Dataset(
        "ade20k-150",
        "ADEChallengeData2016/images/validation",
        "ADEChallengeData2016/annotations_detectron2/validation",
        150,
        255,
    ),
    Dataset(
        "pascal-context-59",
        "VOCdevkit/VOC2010/JPEGImages",
        "VOCdevkit/VOC2010/annotations_detectron2/pc59_val",
        59,
        255,
    ),
    Dataset(
        "pascal-voc-20", "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/annotations_detectron2/val", 20, 255
    ),
    Dataset(
        "pascal-voc-20b",
        "VOCdevkit/VOC2012/JPEGImages",
        "VOCdevkit/VOC2012/annotations_detectron2_bg/val",
        21,
        255,
        background=20,
    ),
    Dataset("coco-stuff-171", "coco-stuff/images/val2017", "coco-stuff/annotations_detectron2/val2017", 171, 255),
]


def draw(folder: Path, names: list[str]) -> None:
    """Writes pictures as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with Image.open(EXAMPLES / f"{name}.png") as picture:
            picture.convert("RGB").resize(SIZE).save(folder / f"{name}.jpg", quality=95)


def label(dataset: Dataset, prediction: np.ndarray, seed: int) -> np.ndarray:
    """A label that agrees with a prediction in parts: shifted, with blocks of other categories and ignored pixels."""
    draw = np.random.default_rng(seed)
    values = np.roll(dataset.folded(prediction), 9, axis=1)
    height, width = values.shape
    for value in [dataset.ignored, *draw.integers(0, dataset.categories, 6)]:
        top, left = draw.integers(0, height - 24), draw.integers(0, width - 24)
        values[top : top + 24, left : left + 24] = value
    return values


def save(dataset: Dataset, values: np.ndarray, folder: Path, name: str) -> Path:
    """Writes a label as the dataset's script does: a grey PNG of 8 bits, or a TIFF of 16."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{dataset.ending}"
    Image.fromarray(values.astype(np.uint16 if dataset.ending == "tif" else np.uint8)).save(path)
    return path
