"""Probes as any platform sends them, and the watcher of the memory limit."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import Counter

from limits import Memory
from lines import emit, obey
from wire import Connection, prefixed

EVERY = 0.5  # seconds, each probe
PATIENCE = 5.0
WATCHED_EVERY = 0.005


class Watcher(threading.Thread):
    """Kills the process once it has had more in memory than the limit, as a container's kernel does."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process, self.most = 0, 0
        self.lock = threading.Lock()

    def run(self) -> None:
        """Looks, for as long as this process runs."""
        while True:
            time.sleep(WATCHED_EVERY)
            with self.lock:
                if self.process == 0:
                    continue
                peak = Memory(self.process).peak()
                if peak > self.most:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.process, signal.SIGKILL)
                    emit(kind="killed", at=time.monotonic(), peak=peak)
                    self.process = 0

    def watch(self, process: int, most: int) -> None:
        """Turns to another process; 0 is none."""
        with self.lock:
            self.process, self.most = process, most


class Probes:
    """Liveness, readiness and health, each from a connection of its own each time."""

    def __init__(self, address: tuple[str, int], ops: tuple[str, int]) -> None:
        self._address, self._ops = address, ops
        self._under_way: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Task[None] | None = None

    def go(self) -> None:
        """Begins."""
        self._sending = asyncio.create_task(self._send())

    async def pause(self) -> None:
        """Ends, once what is under way has been answered or given up."""
        if self._sending:
            self._sending.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _send(self) -> None:
        while True:
            for name in ("livez", "readyz", "health"):
                task = asyncio.create_task(self._probe(name))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(EVERY)

    async def _probe(self, name: str) -> None:
        begun, good = time.monotonic(), False
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE):
                good = await (self._health() if name == "health" else self._page(name))
        emit(kind="probe", name=name, at=begun, seconds=time.monotonic() - begun, good=good)

    async def _page(self, name: str) -> bool:
        reader, writer = await asyncio.open_connection(*self._ops)
        try:
            writer.write(f"GET /{name} HTTP/1.1\r\nhost: sed-serve\r\nconnection: close\r\n\r\n".encode())
            return b" 200 " in await reader.readuntil(b"\r\n")
        finally:
            writer.close()

    async def _health(self) -> bool:
        async with await Connection.open(self._address, Counter(), keep=True) as connection:
            answer = await connection.unary("/grpc.health.v1.Health/Check", b"")
            return answer.data == prefixed(b"\x08\x01")  # SERVING


async def main() -> None:
    """Obeys until the main process ends."""
    watcher = Watcher()
    watcher.start()
    probes: list[Probes] = []

    async def go(address: list[str | int], ops: list[str | int], process: int, most: int) -> None:
        watcher.watch(process, most)
        probes[:] = [Probes(tuple(address), tuple(ops))]  # type: ignore[arg-type]
        probes[0].go()

    async def pause() -> None:
        for each in probes:
            await each.pause()

    async def unwatch() -> None:
        watcher.watch(0, 0)

    await obey({"go": go, "pause": pause, "unwatch": unwatch})


asyncio.run(main())
