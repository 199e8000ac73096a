"""Every dataset of the official evaluation in small, scored and compared; then faults of files.

main.py FOLDER: an empty folder to work in.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import faults
import layouts
from figures import compare, figures
from official import DATASETS, Dataset, draw, label, save
from program import evaluate, predictions

OFFICIAL = ["--resize", "official"]


class Small:
    """A dataset in small with its labels and the model's predictions, by the pictures' names."""

    def __init__(self, dataset: Dataset, root: Path, work: Path) -> None:
        self.dataset = dataset
        self.work = work / dataset.name
        draw(root / dataset.pictures, dataset.names)
        self.full, self.fast = (
            predictions(
                root / dataset.pictures, dataset.name, self.work / top_k, *OFFICIAL, "--top-k", top_k
            )
            for top_k in ["0", "8"]
        )
        self.labels = {name: label(dataset, self.full[name], seed) for seed, name in enumerate(dataset.names)}
        # The folders of VOC hold pictures of other parts, too.
        if "JPEGImages" in dataset.pictures:
            draw(root / dataset.pictures, ["savanna"])
        for name, values in self.labels.items():
            save(dataset, values, root / dataset.labels, name)

    def figures(self, predicted: dict[str, np.ndarray]) -> dict[str, float]:
        names = self.labels.keys()
        return figures(self.dataset, [*self.labels.values()], [predicted[name] for name in names])


def one_command_a_row(small: Small, root: Path) -> None:
    """`--dataset` alone gives the official figures, `--fast` those of the paper's fast inference."""
    how = ["--dataset", small.dataset.name, "--data", root, "--json"]
    masks = small.work / "masks"
    outcome = evaluate(*how, "--save-predictions", masks)
    for name in small.labels:
        with Image.open(masks / f"{name}.png") as mask:
            assert np.array_equal(np.array(mask), small.full[name]), f"{small.dataset.name}: the saved mask of {name} differs"
    run = outcome.json()["dataset"]
    wanted = small.figures(small.full)
    compare(run, wanted, small.dataset.name)
    assert "warning" not in outcome.said.lower(), outcome.said
    assert (run["pictures"], run["failed"]) == (len(small.labels), []), run
    ignored = sum(int((values == small.dataset.ignored).sum()) for values in small.labels.values())
    assert run["ignored_pixels"] == ignored > 0, run["ignored_pixels"]
    assert len(run["categories"]) == small.dataset.categories
    # A figure that is 0 or 100 would show little.
    assert all(0 < figure < 100 for figure in wanted.values()), wanted
    fast = evaluate(*how, "--fast").json()["dataset"]
    compare(fast, small.figures(small.fast), f"{small.dataset.name} --fast")
    print(f"{small.dataset.name}: " + ", ".join(f"{name} {figure:.2f}" for name, figure in wanted.items()))


def one_table(smalls: list[Small], root: Path) -> None:
    """`--table` prints a row for each dataset, to the last digit, beside the authors' figures."""
    by_variable = {"DETECTRON2_DATASETS": str(root)}
    lines = evaluate("--table", environment=by_variable).out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0][3:7] == ["mIoU", "fwIoU", "mACC", "pACC"], rows[0]
    assert len(rows) == 2 + len(smalls), "\n".join(lines)
    for row, small in zip(rows[2:], smalls, strict=True):
        wanted = [f"{figure:.2f}" for figure in small.figures(small.full).values()]
        assert row[0].startswith(small.dataset.name) and row[3:7] == wanted, (row, wanted)
    assert rows[4][7:] == ["31.8", "35.3"], rows[4]
    assert rows[7][7:] == ["–", "–"], rows[7]
    found = evaluate("--table", "--fast", "--limit", "1", "--json", environment=by_variable).json()["table"]
    assert [row["dataset"] for row in found] == [small.dataset.name for small in smalls]
    assert {row["pictures"] for row in found} == {1}
    assert [paper["miou"] for paper in found[2]["paper"]] == [31.6, 35.2], found[2]["paper"]
    print("\n".join(lines))


def main() -> None:
    folder = Path(sys.argv[1])
    root = folder / "datasets"
    smalls = [Small(dataset, root, folder / "predictions") for dataset in DATASETS]
    for small in smalls:
        one_command_a_row(small, root)
    one_table(smalls, root)
    background = next(small for small in smalls if small.dataset.background is not None)
    layouts.check(folder / "layouts", background, root)
    faults.check(folder / "faults")


if __name__ == "__main__":
    main()
