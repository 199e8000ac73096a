"""Describes the machine: the GPU, the driver, the libraries, the tools, and what ``sed-serve doctor`` says of them.

    python3 tests/gpu/device.py DEVICE FILE SED_SERVE [ARGUMENT ...]

FILE gets it as JSON. The exit code is doctor's.
"""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

FIELDS = (
    "index,name,driver_version,memory.total,memory.used,clocks.sm,clocks.mem,power.limit,compute_mode,mig.mode.current"
)
LIBRARIES = ("libcuda.so.1", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10")


def said(*command: str) -> str:
    """The output of a command, or its error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=8)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return (done.stdout or done.stderr).strip()


def found(library: str) -> list[str]:
    """Paths of a library in the folders of ``LD_LIBRARY_PATH``; the system's own folders are not searched."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [f"{folder}/{library}" for folder in folders if folder and pathlib.Path(folder, library).exists()]


def main() -> int:
    """Command line."""
    device, file, program, *arguments = sys.argv[1:]
    command = [program, "--json", "doctor", "--device", device, *arguments]
    doctor = subprocess.run(command, capture_output=True, text=True)
    try:
        checks = json.loads(doctor.stdout)
    except ValueError:
        checks = {"unreadable": doctor.stdout[-2000:]}
    description = {
        "gpus": said("nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv") if shutil.which("nvidia-smi") else None,
        "libraries": {library: found(library) for library in LIBRARIES},
        "tools": {tool: shutil.which(tool) for tool in ("ncu", "nsys", "compute-sanitizer", "gcc")},
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "doctor": checks,
        "doctor_error": doctor.stderr[-2000:],
    }
    pathlib.Path(file).write_text(json.dumps(description))
    print(json.dumps(description, indent=1))
    return doctor.returncode


if __name__ == "__main__":
    sys.exit(main())
