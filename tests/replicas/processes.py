"""The processes of the test: replicas at addresses of their own on loopback, and the balancer before them."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
# A network that no other run of this test uses at the same time.
NETWORK = f"127.81.{os.getpid() % 250}"
# For whatever does not depend on how fast the machine is: it is only reached where something hangs.
PATIENCE = 120.0


class Failed(Exception):
    """What the test was to show is not so."""


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
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command + self.flags, stdout=log, stderr=log)
        self.starts += 1

    def wait_ready(self) -> None:
        """Waits until the operations port says so."""
        until(f"{self.name} is ready", lambda: self.alive() and self.readiness() == 200)

    def alive(self) -> bool:
        """True, or an error: nothing ends a replica but this test."""
        if self.process is None or self.process.poll() is not None:
            raise Failed(f"{self.name} is not running")
        return True

    def readiness(self) -> int | None:
        """The HTTP status of /readyz; None where nobody answers."""
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


class Passed(NamedTuple):
    """One request in the balancer's log."""

    server: str
    http: int
    grpc: str
    attempt: int
    redispatched: int
    end: str
    path: str


class Balancer:
    """HAProxy with the example's configuration."""

    LINE = re.compile(
        r"replicas/(\S+) http=(\S+) grpc=(\S+) attempt=(\S+) redispatched=\+?(\d+) end=(\S+) ms=\S+ (\S+)"
    )

    def __init__(self, folder: pathlib.Path, replicas: list[Replica]) -> None:
        self.address = f"{NETWORK}.100:50050"
        self.log = folder / "balancer.log"
        self.socket = folder / "balancer.sock"
        self.environment = {
            "SED_BALANCER_LISTEN": f"{NETWORK}.100",
            "SED_BALANCER_LOG": "stdout",
            "SED_BALANCER_SOCKET": str(self.socket),
        }
        for replica in replicas:
            self.environment[f"SED_REPLICA_{replica.name.upper()}"] = replica.host
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        command = ["haproxy", "-db", "-f", str(HERE / "haproxy.cfg")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | self.environment)
        until("the balancer runs", lambda: self.alive() and self.socket.exists())

    def alive(self) -> bool:
        """True, or an error."""
        if self.process is None or self.process.poll() is not None:
            raise Failed("the balancer is not running")
        return True

    def state(self, replica: Replica) -> str:
        """What the balancer thinks of a replica: UP, NOLB (no new requests) or DOWN."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.socket))
            control.sendall(b"show stat json\n")
            answer = b"".join(iter(lambda: control.recv(1 << 16), b""))
        for entry in json.loads(answer):
            fields = {field["field"]["name"]: field["value"]["value"] for field in entry}
            if fields["pxname"] == "replicas" and fields["svname"] == replica.name:
                return str(fields["status"]).split()[0]  # `UP 1/2` is on its way down
        raise Failed(f"the balancer does not know {replica.name}")

    def wait_state(self, replica: Replica, *states: str) -> None:
        """Waits until the balancer thinks so."""
        until(f"{replica.name} is {states} to the balancer", lambda: self.state(replica) in states)

    def passed(self, skip: int = 0) -> list[Passed]:
        """The requests that it has passed on or given up, but for the first ones."""
        lines = self.log.read_text().splitlines()
        found = [match for match in map(self.LINE.search, lines) if match]
        number = lambda text: int(text) if text.isdigit() else 0
        return [
            Passed(server, number(http), grpc, number(attempt), int(redispatched), end, path)
            for server, http, grpc, attempt, redispatched, end, path in (match.groups() for match in found[skip:])
        ]

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
