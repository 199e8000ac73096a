"""Writes ``FIGURES.md`` from what the server was measured to do.

    python evaluate.py --write SCENES --draw-only
    sed-serve eval SCENES --top-k 0 --json > scores.json
    sed-serve eval SCENES/trained --rejection 1,2,4,8 --limit 20 --json > rejection.json
    python figures.py scores.json rejection.json
"""

import argparse
import json
from pathlib import Path

from evaluate import CONDITIONS
from settings import MODEL_DIR

INTRODUCTION = """# Figures of sed-tiny

Measured through the server on the weights `{digest}`: {pictures} held-out scenes of 320 x 240 for each condition,
4 to 9 objects each, rejection off, percent. Object mIoU counts false positives in every scene.

```sh
python train/fetch.py --evaluation && python train/artwork.py --evaluation
python train/textures.py --seed 2 --variants 12
python train/evaluate.py --write SCENES --draw-only
sed-serve eval SCENES --top-k 0
sed-serve eval SCENES/trained --rejection 1,2,4,8 --limit 20
```

| condition | words asked | object mIoU | stuff mIoU | pixel accuracy |
|---|---|---|---|---|
"""
REJECTION = """
Early rejection with 300 words ({pictures} scenes of the first condition); the speed-ups are ratios of times taken side by
side on two cores:

| top_k | survivors at levels 1/2/3 | agreement with the full path | pixel accuracy | speed-up of the decoder | of the whole |
|---|---|---|---|---|---|
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("rejection", type=Path)
    args = parser.parse_args()
    scores = json.loads(args.scores.read_text(encoding="utf-8"))
    rejection = json.loads(args.rejection.read_text(encoding="utf-8"))
    rows = {(s["condition"], s["words"]): s for s in scores["scenes"]}
    digest = (MODEL_DIR / "sed-tiny.sha256").read_text(encoding="utf-8").split()[0]
    text = INTRODUCTION.format(digest=digest[:16], pictures=scores["scenes"][0]["pictures"])
    for key, condition in CONDITIONS.items():
        for words in (40, 129):
            row = rows[key, words]
            figures = " | ".join(f"{row[k]:.1f}" for k in ("object_miou", "stuff_miou", "pixel_accuracy"))
            text += f"| {condition.title} | {words} | {figures} |\n"
    rows = [row for row in rejection["rejection"] if row["top_k"]]
    text += REJECTION.format(pictures=rows[0]["pictures"])
    for row in rows:
        kept = " / ".join(f"{s:.1f}" for s in row["survivors"])
        figures = f"{row['agreement']:.1f} | {row['pixel_accuracy']:.1f}"
        text += f"| {row['top_k']} | {kept} | {figures} | {row['decoder_speedup']:.1f} | {row['speedup']:.1f} |\n"
    (MODEL_DIR / "FIGURES.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
