"""Times this project's network beside PyTorch (eager and compiled) and ONNX Runtime: the same weights, picture, words
and number of threads, all taking turns within one run. Prints a table in Markdown.

    cargo build --release --workspace --bin beside
    python tests/parity/speed.py [--rounds 3] [--json FILE] [--quick] [--device cuda] [--beside NAME ...]

SED-B at 768×768 with weights made by rule (``--quick``: a small network, which says nothing about speed). A picture
and the words of ADE20K; decoding is from known features and embeddings to an index map of the picture's size. What is
reported is the shortest of the rounds. With f32 everybody must keep the same categories; in bf16 the numbers of
survivors stand in the table.

Names: eager or compile, then -f32 or -bf16, then -channels_last where wanted; onnx-f32.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import torch

from beside import ROOT, Beside, write_model
from contestants import Onnx, Ours, Torch
from twin import Sed, weights
from twin.picture import network_input

SED_B = {
    "name": "sed-b",
    "image_size": 768,
    "embed_dim": 640,
    "vision": {"dims": [128, 256, 512, 1024], "depths": [3, 3, 27, 3], "head": {"type": "linear"}},
    "text": {"width": 640, "heads": 10, "layers": 12, "context_length": 77, "vocab_size": 49408},
    "decoder": {
        "hidden_dim": 128,
        "dims": [64, 32, 16],
        "guidance_dims": [32, 16, 8],
        "corr_guidance_dims": [32, 16, 8],
        "kernel_size": 9,
        "attention_heads": 4,
    },
}
# Categories and top_k (0: rejection off).
RUNS = [(20, 0), (20, 8), (150, 1), (150, 8), (150, 0)]
EAGER = ["eager-f32", "eager-bf16-channels_last"]
COMPILED = ["compile-f32", "compile-bf16-channels_last"]
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
# New words that are embedded together; the time is that of one of them.
COLD_WORDS = 20


def run_name(categories: int, top_k: int) -> str:
    return f"decoder, {categories} categories, " + (f"top_k {top_k}" if top_k else "off")


class Contest:
    """All contestants, and what they took: seconds by piece of work and contestant, one for each round."""

    def __init__(self, contestants: dict):
        self.contestants = contestants
        self.seconds: dict[str, dict[str, list[float]]] = {}
        self.survivors: dict[str, dict[str, list[list[int]]]] = {}
        self.maps: dict[str, torch.Tensor] = {}
        self.agreement: dict[str, dict[str, float]] = {}

    def warm_up(self) -> None:
        """Everything once or twice, untimed: compiles, allocates, and looks at the results."""
        for name, contestant in self.contestants.items():
            print(f"warming up {name}", file=sys.stderr)
            contestant.encode()
            for categories, top_k in RUNS:
                if contestant.can_decode(top_k):
                    contestant.decode(categories, top_k)
                    _, kept, found = contestant.decode(categories, top_k, look=True)
                    self._look(run_name(categories, top_k), name, kept, found)

    def _look(self, work: str, name: str, kept: list[list[int]], found: torch.Tensor) -> None:
        """Compares survivors and map with those of the first contestant, which is ours in f32."""
        first = next(iter(self.contestants))
        if name == first:
            self.maps[work] = found
        self.survivors.setdefault(work, {})[name] = kept
        self.agreement.setdefault(work, {})[name] = (found == self.maps[work]).float().mean().item()
        if "f32" in name and kept and kept != self.survivors[work][first]:
            raise SystemExit(f"{work}: {name} keeps other categories than {first}")

    def turn(self) -> None:
        """One round: for each piece of work everybody in turn, twice: memory that went back to the system since the last
        round is there again the second time, as under steady load."""
        for name, contestant in self._rested():
            contestant.encode()
            self._note("encoder", name, contestant.encode())
        for categories, top_k in RUNS:
            for name, contestant in self._rested():
                if contestant.can_decode(top_k):
                    contestant.decode(categories, top_k)
                    self._note(run_name(categories, top_k), name, contestant.decode(categories, top_k)[0])
        for work, whole in (("text, one new category", False), ("text, one new category, 77 columns", True)):
            for name, contestant in self._rested():
                self._note(work, name, contestant.embed(whole))

    def _rested(self):
        """One contestant after the other, when the threads of the one before have stopped waiting for more work."""
        for item in self.contestants.items():
            time.sleep(0.1)
            yield item

    def _note(self, work: str, name: str, seconds: float | None) -> None:
        if seconds is not None:
            self.seconds.setdefault(work, {}).setdefault(name, []).append(seconds)

    def best(self) -> dict[str, dict[str, float]]:
        """The shortest times, and those of a whole picture whose words are known: encoder and decoder."""
        best = {work: {name: min(all_) for name, all_ in by.items()} for work, by in self.seconds.items()}
        for categories, top_k in RUNS:
            work = run_name(categories, top_k)
            whole = {name: best["encoder"][name] + seconds for name, seconds in best[work].items()}
            best[work.replace("decoder", "whole picture")] = whole
        return best

    def table(self, dtype: str) -> str:
        """Markdown: a row for each piece of work, and how many times longer the others take than ours."""
        names = [name for name in self.contestants if dtype in name]
        ours, *others = names
        lines = [
            "| seconds | survivors | " + ours + "".join(f" | {name} | ratio" for name in others) + " |",
            "|---" * (3 + 2 * len(others)) + "|",
        ]
        for work, times in self.best().items():
            counts = {name: [len(k) for k in kept] for name, kept in self.survivors.get(work, {}).items()}
            shown = {name: ", ".join(map(str, counts[name])) for name in names if counts.get(name)}
            equal = len(set(shown.values())) <= 1
            kept = next(iter(shown.values()), "") if equal else "; ".join(f"{n}: {c}" for n, c in shown.items())
            cells = f"| {work} | {kept} | {number(times[ours])}"
            for name in others:
                cells += f" | {number(times[name])} | {times[name] / times[ours]:.2f}" if name in times else " | | "
            lines.append(cells + " |")
        return "\n".join(lines)

    def agreement_text(self) -> str:
        """How many pixels of the index maps are those of ours in f32."""
        return "\n".join(
            f"{name}: " + ", ".join(f"{100 * by[name]:.3f} %" for by in self.agreement.values() if name in by)
            for name in self.contestants
        )


def number(seconds: float) -> str:
    """Three digits that count."""
    return f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}" if seconds >= 0.1 else f"{seconds:.3g}"


def describe(arguments: argparse.Namespace, config: dict) -> dict:
    """Where and with what it ran."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    described = {
        "model": config["name"],
        "image_size": config["image_size"],
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else processor,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "tf32": arguments.tf32,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    with contextlib.suppress(ImportError):
        import onnxruntime

        described["onnxruntime"] = onnxruntime.__version__
    return described


def arrange(arguments: argparse.Namespace, config: dict, stack: contextlib.ExitStack) -> Contest:
    """Starts all contestants on the same weights, picture and words."""
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    tensors = weights.make(config, 1)
    write_model(folder, config, tensors)
    pixels, size = network_input(ROOT / "tests/golden/full/img2.png", config["image_size"])
    words = json.loads((ROOT / "crates/sed-model/assets/vocabularies/ade20k-150.json").read_text())
    ours = {
        f"sed-serve-{dtype}": stack.enter_context(Beside(folder, arguments.threads, dtype, arguments.device))
        for dtype in ("f32", "bf16")
    }
    print(f"embedding {len(words)} words", file=sys.stderr)
    known = ours["sed-serve-f32"].embed(words, read_back=True)["tensors"]
    text = known["text"]
    single = [i for i, line in enumerate(words) if ", " not in line]  # one phrase: 80 prompts
    ids, cold = known[f"tokens.{single[0]}"].long(), [words[i] for i in single[:COLD_WORDS]]
    contestants: dict = {name: Ours(beside, pixels, text, cold, size) for name, beside in ours.items()}
    for name in arguments.beside:
        mode, dtype, *layout = name.split("-")
        model = Sed.of(config, tensors).to(arguments.device, DTYPES[dtype])
        if layout == ["channels_last"]:
            model = model.to(memory_format=torch.channels_last)
        if mode == "onnx":
            contestants[name] = Onnx(model, pixels, text, size, folder=folder, threads=arguments.threads)
        else:
            contestants[name] = Torch(model, pixels, text, ids, size, compiled=mode == "compile")
    return Contest(contestants)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*EAGER, "eager-f32-channels_last", *COMPILED, "compile-f32-channels_last", "onnx-f32"]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", action="store_true", help="let PyTorch round f32 products to TF32 on a GPU")
    parser.add_argument("--beside", nargs="+", choices=known, help="whom to time beside (default: all but two)")
    parser.add_argument("--json", type=pathlib.Path, help="write every time of every round to this file")
    parser.add_argument("--quick", action="store_true", help="a small network and one round: does all of this work?")
    arguments = parser.parse_args()
    config = SED_B
    if arguments.quick:
        config, arguments.rounds = json.loads((ROOT / "tests/golden/nano/config.json").read_text()), 1
    if arguments.beside is None:
        onnx = ["onnx-f32"] if arguments.device == "cpu" else []
        arguments.beside = EAGER + ([] if arguments.quick else COMPILED) + onnx
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.tf32
    with contextlib.ExitStack() as stack:
        contest = arrange(arguments, config, stack)
        contest.warm_up()
        for done in range(arguments.rounds):
            print(f"round {done + 1} of {arguments.rounds}", file=sys.stderr)
            contest.turn()
    setting = describe(arguments, config)
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    for dtype in ("f32", "bf16"):
        print(f"\n{contest.table(dtype)}")
    runs = "; ".join(run_name(*run) for run in RUNS)
    print(f"\nPixels of the index map that are those of sed-serve-f32 ({runs}):\n\n{contest.agreement_text()}")
    if arguments.json:
        record = {"seconds": contest.seconds, "survivors": contest.survivors, "agreement": contest.agreement}
        arguments.json.write_text(json.dumps({"setting": setting, **record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
