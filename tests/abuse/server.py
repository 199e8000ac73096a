"""The server under attack: a small configuration, at one address through all its restarts."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

from limits import MIB, Limit, Memory

PATIENCE = 120.0  # seconds for what does not depend on the machine's speed
# "At worst" some hundred MiB: twelve requests at once, small caches, little memory for decoding.
SMALL = {
    "--max-concurrent-requests": 12,
    "--text-cache-bytes": 16 * MIB,
    "--vocabulary-cache-bytes": 16 * MIB,
    "--image-cache-bytes": 16 * MIB,
    "--max-decode-bytes": 64 * MIB,
    "--max-request-memory-bytes": 384 * MIB,
    "--cpu-threads": 2,
    "--grpc-web": "true",
}
ABOVE_WORST = 1.1


class Server:
    """One process at a time."""

    def __init__(self, folder: Path, limit_mib: int | None) -> None:
        self.program = os.environ["SED_SERVE"]
        # Without the variable of these tests, of which the program would warn.
        self.environment = {name: value for name, value in os.environ.items() if name != "SED_SERVE"}
        self.text = folder / "text"
        self.log = folder / "log"
        self.address = ("127.0.0.1", _free_port())
        self.ops = ("127.0.0.1", _free_port())
        known = subprocess.run([self.program, "serve", "--help"], capture_output=True, text=True, check=True).stdout
        self.flags = [str(part) for pair in SMALL.items() if pair[0] in known for part in pair]
        self.flags += ["--text-cache-dir", str(self.text)]
        self.worst = self._worst()
        self.limit = Limit(limit_mib * MIB if limit_mib else int(self.worst * ABOVE_WORST))
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def memory(self) -> Memory:
        """Its resident memory."""
        return Memory(self.pid)

    @property
    def alive(self) -> bool:
        """Has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *, limited: bool = True) -> None:
        """Starts it and waits until it is ready."""
        command = [self.program, "serve", "--listen", _text(self.address), "--ops-listen", _text(self.ops), *self.flags]
        command = self.limit.wrap(command) if limited else command
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*command, env=self.environment, stdout=log, stderr=log)
        if limited:
            self.limit.hold(self.pid)
        self.starts += 1
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(self._ready):
                if not self.alive:
                    raise RuntimeError(f"the server does not start:\n{self.log_tail()}")
                await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Waits for the end; the exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Kills it."""
        if self.alive:
            self.send(signal.SIGKILL)
            await self.ended()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, where there is still a process."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    @property
    def exit_code(self) -> int | None:
        """The exit code of a server that has ended; None while it runs."""
        assert self._process is not None
        return self._process.returncode

    def log_tail(self, lines: int = 15) -> str:
        """The end of the log, lines cut to what a terminal takes."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 64_000))
            text = log.read().decode(errors="replace")
        return "\n".join(line[:300] for line in text.splitlines()[-lines:])

    def counted(self, *codes: str) -> float:
        """Calls that ended with one of these codes, by /metrics."""
        return self._sum(rf'sed_(?:stream_)?requests_total\{{.*code="(?:{"|".join(codes)})"')

    def gauge(self, name: str) -> float:
        """The value of a gauge, by /metrics; over all its labels."""
        return self._sum(rf"{name}[ {{]")

    def _sum(self, series: str) -> float:
        """The sum of the series that begin like this."""
        with urllib.request.urlopen(f"http://{_text(self.ops)}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if re.match(series, line)]
        if not values:
            raise RuntimeError(f"/metrics has no series like {series}")
        return sum(values)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{_text(self.ops)}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def _worst(self) -> int:
        """The bytes that `doctor` states for the worst case."""
        command = [self.program, "--json", "doctor", "--quick", "--listen", _text(self.address)]
        command += [*self.flags, "--ops-listen", _text(self.ops)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        texts = [check["found"] for check in json.loads(done.stdout)["checks"]]
        found = re.search(r"at worst ([\d.]+) (KiB|MiB|GiB)", "\n".join(texts))
        if not found:
            raise RuntimeError(f"doctor does not state a worst case: {texts}")
        return int(float(found[1]) * {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}[found[2]])


def _text(address: tuple[str, int]) -> str:
    return "{}:{}".format(*address)


def _free_port() -> int:
    """A port below those that clients' ends of connections take: it must be free again at every restart."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("of a hundred ports none is free")
