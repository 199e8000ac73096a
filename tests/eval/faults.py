"""Faults of files, each alone: what is counted, what is left out, what is said, and the exit code."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from figures import FIGURES
from official import DATASETS, NAMES, SIZE, Dataset, draw, save
from program import evaluate

VOC = next(dataset for dataset in DATASETS if dataset.name == "pascal-voc-20")
ADE = next(dataset for dataset in DATASETS if dataset.name == "ade20k-150")


def make(dataset: Dataset, root: Path) -> Path:
    """A dataset whose labels are stripes of categories."""
    shutil.rmtree(root, ignore_errors=True)
    draw(root / dataset.pictures, dataset.names)
    for name in dataset.names:
        stripes = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0]) // 960 % dataset.categories
        save(dataset, stripes, root / dataset.labels, name)
    return root


def cut(path: Path) -> None:
    """Cuts a file at half its bytes, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def colours(path: Path) -> None:
    with Image.open(path) as image:
        colour = image.convert("RGB")
    colour.save(path)


def other_value(path: Path) -> None:
    with Image.open(path) as image:
        values = np.array(image)
    values[0, 0] = 200
    Image.fromarray(values).save(path)


def turned(path: Path) -> None:
    with Image.open(path) as image:
        rotated = image.rotate(90, expand=True)
    rotated.save(path)


# Of a picture or a label: what is done to it, and what is said of it.
DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    ("picture", cut, "image.encoded"),
    ("label", cut, "cannot read the label"),
    ("label", lambda path: path.write_bytes(b""), "cannot read the label"),
    ("label", colours, "it holds colours"),
    ("label", turned, "is 120 × 160 and the picture 160 × 120; they must be of one size"),
    ("label", other_value, "holds the value 200, which is neither a category (0 to 19) nor ignored (255)"),
]


def check(work: Path) -> None:
    damaged_files(work / "damaged")
    halves(work / "halves")
    a_table_ends(work / "table")
    missing_folders(work / "missing")
    print("faults: each named, counted and left out")


def damaged_files(root: Path) -> None:
    how = ["--dataset", VOC.name, "--data", root]
    make(VOC, root)
    for file in [root / VOC.pictures / "street.jpg", root / VOC.labels / "street.png"]:
        file.unlink()
    without = evaluate(*how, "--json").json()["dataset"]
    for half, damage, said in DAMAGES:
        make(VOC, root)
        damage(root / VOC.pictures / "street.jpg" if half == "picture" else root / VOC.labels / "street.png")
        outcome = evaluate(*how, "--json", code=1)
        run = outcome.json()["dataset"]
        about = f"{half}, {said}: {outcome.said}"
        assert said in outcome.said, about
        end = outcome.said.strip().splitlines()[-1]
        assert "1 of 3 pictures failed and are left out of the figures: street.jpg" in end, about
        assert len(run["failed"]) == 1 and said in run["failed"][0]["error"], run["failed"]
        assert run["pictures"] == 2 and [run[key] for key in FIGURES.values()] == [
            without[key] for key in FIGURES.values()
        ], about
        strict = evaluate(*how, "--strict", code=1)
        assert strict.out == "" and said in strict.said, strict.said
    text = evaluate(*how, code=1).out
    assert "of 2 pictures, 1 failed" in text, text
    for name in NAMES:
        (root / VOC.labels / f"{name}.png").write_bytes(b"")
    outcome = evaluate(*how, code=1)
    assert outcome.out == "" and "none of 3 pictures could be scored" in outcome.said, outcome.said


def halves(root: Path) -> None:
    """Pictures without labels and labels without pictures are left out, and named where that is no habit."""
    make(ADE, root)
    (root / ADE.pictures / "farm.jpg").unlink()
    (root / ADE.labels / "street.png").unlink()
    for hidden in [root / ADE.pictures / "._street.jpg", root / ADE.labels / ".DS_Store"]:
        hidden.write_bytes(b"Mac OS X")
    outcome = evaluate("--dataset", ADE.name, "--data", root, "--json")
    assert outcome.json()["dataset"]["pictures"] == 1
    for part in [
        f"1 pictures of {ADE.name}, such as {root / ADE.pictures / 'street.jpg'}, have no label",
        f"1 labels of {ADE.name}, such as {root / ADE.labels / 'farm.png'}, have no picture",
    ]:
        assert part in outcome.said, outcome.said
    (root / ADE.labels / "living-room.png").unlink()
    said = evaluate("--dataset", ADE.name, "--data", root, code=1).said
    assert "ade20k-150 has no picture with a label" in said, said


def a_table_ends(root: Path) -> None:
    """A dataset without a sound picture ends a table behind the rows that are done."""
    make(ADE, root)
    draw(root / VOC.pictures, NAMES)
    (root / VOC.labels).mkdir(parents=True)
    (root / VOC.labels / "farm.png").write_bytes(b"")
    outcome = evaluate("--table", "--data", root, code=1)
    rows = [line for line in outcome.out.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 and rows[1].startswith("| ade20k-150 (A-150) | 3 |"), outcome.out
    assert "cannot score pascal-voc-20: none of 1 pictures could be scored" in outcome.said, outcome.said


def missing_folders(root: Path) -> None:
    make(ADE, root)
    said = evaluate("--dataset", VOC.name, "--data", root, code=1).said
    assert f"the pictures of {VOC.name} are not there: {root / VOC.pictures} is no folder" in said, said
    shutil.rmtree(root / ADE.labels)
    said = evaluate("--dataset", ADE.name, "--data", root, code=1).said
    assert f"{root / ADE.labels} is no folder; datasets/prepare_ade20k_150.py" in said, said
    said = evaluate("--table", "--data", root, code=1).said
    assert "none of the datasets of the official evaluation is in" in said, said
    said = evaluate("--table", code=1).said
    assert "--data, or set DETECTRON2_DATASETS" in said, said
    said = evaluate("--dataset", "ade20k", "--data", root, code=2).said
    assert all(dataset.name in said for dataset in DATASETS), said
