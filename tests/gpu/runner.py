"""Runs steps one after the other, each within a limit of its own, and keeps what they found whatever happens next.

After every step a line is appended to ``results.jsonl`` and flushed, and ``logs.tar.xz`` is written again, so that a
kill loses the step in progress and nothing before it.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping

# The limits of all steps together fit this many seconds.
STANDARD_BUDGET = 540.0
# Less than this is not worth starting a step for.
LEAST_SECONDS = 1.0
# Between asking a step to end and killing it.
GRACE_SECONDS = 2.0
# A log keeps its beginning and its end.
LOG_HEAD, LOG_TAIL = 1 << 16, 1 << 20
# Of the log of a step that did not pass, so much stands in its result.
SAID = 2000
PASSED, FAILED, TIMED_OUT = "passed", "failed", "timed out"


@dataclasses.dataclass(frozen=True)
class Step:
    """A command with a limit."""

    name: str
    # Of the standard budget.
    seconds: float
    command: list[str]
    # Reads the step's figures from its log and from the files it wrote, also after it failed or was cut.
    figures: Callable[[str], object] | None = None
    # Files that the step writes, kept beside its log.
    files: tuple[pathlib.Path, ...] = ()
    # Why it cannot run here.
    skipped: str | None = None


class Runner:
    """Runs steps and keeps their results in a folder."""

    def __init__(self, out: pathlib.Path, scratch: pathlib.Path, environment: Mapping[str, str], budget: float):
        self.out, self.scratch, self.environment = out, scratch, dict(environment)
        self.scale = budget / STANDARD_BUDGET
        self.deadline = time.monotonic() + budget
        self.results: list[dict] = []
        self.kept: list[tuple[str, pathlib.Path]] = []
        self.process: subprocess.Popen | None = None
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.jsonl").write_text("")

    def run(self, step: Step) -> dict:
        """Runs a step; returns and records its result."""
        log = self.scratch / f"{step.name.replace(' ', '-')}.log"
        log.touch()
        begun = time.monotonic()
        limit = min(step.seconds * self.scale, self.deadline - begun)
        if step.skipped is not None:
            status = f"skipped: {step.skipped}"
        elif limit < LEAST_SECONDS:
            status = "not run: no time is left"
        else:
            status = self._command(step, log, limit)
        result = {"step": step.name, "status": status, "seconds": round(time.monotonic() - begun, 2)}
        if not status.startswith(("skipped", "not run")):
            result |= {"limit": round(limit, 1), "figures": self._figures(step, log)}
            if status != PASSED:
                result["said"] = log.read_text(errors="replace")[-SAID:]
            self.kept.append((log.name, log))
            self.kept.extend((f"{log.stem}.{file.name}", file) for file in step.files)
        self._record(result)
        return result

    def interrupt(self) -> None:
        """Ends the step in progress, if there is one."""
        if self.process is not None:
            end(self.process)

    def _command(self, step: Step, log: pathlib.Path, limit: float) -> str:
        with log.open("wb") as output:
            try:
                self.process = subprocess.Popen(
                    step.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    cwd=self.scratch,
                    start_new_session=True,
                )
            except OSError as error:
                output.write(f"{error}\n".encode())
                return FAILED
            try:
                code = self.process.wait(limit)
                return PASSED if code == 0 else f"{FAILED}: exit code {code}"
            except subprocess.TimeoutExpired:
                return TIMED_OUT
            finally:
                end(self.process)
                self.process = None

    def _figures(self, step: Step, log: pathlib.Path) -> object:
        """The figures of a step, or the error where they cannot be read."""
        if step.figures is None:
            return None
        try:
            return step.figures(log.read_text(errors="replace"))
        except (OSError, ValueError, LookupError, TypeError) as error:
            return {"unreadable": f"{type(error).__name__}: {error}"}

    def _record(self, result: dict) -> None:
        self.results.append(result)
        with (self.out / "results.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._keep_logs()

    def _keep_logs(self) -> None:
        new = self.scratch / "logs.tar.xz"
        with tarfile.open(new, "w:xz", preset=4) as archive:
            for name, file in self.kept:
                with contextlib.suppress(FileNotFoundError):
                    content = shortened(file.read_bytes())
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        kept = self.out / "logs.tar.xz"
        beside = kept.with_suffix(".new")
        beside.write_bytes(new.read_bytes())
        beside.rename(kept)


def shortened(content: bytes) -> bytes:
    """The beginning and the end of what is too long."""
    left_out = len(content) - LOG_HEAD - LOG_TAIL
    if left_out <= 0:
        return content
    return content[:LOG_HEAD] + f"\n... {left_out} bytes left out ...\n".encode() + content[-LOG_TAIL:]


def end(process: subprocess.Popen) -> None:
    """Ends a process and all that it started: asks first, then kills."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
