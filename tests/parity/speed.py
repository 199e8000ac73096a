"""Times this project's network beside PyTorch (eager and compiled) and ONNX Runtime: the same weights, picture, words
and number of threads, all taking turns within one run. Prints a table in Markdown.

    cargo build --release --workspace --bin beside
    python tests/parity/speed.py [--rounds 3] [--json FILE] [--quick] [--device cuda] [--beside NAME ...]
    python tests/parity/speed.py --device cuda --ours bf16 --beside compile-bf16-channels_last --runs 150/8 --no-text \
        --jsonl FILE

SED-B at 768×768 with weights made by rule (``--quick``: a small network, which says nothing about speed). A picture
and the words of ADE20K; decoding is from known features and embeddings to an index map of the picture's size. What is
reported is the shortest of the rounds. With f32 on the CPU all contestants must keep the same categories. In bf16 the
numbers of survivors stand in the table; so do, in f32 on a GPU, the numbers of categories that differ, for a library's
algorithm may turn a near tie.

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


class Journal:
    """A file of JSON lines, each of them there as soon as it is known: a run that is cut short leaves those before."""

    def __init__(self, file: pathlib.Path | None):
        self.file = file
        if file is not None:
            file.write_text("")

    def add(self, **record: object) -> None:
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(json.dumps(record) + "\n")


class Contest:
    """All contestants, and what they took: seconds by piece of work and contestant, one for each round.

    ``runs`` are categories and top_k of the decoder. Where ``text`` is set, new words are embedded too. Where ``exact``
    is set, all contestants in f32 must keep the same categories.
    """

    def __init__(self, contestants: dict, runs: list[tuple[int, int]], *, text: bool, exact: bool, journal: Journal):
        self.contestants, self.runs, self.text = contestants, runs, text
        self.exact, self.journal = exact, journal
        self.seconds: dict[str, dict[str, list[float]]] = {}
        self.survivors: dict[str, dict[str, list[list[int]]]] = {}
        self.maps: dict[str, torch.Tensor] = {}
        self.agreement: dict[str, dict[str, float]] = {}
        # Categories that a contestant in f32 keeps and the first does not, or the other way round.
        self.differing: dict[str, dict[str, int]] = {}

    def warm_up(self) -> None:
        """Everything once or twice, untimed: compiles, allocates, and looks at the results."""
        for name, contestant in self.contestants.items():
            print(f"warming up {name}", file=sys.stderr)
            begun = time.perf_counter()
            contestant.encode()
            self.journal.add(work="warm-up of the encoder", contestant=name, seconds=time.perf_counter() - begun)
            for categories, top_k in self.runs:
                if contestant.can_decode(top_k):
                    contestant.decode(categories, top_k)
                    _, kept, found = contestant.decode(categories, top_k, look=True)
                    self._look(run_name(categories, top_k), name, kept, found)
            self.journal.add(work="warm-up of all", contestant=name, seconds=time.perf_counter() - begun)

    def _look(self, work: str, name: str, kept: list[list[int]], found: torch.Tensor) -> None:
        """Compares survivors and map with those of the first contestant, which is ours."""
        first = next(iter(self.contestants))
        if name == first:
            self.maps[work] = found
        self.survivors.setdefault(work, {})[name] = kept
        self.agreement.setdefault(work, {})[name] = (found == self.maps[work]).float().mean().item()
        if "f32" in name and "f32" in first and kept:
            pairs = zip(kept, self.survivors[work][first], strict=True)
            self.differing.setdefault(work, {})[name] = sum(len({*ours} ^ {*theirs}) for ours, theirs in pairs)
        differing = self.differing.get(work, {}).get(name, 0)
        if differing and self.exact:
            raise SystemExit(f"{work}: {name} keeps other categories than {first}")
        if differing:
            print(f"warning: {work}: {name} differs from {first} in {differing} categories", file=sys.stderr)
        sizes, agreement = [len(level) for level in kept], self.agreement[work][name]
        self.journal.add(work=work, contestant=name, survivors=sizes, differing=differing, agreement=agreement)

    def turn(self, number: int) -> None:
        """Round ``number``: for each piece of work all contestants in turn, twice: memory that went back to the system
        since the last round is there again the second time, as under steady load."""
        for name, contestant in self._rested():
            contestant.encode()
            self._note(number, "encoder", name, contestant.encode())
        for categories, top_k in self.runs:
            for name, contestant in self._rested():
                if contestant.can_decode(top_k):
                    contestant.decode(categories, top_k)
                    self._note(number, run_name(categories, top_k), name, contestant.decode(categories, top_k)[0])
        texts = (("text, one new category", False), ("text, one new category, 77 columns", True))
        for work, whole in texts if self.text else ():
            for name, contestant in self._rested():
                self._note(number, work, name, contestant.embed(whole))

    def _rested(self):
        """One contestant after the other, when the threads of the one before have stopped waiting for more work."""
        for item in self.contestants.items():
            time.sleep(0.1)
            yield item

    def _note(self, number: int, work: str, name: str, seconds: float | None) -> None:
        if seconds is not None:
            self.journal.add(round=number, work=work, contestant=name, seconds=seconds)
            self.seconds.setdefault(work, {}).setdefault(name, []).append(seconds)

    def best(self) -> dict[str, dict[str, float]]:
        """The shortest times, and those of a whole picture whose words are known: encoder and decoder."""
        best = {work: {name: min(all_) for name, all_ in by.items()} for work, by in self.seconds.items()}
        for categories, top_k in self.runs:
            work = run_name(categories, top_k)
            if work not in best:
                continue
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
            differing = {name: count for name, count in self.differing.get(work, {}).items() if count}
            kept += "".join(f"; {name} differs in {count}" for name, count in differing.items())
            cells = f"| {work} | {kept} | {number(times[ours])}"
            for name in others:
                cells += f" | {number(times[name])} | {times[name] / times[ours]:.2f}" if name in times else " | | "
            lines.append(cells + " |")
        return "\n".join(lines)

    def agreement_text(self) -> str:
        """Share of pixels whose category is that of the first contestant, by contestant and run."""
        return "\n".join(
            f"{name}: " + ", ".join(f"{100 * by[name]:.3f} %" for by in self.agreement.values() if name in by)
            for name in self.contestants
        )


def number(seconds: float) -> str:
    """Three digits that count."""
    return f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.3f}" if seconds >= 0.1 else f"{seconds:.3g}"


def on_cuda(device: str) -> bool:
    """Reports whether a device's name, as ``cuda`` or ``cuda:1``, is that of a GPU."""
    return device.startswith("cuda")


def run_of(text: str) -> tuple[int, int]:
    """Categories and top_k in a form such as ``150/8`` or ``20/off``."""
    categories, top_k = text.split("/")
    return int(categories), 0 if top_k == "off" else int(top_k)


def describe(arguments: argparse.Namespace, config: dict) -> dict:
    """The model, machine, settings and versions of a run."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    described = {
        "model": config["name"],
        "image_size": config["image_size"],
        "device": torch.cuda.get_device_name() if on_cuda(arguments.torch_device) else processor,
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


def arrange(arguments: argparse.Namespace, config: dict, stack: contextlib.ExitStack, journal: Journal) -> Contest:
    """Starts all contestants on the same weights, picture and words."""
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    tensors = weights.make(config, 1)
    write_model(folder, config, tensors)
    pixels, size = network_input(ROOT / "tests/golden/full/img2.png", config["image_size"])
    words = json.loads((ROOT / "crates/sed-model/assets/vocabularies/ade20k-150.json").read_text())
    ours = {
        f"sed-serve-{dtype}": stack.enter_context(Beside(folder, arguments.threads, dtype, arguments.device))
        for dtype in arguments.ours
    }
    print(f"embedding {len(words)} words", file=sys.stderr)
    known = next(iter(ours.values())).embed(words, read_back=True)["tensors"]
    text = known["text"]
    single = [i for i, line in enumerate(words) if ", " not in line]  # one phrase: 80 prompts
    ids, cold = known[f"tokens.{single[0]}"].long(), [words[i] for i in single[:COLD_WORDS]]
    contestants: dict = {name: Ours(beside, pixels, text, cold, size) for name, beside in ours.items()}
    for name in arguments.beside:
        mode, dtype, *layout = name.split("-")
        model = Sed.of(config, tensors).to(arguments.torch_device, DTYPES[dtype])
        if layout == ["channels_last"]:
            model = model.to(memory_format=torch.channels_last)
        if mode == "onnx":
            contestants[name] = Onnx(model, pixels, text, size, folder=folder, threads=arguments.threads)
        else:
            contestants[name] = Torch(model, pixels, text, ids, size, compiled=mode == "compile")
    exact = not on_cuda(arguments.device) and not on_cuda(arguments.torch_device)
    return Contest(contestants, arguments.runs, text=arguments.text, exact=exact, journal=journal)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*EAGER, "eager-f32-channels_last", *COMPILED, "compile-f32-channels_last", "onnx-f32"]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, help="begin no round when these have passed")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--torch-device", help="another device for PyTorch, to rehearse")
    parser.add_argument("--tf32", action="store_true", help="let PyTorch round f32 products to TF32 on a GPU")
    parser.add_argument("--beside", nargs="+", choices=known, help="whom to time beside (default: all but two)")
    parser.add_argument("--ours", nargs="+", choices=list(DTYPES), default=list(DTYPES), help="our number formats")
    parser.add_argument("--runs", nargs="+", type=run_of, metavar="N/TOP_K", default=RUNS, help="as 150/8 20/off")
    parser.add_argument("--text", action=argparse.BooleanOptionalAction, default=True, help="also embed new words")
    parser.add_argument("--json", type=pathlib.Path, help="write every time of every round to this file")
    parser.add_argument("--jsonl", type=pathlib.Path, help="the same, a line for each time as soon as it is known")
    parser.add_argument("--quick", action="store_true", help="a small network and one round: does all of this work?")
    arguments = parser.parse_args()
    arguments.torch_device = arguments.torch_device or arguments.device
    begun = time.perf_counter()
    config = SED_B
    if arguments.quick:
        config, arguments.rounds = json.loads((ROOT / "tests/golden/nano/config.json").read_text()), 1
    if arguments.beside is None:
        onnx = [] if on_cuda(arguments.device) else ["onnx-f32"]
        arguments.beside = EAGER + ([] if arguments.quick else COMPILED) + onnx
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.tf32
    setting, journal = describe(arguments, config), Journal(arguments.jsonl)
    journal.add(setting=setting)
    with contextlib.ExitStack() as stack:
        contest = arrange(arguments, config, stack, journal)
        contest.warm_up()
        for done in range(arguments.rounds):
            if arguments.seconds is not None and time.perf_counter() - begun > arguments.seconds:
                print(f"{arguments.seconds} seconds have passed: {done} rounds are enough", file=sys.stderr)
                break
            print(f"round {done + 1} of {arguments.rounds}", file=sys.stderr)
            contest.turn(done + 1)
    if not contest.seconds:
        raise SystemExit("no time was left for a round")
    print(", ".join(f"{name} {value}" for name, value in setting.items()))
    for dtype in arguments.ours:
        print(f"\n{contest.table(dtype)}")
    runs = "; ".join(run_name(*run) for run in contest.runs)
    first = next(iter(contest.contestants))
    print(f"\nPixels of the index map that are those of {first} ({runs}):\n\n{contest.agreement_text()}")
    if arguments.json:
        record = {"seconds": contest.seconds, "survivors": contest.survivors, "agreement": contest.agreement}
        arguments.json.write_text(json.dumps({"setting": setting, **record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
