"""Runs sed-serve against the server of the test."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = os.environ["SED_SERVE"]
# A deadline that a slow machine keeps, too.
SERVER = ["--server", f"http://{os.environ['SED_ADDRESS']}", "--timeout", "900"]
# The variable of the official scripts is set by the checks that are about it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SED_", "DETECTRON2_"))}


@dataclass
class Outcome:
    """The end of a run."""

    code: int
    out: str
    said: str

    def json(self) -> dict:
        """The one JSON object that the run printed."""
        return json.loads(self.out)


def run(*arguments: object, environment: dict[str, str] | None = None) -> Outcome:
    command = [PROGRAM, *map(str, arguments), *SERVER]
    done = subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, **(environment or {})})
    return Outcome(done.returncode, done.stdout, done.stderr)


def evaluate(*arguments: object, code: int = 0, environment: dict[str, str] | None = None) -> Outcome:
    """Runs `eval`, which must end with this exit code."""
    outcome = run("eval", *arguments, environment=environment)
    assert outcome.code == code, f"eval {arguments}: exit code {outcome.code}\n{outcome.out}\n{outcome.said}"
    return outcome


def predictions(pictures: Path, vocabulary: str, into: Path, *more: object) -> dict[str, np.ndarray]:
    """The category of every pixel as `segment` answers it, by the picture's name without ending."""
    how = ["--vocabulary", vocabulary, "--contrast", "off", "--output", into, *more]
    outcome = run("segment", pictures, *how)
    assert outcome.code == 0, outcome.said
    masks = sorted(into.glob("*.mask.png"))
    assert masks, outcome.out
    return {mask.name.removesuffix(".mask.png"): np.array(Image.open(mask)).astype(np.int64) for mask in masks}
