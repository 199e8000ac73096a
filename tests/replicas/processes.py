"""The replicas: processes at addresses of their own on loopback."""

import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable

# A network that no other run of this test uses at the same time.
NETWORK = f"127.81.{os.getpid() % 250}"
# For whatever does not depend on how fast the machine is: it is only reached where something hangs.
PATIENCE = 120.0


class Failed(Exception):
    """A condition that the test checks does not hold."""


def check(condition: bool, what: str) -> None:
    """Fails where the condition does not hold."""
    if not condition:
        raise Failed(what)


def until(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Waits until the condition holds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(0.02)


class Replica:
    """A place for one `sed-serve serve`, which may be started there again and again."""

    def __init__(self, name: str, number: int, folder: pathlib.Path, flags: list[str]) -> None:
        self.name = name
        self.host = f"{NETWORK}.{number}"
        self.address = f"{self.host}:50051"
        self.flags = flags
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Starts the process, without waiting for its warm-up."""
        command = [os.environ["SED_SERVE"], "serve", "--listen", self.address, "--ops-listen", f"{self.host}:9464"]
        # Without the variable of these tests, of which the replica would warn.
        environment = {name: value for name, value in os.environ.items() if name != "SED_SERVE"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command + self.flags, stdout=log, stderr=log, env=environment)
        self.starts += 1

    def wait_ready(self) -> None:
        """Waits until the operations port reports that the replica is ready."""
        until(f"{self.name} is ready", lambda: self.alive() and self.readiness() == 200)

    def alive(self) -> bool:
        """True, or an error: nothing ends a replica but this test."""
        if self.process is None or self.process.poll() is not None:
            raise Failed(f"{self.name} is not running")
        return True

    def readiness(self) -> int | None:
        """The HTTP status of /readyz; None where nothing answers."""
        try:
            return self._ops("/readyz")[0]
        except OSError:
            return None

    def metric(self, name: str, labels: str = "") -> int:
        """A counter of /metrics."""
        series = f"{name}{labels} "
        for line in self._ops("/metrics")[1].splitlines():
            if line.startswith(series):
                return int(float(line[len(series) :]))
        raise Failed(f"{self.name} has no metric {series}")

    def _ops(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.host}:9464{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        self.wait_end(-signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM; the drain has to end by itself and in order."""
        self.send(signal.SIGTERM)
        self.wait_end(0)

    def wait_end(self, code: int) -> None:
        """Waits for the end, with this exit code."""
        assert self.process is not None
        try:
            ended = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end") from None
        if ended != code:
            raise Failed(f"{self.name} ended with {ended}, not {code}")
        self.process = None

    def stop(self) -> None:
        """Ends whatever is left when the test ends."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
