"""Where a picture's time goes on a GPU, by kernel: runs `beside` under ncu and sums up its launches.

    python3 tests/gpu/kernels.py [--dtype bf16] [--categories 150] [--top-k 8] [--grids]

SED-B at 768×768 with the weights of the reference outputs. The same picture is encoded and decoded several times; only the
last time counts, when everything is loaded. Times under ncu leave out the gaps between launches.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

import torch  # noqa: E402
from beside import binary, write_inputs, write_model  # noqa: E402
from speed import SED_B  # noqa: E402
from twin import weights  # noqa: E402
from twin.picture import network_input  # noqa: E402

MICROSECONDS = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3, "s": 1e6}
ROUNDS = 4


def launches(folder: pathlib.Path, dtype: str, work: str) -> list[tuple[str, str, float]]:
    """Kernel, grid and microseconds of every launch."""
    ncu = [shutil.which("ncu") or "ncu", "--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv"]
    command = [*ncu, str(binary()), str(folder), dtype, "cuda"]
    done = subprocess.run(command, input=work, capture_output=True, text=True, env=os.environ)
    if done.returncode != 0:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}\nncu ended with {done.returncode}")
    rows = csv.DictReader(line for line in done.stdout.splitlines() if line.startswith('"'))
    return [
        (row["Kernel Name"], row["Grid Size"], float(row["Metric Value"].replace(",", "")) * MICROSECONDS[row["Metric Unit"]])
        for row in rows
    ]


def last_round(all_: list[tuple[str, str, float]]) -> list[tuple[str, str, float]]:
    """The launches of the last of several equal rounds: the shortest end that stands twice."""
    names = [launch[:2] for launch in all_]
    for length in range(100, len(names) // 2 + 1):
        if names[-length:] == names[-2 * length : -length]:
            return all_[-length:]
    sys.exit(f"no two rounds of {len(names)} launches are equal")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--categories", type=int, default=150)
    parser.add_argument("--top-k", type=int, default=8, help="0: rejection off")
    parser.add_argument("--grids", action="store_true", help="tell launches of different sizes apart")
    arguments = parser.parse_args()
    pixels, (height, width) = network_input(ROOT / "tests/golden/full/img2.png", SED_B["image_size"])
    text = torch.randn(arguments.categories, 80, SED_B["embed_dim"], generator=torch.Generator().manual_seed(1))
    decode = {"categories": arguments.categories, "top_k": arguments.top_k or None, "height": height, "width": width}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_model(folder, SED_B, weights.make(SED_B, 1))
        file = write_inputs(folder, pixels, torch.nn.functional.normalize(text, dim=-1))
        work = [{"work": "load", "file": str(file)}] + ROUNDS * [{"work": "encode"}, {"work": "decode", **decode}]
        all_ = launches(folder, arguments.dtype, "".join(json.dumps(each) + "\n" for each in work))
    counted = last_round(all_)
    sums: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for kernel, grid, microseconds in counted:
        sums[kernel, grid if arguments.grids else ""].append(microseconds)
    print(f"{len(counted)} launches, {sum(launch[2] for launch in counted) / 1e3:.2f} ms")
    for (kernel, grid), times in sorted(sums.items(), key=lambda item: -sum(item[1])):
        print(f"{sum(times):10.1f} µs {len(times):5d} times  {kernel[:90]} {grid}")


if __name__ == "__main__":
    main()
