"""Averages the exported weights with others of the same run, and exports the mean.

    python average.py OTHER.safetensors

Two ends of a run whose learning rate rose and fell again lie on either side of something better than both (Izmailov and
others, "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018).
"""

import argparse
import json
import pathlib

from safetensors.torch import load_file

import export
from sed import PREFIX, Sed
from settings import MODEL_DIR


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=pathlib.Path, help="exported earlier, of the same architecture and text tower")
    args = parser.parse_args()
    config = json.loads((MODEL_DIR / "config.json").read_text())
    ours, other = load_file(MODEL_DIR / "sed-tiny.safetensors"), load_file(args.other)
    mean = {name.removeprefix(PREFIX): (ours[name].float() + other[name].float()) / 2 for name in ours}
    model = Sed(config)
    model.load_state_dict(mean)
    export.write(model, config)


if __name__ == "__main__":
    main()
