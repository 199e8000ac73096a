"""The balancer before the replicas: HAProxy with the example's configuration."""

import json
import os
import pathlib
import re
import socket
import subprocess
import time
from typing import Any, NamedTuple

from processes import NETWORK, Failed, Replica, until

HERE = pathlib.Path(__file__).resolve().parent
# The replicas of the example.
NAMES = ["one", "two", "three"]


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
    """One HAProxy before the given replicas; at the addresses of the example's other replicas nothing answers."""

    LINE = re.compile(
        r"replicas/(\S+) http=(\S+) grpc=(\S+) attempt=(\S+) redispatched=\+?(\d+) end=(\S+) ms=\S+ (\S+)"
    )

    def __init__(self, folder: pathlib.Path, number: int, replicas: list[Replica]) -> None:
        host = f"{NETWORK}.{number}"
        self.address = f"{host}:50050"
        self.log = folder / "balancer.log"
        self.socket = folder / "balancer.sock"
        self.environment = {
            "SED_BALANCER_LISTEN": host,
            "SED_BALANCER_LOG": "stdout",
            "SED_BALANCER_SOCKET": str(self.socket),
        }
        hosts = {name: f"{NETWORK}.250" for name in NAMES} | {replica.name: replica.host for replica in replicas}
        self.environment |= {f"SED_REPLICA_{name.upper()}": found for name, found in hosts.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts HAProxy and waits until it accepts connections."""
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
        """The balancer's state of a replica: UP, NOLB (no new requests) or DOWN."""
        return str(self._statistics(replica)["status"]).split()[0]  # `UP 1/3` is on its way down

    def _statistics(self, replica: Replica) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.socket))
            control.sendall(b"show stat json\n")
            answer = b"".join(iter(lambda: control.recv(1 << 16), b""))
        for entry in json.loads(answer):
            fields = {field["field"]["name"]: field["value"]["value"] for field in entry}
            if fields["pxname"] == "replicas" and fields["svname"] == replica.name:
                return fields
        raise Failed(f"the balancer does not know {replica.name}")

    def unanswered(self, replica: Replica) -> int:
        """Requests that a replica has and has not answered."""
        return int(self._statistics(replica)["scur"])

    def wait_state(self, replica: Replica, *states: str) -> None:
        """Waits until the replica has one of these states."""
        until(f"{replica.name} is {states} to the balancer", lambda: self.state(replica) in states)

    def passed(self, skip: int = 0) -> list[Passed]:
        """The requests that it has passed on or given up, but for the first ones."""
        lines = self.log.read_text().splitlines()
        found = [match for match in map(self.LINE.search, lines) if match]
        return [
            Passed(server, int(http), grpc, int(attempt.replace("-", "0")), int(redispatched), end, path)
            for server, http, grpc, attempt, redispatched, end, path in (match.groups() for match in found[skip:])
        ]

    def settled(self) -> int:
        """Number of requests that it has passed on or given up, once its log no longer grows."""
        count = -1
        while (now := len(self.passed())) != count:
            count = now
            time.sleep(1)
        return count

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
