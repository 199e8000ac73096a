"""The steps of ``tests/gpu/run``, in the order of their worth: a run that is cut short has lost the least."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

import figures
from runner import Step

SPEED = ("--categories", "150", "--top-k", "8")
FORMATS = ("f32", "bf16", "f16")


@dataclasses.dataclass(frozen=True)
class Setting:
    """The folders, the device and the size of a run."""

    root: pathlib.Path
    programs: pathlib.Path
    # The steps write their files here.
    scratch: pathlib.Path
    # `cuda:0`, or `cpu` in a rehearsal.
    device: str
    # Everything small: shows that the steps work, and says nothing about speed.
    rehearse: bool
    # Of the limits.
    scale: float = 1.0

    @property
    def golden(self) -> pathlib.Path:
        return self.root / "tests" / "golden"

    def program(self, name: str) -> str:
        return str(self.programs / name)

    def file(self, name: str) -> pathlib.Path:
        return self.scratch / name

    def nano(self) -> list[str]:
        """The flags of the reduced model."""
        folder = self.golden / "nano"
        return ["--model", f"{folder}/sed_nano.safetensors", "--model-config", f"{folder}/config.json"]


def steps(setting: Setting) -> list[Step]:
    """All steps. Their limits together are the standard budget."""
    torch = no_torch(setting)
    no_ncu = torch or missing("ncu")
    return [
        device(setting),
        reduced(setting),
        kernels(setting),
        bench(setting, "headline", 50, SPEED, "bf16", "1,4,8,16,32"),
        beside(setting, "PyTorch eager", 50, "eager-bf16-channels_last", 20, torch),
        by_kernel(setting, no_ncu),
        sanitizer(setting, "memcheck", 35),
        sanitizer(setting, "racecheck", 25),
        sanitizer(setting, "initcheck", 20),
        beside(setting, "PyTorch compiled", 100, "compile-bf16-channels_last", 10, torch or no_compiler(setting)),
        full(setting),
        *(bench(setting, f"ours {dtype}", 15, SPEED, dtype, "1,16") for dtype in ("f32", "f16")),
        bench(setting, "ours TF32", 15, SPEED, "f32", "1,16", "--tf32"),
        bench(setting, "20 categories", 10, ("--categories", "20", "--top-k", "off,8"), "bf16", "1,16"),
        bench(setting, "rejection off", 15, ("--categories", "150", "--top-k", "off"), "bf16", "1,8"),
    ]


def missing(tool: str) -> str | None:
    """The reason to leave out a step that needs a tool, if there is one."""
    return None if shutil.which(tool) else f"no {tool}"


def no_torch(setting: Setting) -> str | None:
    """The reason to leave out the steps with PyTorch, if there is one. A rehearsal uses a PyTorch for the CPU."""
    usable = "True" if setting.rehearse else "torch.cuda.is_available()"
    test = f"import numpy, PIL, safetensors, torch; assert {usable}, 'it sees no GPU'"
    done = subprocess.run([sys.executable, "-c", test], capture_output=True, text=True)
    said = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else f"no PyTorch for it ({said[-1] if said else done.returncode})"


def no_compiler(setting: Setting) -> str | None:
    """PyTorch compiles with a C compiler; a rehearsal does not compile."""
    return "rehearsal" if setting.rehearse else missing("gcc")


def device(setting: Setting) -> Step:
    file = setting.file("device.json")
    script = str(setting.root / "tests/gpu/device.py")
    command = [sys.executable, script, setting.device, str(file), setting.program("sed-serve"), "--quick"]
    return Step("device", 15, [*command, *setting.nano()], lambda _: figures.document(file), (file,))


def reduced(setting: Setting) -> Step:
    file = setting.file("reduced.json")
    command = [setting.program("evidence"), "reduced", setting.device, str(file)]
    if setting.device == "cpu":
        command += ["f32", "bf16", "company"]  # f16 and submissions are for GPUs
    return Step("reduced model", 45, command, lambda _: figures.findings(file), (file,))


def kernels(setting: Setting) -> Step:
    # One thread: a device's tensors belong to one thread at a time.
    command = [setting.program("sed_kernels"), "cuda", "--test-threads", "1"]
    return Step("kernels", 30, command, figures.harness)


def bench(
    setting: Setting, name: str, seconds: float, grid: tuple[str, ...], dtype: str, batches: str, *more: str
) -> Step:
    """`bench model`: every stage on the GPU's clock, submissions and answers on the host's."""
    file = setting.file(f"{name.replace(' ', '-')}.json")
    picture = str(setting.golden / "full/img2.png")
    size = ["--random", "sed-b", "--rounds", "10", *grid, "--batch", batches]
    if setting.rehearse:
        size = [*setting.nano(), "--rounds", "1", "--categories", "12", "--top-k", "4", "--batch", "1,2"]
        dtype = "f32" if dtype == "f16" and setting.device == "cpu" else dtype
    command = [setting.program("sed-serve"), "bench", "model", picture, "--device", setting.device, "--dtype", dtype]
    command += [*size, *more, "--json-file", str(file)]
    return Step(name, seconds, command, lambda _: figures.bench(file), (file,))


def beside(setting: Setting, name: str, seconds: float, whom: str, rounds: int, skipped: str | None) -> Step:
    """PyTorch and this network in turns, on one picture."""
    file = setting.file(f"{name.replace(' ', '-')}.jsonl")
    script = str(setting.root / "tests/parity/speed.py")
    command = [sys.executable, script, "--ours", "bf16", "--beside", whom, "--no-text", "--jsonl", str(file)]
    device = setting.device.replace("cuda:0", "cuda")
    if setting.rehearse:
        command += ["--quick", "--device", device, "--torch-device", "cpu", "--runs", "20/8"]
    else:
        command += ["--device", device, "--runs", "150/8", "--rounds", str(rounds)]
    return Step(name, seconds, command, lambda _: figures.rounds(file), (file,), skipped)


def by_kernel(setting: Setting, skipped: str | None) -> Step:
    file = setting.file("by-kernel.json")
    script = str(setting.root / "tests/gpu/kernels.py")
    command = [sys.executable, script, "--dtype", "bf16", "--device", setting.device, "--grids", "--json", str(file)]
    command += ["--quick"] if setting.rehearse else []
    command += ["--seconds", str(43 * setting.scale)]
    return Step("time by kernel", 50, command, lambda _: figures.document(file), (file,), skipped)


def sanitizer(setting: Setting, tool: str, seconds: float) -> Step:
    tests = [setting.program("sed_kernels"), "cuda", "--test-threads", "1"]
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", *tests]
    return Step(tool, seconds, command, figures.sanitizer, skipped=missing("compute-sanitizer"))


def full(setting: Setting) -> Step:
    file = setting.file("full.json")
    command = [setting.program("evidence"), "full", setting.device, str(file), "img2"]
    if setting.rehearse:
        command = [setting.program("evidence"), "reduced", setting.device, str(file), "f32"]
    return Step("full-size parity", 50, command, lambda _: figures.findings(file), (file,))
