"""Compilers: kernels to machine code, and machine code to text, both cached by content."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
KERNELS = ROOT / "crates/sed-kernels/cuda"
BUILD_SCRIPT = ROOT / "crates/sed-kernels/build/nvcc.rs"
CACHE = pathlib.Path(os.environ.get("SED_SASS_CACHE", pathlib.Path.home() / ".cache/sed-serve-sass"))
# There are no wheels of 13.0; a newer disassembler reads older machine code. Another version may print it otherwise.
DISASSEMBLERS = ("nvidia-cuda-cuobjdump==13.2.51", "nvidia-cuda-nvdisasm==13.2.51")
ARCHITECTURES = (80, 90)


class ToolError(Exception):
    """A compiler or disassembler that is missing or fails."""


def say(text: str) -> None:
    """Reports progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def run(command: list[str]) -> str:
    """Runs a command at low priority and returns its standard output."""
    try:
        done = subprocess.run(["nice", *command], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError(f"cannot run {command[0]}: {error}") from error
    if done.returncode != 0:
        raise ToolError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def nvcc() -> str:
    """The compiler of $CUDA_HOME, of the PATH, or the one that deploy/cuda/toolkit fetches."""
    home = os.environ.get("CUDA_HOME")
    if home and (path := pathlib.Path(home) / "bin/nvcc").is_file():
        return str(path)
    if path := shutil.which("nvcc"):
        return path
    variables = run([str(ROOT / "deploy/cuda/toolkit")])
    found = re.search(r"CUDA_HOME='([^']+)'", variables)
    if not found:
        raise ToolError("deploy/cuda/toolkit does not print CUDA_HOME")
    return f"{found[1]}/bin/nvcc"


def flags() -> list[str]:
    """The flags of the product's build without its target formats."""
    found = re.search(r'\["--fatbin",([^\]]*)\]', BUILD_SCRIPT.read_text())
    if not found:
        raise ToolError(f"{BUILD_SCRIPT}: no list of flags that starts with \"--fatbin\"")
    return re.findall(r'"([^"]+)"', found[1])


def disassemblers() -> pathlib.Path:
    """The folder of cuobjdump and nvdisasm, fetched from PyPI once."""
    folder = CACHE / "disassemblers-13.2.51"
    if not (folder / ".complete").exists():
        say(f"fetching {' and '.join(DISASSEMBLERS)} from PyPI (6 MB)")
        wheels = folder / "wheels"
        shutil.rmtree(folder, ignore_errors=True)
        python = [sys.executable, "-m"]
        run([*python, "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), *DISASSEMBLERS])
        for wheel in wheels.glob("*.whl"):
            run([*python, "zipfile", "-e", str(wheel), str(folder)])
        for tool in (folder / "nvidia/cu13/bin").iterdir():
            tool.chmod(0o755)
        (folder / ".complete").touch()
    return folder / "nvidia/cu13/bin"


def sources() -> list[pathlib.Path]:
    """All kernels' files."""
    return sorted(KERNELS.glob("*.cu"))


def machine_code(source: pathlib.Path, architecture: int, compiler: str) -> tuple[str, dict[str, dict[str, int]]]:
    """The listing of a file's machine code, and registers, stack and shared memory of each kernel."""
    options = [*flags(), f"-arch=sm_{architecture}", "--cubin"]
    digest = hashlib.sha256(json.dumps([options, compiler, DISASSEMBLERS]).encode())
    for file in [source, *sorted([*KERNELS.glob("*.cuh"), *KERNELS.glob("*.h")])]:
        digest.update(file.read_bytes())
    stem = CACHE / f"{source.stem}.{architecture}.{digest.hexdigest()[:24]}"
    listing, usage, image = (stem.with_name(stem.name + end) for end in (".sass", ".json", ".cubin"))
    if not usage.exists():
        say(f"compiling {source.name} for sm_{architecture}")
        CACHE.mkdir(parents=True, exist_ok=True)
        tools = disassemblers()
        run([compiler, *options, "-o", str(image), str(source)])
        listing.write_text(run([str(tools / "nvdisasm"), "-c", str(image)]))
        usage.write_text(json.dumps(resources(run([str(tools / "cuobjdump"), "-res-usage", str(image)]))))
        image.unlink()
    return listing.read_text(), json.loads(usage.read_text())


def resources(text: str) -> dict[str, dict[str, int]]:
    """Resources of each function, from the output of cuobjdump -res-usage."""
    found = re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", text)
    if not found:
        raise ToolError(f"cuobjdump lists no function:\n{text[:1000]}")
    return {
        name: {"registers": int(registers), "spill": int(stack) + int(local), "shared": int(shared)}
        for name, registers, stack, shared, local in found
    }
