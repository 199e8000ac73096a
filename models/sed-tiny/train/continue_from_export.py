"""Rebuilds the checkpoints of the trainer from the exported weights, so that training can go on elsewhere.

    python continue_from_export.py

Writes ``RUNS/text.pt`` and ``RUNS/image.pt`` unless they exist. The optimizers start from scratch; the text tower stays
exactly the exported one, so that the image side goes on learning the same words.
"""

import argparse

import torch
from safetensors.torch import load_file

from sed import PREFIX
from settings import MODEL_DIR, RUNS

TEXT = "clip_model."
VISUAL = "clip_model.visual."


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=0, help="the step to go on from: it decides how much looks vary")
    args = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    tensors = load_file(MODEL_DIR / "sed-tiny.safetensors")
    state = {k.removeprefix(PREFIX): v.float() for k, v in tensors.items()}
    tower = {k.removeprefix(TEXT): v for k, v in state.items() if k.startswith(TEXT) and not k.startswith(VISUAL)}
    image = {"model": state, "average": state, "opts": [], "step": args.step, "images": 0, "best": -1.0, "phase": "scenes"}
    for path, content in ((RUNS / "text.pt", {"tower": tower, "step": 0}), (RUNS / "image.pt", image)):
        if path.exists():
            print(f"{path} exists and is kept")
            continue
        torch.save(content, path)
        print(f"{path} written")


if __name__ == "__main__":
    main()
