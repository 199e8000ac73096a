"""The files of `sed-serve segment` as other programs read them: COCO by pycocotools, arrays by numpy, PNGs by Pillow.

python files.py HOST:PORT SED_SERVE    SED_SERVE: the program; it asks the server
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "models" / "sed-tiny" / "examples"
WORDS = ["sky", "grass", "road", "tree", "cow", "house"]
FORMATS = ["index-png", "category-png", "coco-panoptic", "coco-instances"]
FORMATS += ["score-raw", "margin-raw", "runner-up-png", "sureness-npz", "score-maps-npz"]


def main() -> None:
    """Segments two small pictures in two folders, in every format, and reads all that was written."""
    with tempfile.TemporaryDirectory() as work:
        pictures, output = pathlib.Path(work, "pictures"), pathlib.Path(work, "output")
        for folder, name in [("one", "farm.png"), ("two", "street.png")]:
            (pictures / folder).mkdir(parents=True)
            small = Image.open(EXAMPLES / name).resize((97, 71))
            small.save(pictures / folder / "picture.png")
        command = [sys.argv[2], "--json", "segment", pictures, "--recursive", "--server", f"http://{sys.argv[1]}"]
        command += ["--words", ",".join(WORDS), "--top-k", "3", "--output", output, "--format", ",".join(FORMATS)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
        names = ["one/picture", "two/picture"]
        masks = {f"{name}.png": np.array(Image.open(output / f"{name}.mask.png")) for name in names}
        instances(output, masks)
        panoptic(output, masks)
        for line, name in zip(printed.splitlines(), names, strict=True):
            categories(output / f"{name}.categories", masks[f"{name}.png"])
            arrays(output / name, masks[f"{name}.png"], json.loads(line))
    print(f"{len(masks)} pictures in every format of files: COCO, PNGs and arrays agree with the index maps")


def instances(output: pathlib.Path, masks: dict[str, np.ndarray]) -> None:
    """The annotations with run lengths, as pycocotools decodes and indexes them."""
    coco = COCO(output / "coco-instances.json")
    assert [coco.cats[number + 1]["name"] for number in range(len(WORDS))] == WORDS
    assert {image["file_name"] for image in coco.imgs.values()} == set(masks)
    for image in coco.imgs.values():
        mask = masks[image["file_name"]]
        assert (image["height"], image["width"]) == mask.shape
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [one["category_id"] - 1 for one in annotations] == present(mask)
        for one in annotations:
            pixels = coco.annToMask(one).astype(bool)
            assert (pixels == (mask == one["category_id"] - 1)).all()
            check_region(one, pixels)
    assert len(coco.anns) == sum(len(present(mask)) for mask in masks.values())


def panoptic(output: pathlib.Path, masks: dict[str, np.ndarray]) -> None:
    """The segments, by the numbers of the pixels."""
    file = json.loads((output / "coco-panoptic.json").read_text())
    images = {image["id"]: image for image in file["images"]}
    assert [category["isthing"] for category in file["categories"]] == [0] * len(WORDS)
    assert len(file["annotations"]) == len(images) == len(masks)
    for annotation in file["annotations"]:
        mask = masks[images[annotation["image_id"]]["file_name"]]
        red, green, blue = np.moveaxis(np.array(Image.open(output / "coco-panoptic" / annotation["file_name"])), 2, 0)
        ids = red + 256 * green.astype(np.uint32) + 256 * 256 * blue.astype(np.uint32)
        assert ((ids == 0) == (mask == 255)).all()
        segments = annotation["segments_info"]
        assert [segment["category_id"] - 1 for segment in segments] == present(mask)
        for segment in segments:
            pixels = ids == segment["id"]
            assert (pixels == (mask == segment["category_id"] - 1)).all()
            check_region(segment, pixels)


def check_region(entry: dict, pixels: np.ndarray) -> None:
    """Area and box of a region."""
    rows, columns = np.nonzero(pixels)
    left, top = columns.min(), rows.min()
    assert entry["area"] == pixels.sum() and entry["iscrowd"] == 0
    assert entry["bbox"] == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]


def categories(folder: pathlib.Path, mask: np.ndarray) -> None:
    """One PNG for each category that is there."""
    assert sorted(file.stem for file in folder.iterdir()) == sorted(WORDS[index] for index in present(mask))
    for file in folder.iterdir():
        pixels = np.array(Image.open(file))
        assert pixels.dtype == np.uint8
        assert (pixels == np.where(mask == WORDS.index(file.stem), 255, 0)).all()


def arrays(name: pathlib.Path, mask: np.ndarray, report: dict) -> None:
    """Scores, runners-up, margins and score maps, against the other formats."""

    def raw(plane: str) -> np.ndarray:
        return np.fromfile(f"{name}.{plane}.f16", "<f2").reshape(mask.shape)

    sure = np.load(f"{name}.sureness.npz")
    assert sorted(sure) == ["margin", "runner_up", "score"]
    assert sure["score"].dtype == sure["margin"].dtype == np.float16 and sure["runner_up"].dtype == np.uint32
    assert (sure["score"] == raw("score")).all() and (sure["margin"] == raw("margin")).all()
    second = np.array(Image.open(f"{name}.runner-up.png")).astype(np.uint32)
    assert (sure["runner_up"] == np.where(second == 255, 65535, second)).all()

    maps = np.load(f"{name}.score-maps.npz")
    scores, indices = maps["scores"], maps["category_indices"]
    assert scores.dtype == np.float32 and indices.dtype == np.uint32
    assert scores.ndim == 3 and scores.shape[0] == len(indices) > 1
    assert scores.min() >= 0 and scores.max() <= 1
    assert indices.tolist() == report["rejection"]["levels"][-1]["survivors"]
    assert set(present(mask)) <= set(indices.tolist())


def present(mask: np.ndarray) -> list[int]:
    """The categories of an index map."""
    return [index for index in np.unique(mask).tolist() if index != 255]


if __name__ == "__main__":
    main()
