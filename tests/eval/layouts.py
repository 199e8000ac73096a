"""Layouts by flags: lists of names, suffixes, subfolders, endings in any case, hidden files, and the background."""

from pathlib import Path

import numpy as np
from PIL import Image

from figures import FIGURES, compare
from official import EXAMPLES, NAMES, SIZE, draw
from program import evaluate, predictions

WORDS = ["--words", "sky, grass, road, car, tree, building"]


def check(work: Path, background, root: Path) -> None:
    voc_with_background(work / "voc", background, root)
    cityscapes(work / "city")
    print("layouts by flags: as they should be")


def voc_with_background(work: Path, small, root: Path) -> None:
    """The vocabulary of VOC with background folds with --labels flags as with --dataset."""
    pictures, labels = root / small.dataset.pictures, root / small.dataset.labels
    how = [pictures, "--labels", labels, "--vocabulary", small.dataset.name, "--resize", "official", "--top-k", "0"]
    outcome = evaluate(*how, code=1)
    for part in ["savanna.jpg has no label", "1 of the pictures have none", "--list"]:
        assert part in outcome.said, outcome.said
    work.mkdir(parents=True)
    listed = work / "val.txt"
    listed.write_text("".join(f"{name}\n" for name in small.labels), encoding="utf-8")
    outcome = evaluate(*how, "--list", listed, "--json")
    run = outcome.json()["dataset"]
    compare(run, small.figures(small.full), f"{small.dataset.name} by flags")
    assert run["categories"][20]["name"] == "background" and run["background_words"] == 39, run
    text = evaluate(*how, "--list", listed).out
    assert "of 21 categories" in text and "39 of them count as background" in text, text


def cityscapes(work: Path) -> None:
    """The folders of Cityscapes, whose pictures and labels have suffixes and lie in folders of cities."""
    pictures, labels, flat = work / "leftImg8bit/val", work / "gtFine/val", work / "flat"
    draw(flat, NAMES)
    answers = predictions(flat, "pascal-voc-20", work / "answers")
    cities = {"farm": "ulm", "street": "bonn", "living-room": "bonn"}
    for name, city in cities.items():
        (pictures / city).mkdir(parents=True, exist_ok=True)
        (labels / city).mkdir(parents=True, exist_ok=True)
        # Endings in any case; what macOS and Windows leave; the other files of Cityscapes.
        (flat / f"{name}.jpg").rename(pictures / city / f"{name}_leftImg8bit.JPG")
        values = Image.fromarray(answers[name].astype(np.uint8))
        values.save(labels / city / f"{name}_gtFine_labelTrainIds.PNG", format="PNG")
        values.convert("RGB").save(labels / city / f"{name}_gtFine_color.png")
        (labels / city / f"{name}_gtFine_polygons.json").write_text("{}", encoding="utf-8")
        (labels / city / f"._{name}_gtFine_labelTrainIds.png").write_bytes(b"Mac OS X")
        (pictures / city / f"._{name}_leftImg8bit.jpg").write_bytes(b"Mac OS X")
    for path in [pictures / ".DS_Store", pictures / "ulm/Thumbs.db", labels / ".DS_Store"]:
        path.write_bytes(b"not a picture")
    suffixes = ["--picture-suffix", "_leftImg8bit", "--label-suffix", "_gtFine_labelTrainIds"]
    how = [pictures, "--labels", labels, *suffixes, "--vocabulary", "pascal-voc-20", "--json"]
    run = evaluate(*how).json()["dataset"]
    assert (run["pictures"], run["failed"]) == (3, [])
    # The labels are the model's own answers.
    assert all(abs(run[key] - 100) < 1e-9 for key in FIGURES.values()), run

    listed = work / "val.txt"
    for lines, count in [
        ("bonn/street_leftImg8bit.png\nulm/farm\n", 2),
        ("living-room_gtFine_labelTrainIds.png\r\n\r\n", 1),
        ("street\nbonn/street_leftImg8bit\n", 1),
    ]:
        listed.write_text(lines, encoding="utf-8")
        assert evaluate(*how, "--list", listed).json()["dataset"]["pictures"] == count, lines
    listed.write_text("ulm/street\nbonn/farm\nulm/farm\n", encoding="utf-8")
    said = evaluate(*how, "--list", listed, code=1).said
    assert "2 of the 3 names in" in said and "such as ulm/street" in said, said

    # Pictures as they come: PNG in the folder that also holds the labels.
    mixed = work / "mixed"
    (mixed / "labels").mkdir(parents=True)
    with Image.open(EXAMPLES / "farm.png") as picture:
        picture.resize(SIZE).save(mixed / "farm.png")
    Image.new("L", SIZE).save(mixed / "labels/farm.tiff")
    run = evaluate(mixed, "--labels", mixed / "labels", *WORDS, "--json").json()["dataset"]
    assert run["pictures"] == 1, run
