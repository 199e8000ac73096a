"""Measures the time of a picture on a GPU by kernel: runs `beside` under ncu and sums up its launches.

    python3 tests/gpu/kernels.py [--dtype bf16] [--categories 150] [--top-k 8] [--grids] [--seconds N] [--json FILE]

SED-B at 768×768 with the weights of the reference outputs (``--quick``: the reduced model). The same picture is encoded
and decoded several times; only the last time counts, when everything is loaded. Times under ncu leave out the gaps
between launches. When ``--seconds`` have passed since this script began, ncu is ended and the launches until then are
reported: the JSON file says ``whole: false``.
"""

import argparse
import collections
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

MICROSECONDS = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3, "s": 1e6}
ROUNDS = 3
# Fewer launches are no picture; a repetition among them is one within the network.
LEAST_LAUNCHES = 60


@dataclasses.dataclass(frozen=True)
class Launch:
    """A kernel that ran, with the time it took on the GPU."""

    kernel: str
    grid: str
    microseconds: float


def inputs(folder: pathlib.Path, arguments: argparse.Namespace) -> str:
    """Writes the model, the picture and the words; returns the work for `beside`, a JSON object a line."""
    import torch
    from beside import write_inputs, write_model
    from speed import SED_B
    from twin import weights
    from twin.picture import network_input

    config = json.loads((ROOT / "tests/golden/nano/config.json").read_text()) if arguments.quick else SED_B
    pixels, (height, width) = network_input(ROOT / "tests/golden/full/img2.png", config["image_size"])
    text = torch.randn(arguments.categories, 80, config["embed_dim"], generator=torch.Generator().manual_seed(1))
    write_model(folder, config, weights.make(config, 1))
    file = write_inputs(folder, pixels, torch.nn.functional.normalize(text, dim=-1))
    decode = {"categories": arguments.categories, "top_k": arguments.top_k or None, "height": height, "width": width}
    work = [{"work": "load", "file": str(file)}] + ROUNDS * [{"work": "encode"}, {"work": "decode", **decode}]
    return "".join(json.dumps(each) + "\n" for each in work)


def profiled(command: list[str], work: str, folder: pathlib.Path, seconds: float | None) -> tuple[str, bool]:
    """ncu's output for a command that reads ``work``, and True if the command ended in time."""
    profiler = shutil.which("ncu") or "ncu"
    ncu = [profiler, "--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv"]
    (folder / "work").write_text(work)
    with (folder / "work").open() as given, (folder / "said").open("w") as out, (folder / "errors").open("w") as errors:
        process = subprocess.Popen([*ncu, *command], stdin=given, stdout=out, stderr=errors, start_new_session=True)
        try:
            code, whole = process.wait(seconds), True
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            code, whole = 0, False
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    output = (folder / "said").read_text()
    if code != 0:
        sys.exit(f"{output[-2000:]}\n{(folder / 'errors').read_text()[-2000:]}\nncu ended with {code}")
    return output, whole


def launches(output: str) -> list[Launch]:
    """The launches in ncu's table; a last line that was cut is left out."""
    lines = [line for line in output.splitlines() if line.startswith('"') and line.endswith('"')]
    return [
        Launch(
            row["Kernel Name"],
            row["Grid Size"],
            float(row["Metric Value"].replace(",", "")) * MICROSECONDS[row["Metric Unit"]],
        )
        for row in csv.DictReader(lines)
    ]


def last_round(all_: list[Launch]) -> list[Launch] | None:
    """The launches of the last of several equal rounds: the shortest end that stands twice. None if none does."""
    names = [(launch.kernel, launch.grid) for launch in all_]
    for length in range(LEAST_LAUNCHES, len(names) // 2 + 1):
        if names[-length:] == names[-2 * length : -length]:
            return all_[-length:]
    return None


def summed(counted: list[Launch], grids: bool) -> list[dict]:
    """Time and number of launches of each kernel, the longest first."""
    sums: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for launch in counted:
        sums[launch.kernel, launch.grid if grids else ""].append(launch.microseconds)
    by_time = sorted(sums.items(), key=lambda item: -sum(item[1]))
    return [
        {"kernel": kernel, "grid": grid, "launches": len(times), "microseconds": round(sum(times), 2)}
        for (kernel, grid), times in by_time
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["f32", "bf16", "f16"], default="bf16")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--categories", type=int, default=150)
    parser.add_argument("--top-k", type=int, default=8, help="0: rejection off")
    parser.add_argument("--grids", action="store_true", help="tell launches of different sizes apart")
    parser.add_argument("--seconds", type=float, help="end ncu after this time")
    parser.add_argument("--json", type=pathlib.Path, help="also write the sums to this file")
    parser.add_argument("--quick", action="store_true", help="the reduced model: does this work?")
    arguments = parser.parse_args()
    begun = time.monotonic()
    from beside import binary

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        work = inputs(folder, arguments)
        command = [str(binary()), name, arguments.dtype, arguments.device]
        left = arguments.seconds and max(arguments.seconds - (time.monotonic() - begun), 0.1)
        output, whole = profiled(command, work, folder, left)
    all_ = launches(output)
    counted = last_round(all_)
    sums = summed(all_ if counted is None else counted, arguments.grids)
    milliseconds = sum(each["microseconds"] for each in sums) / 1e3
    # Without two equal rounds the sums are of all launches, loading included.
    found = {"whole": whole, "one_round": counted is not None, "milliseconds": milliseconds, "sums": sums}
    found["launches"] = sum(each["launches"] for each in sums)
    if arguments.json:
        arguments.json.write_text(json.dumps(found) + "\n")
    print(f"{found['launches']} launches, {milliseconds:.2f} ms" + ("" if counted else ", not of one round"))
    for each in sums:
        print(f"{each['microseconds']:10.1f} µs {each['launches']:5d} times  {each['kernel'][:90]} {each['grid']}")
    if counted is None:
        sys.exit(f"no two rounds of {len(all_)} launches are equal")


if __name__ == "__main__":
    main()
