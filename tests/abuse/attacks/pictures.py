"""Pictures that are small files and large in memory, or slow."""

import asyncio
import contextlib
from functools import cache

import bombs
from attacks.base import SEGMENT, Attack, Target, together
from crafted import CRAFTED
from limits import MIB
from questions import known_words, segment
from wire import Closed, prefixed


@cache
def requests(kind: str) -> list[bytes]:
    """Requests with such pictures."""
    makers = {
        "profile": [lambda: bombs.profile(1024 * MIB)],
        "scans": [bombs.many_scans],
        "plain": list(bombs.BOMBS.values()),
        "crafted": list(CRAFTED.values()),
        "large": [lambda: bombs.by_pillow("bmp")],
    }[kind]
    return [segment(maker(), known_words(), top_k=1).SerializeToString() for maker in makers]


class Bombs(Attack):
    """Requests with such pictures, some at a time."""

    memory = True
    at_once = 3

    def __init__(self, name: str, kind: str, seconds: float) -> None:
        self.name, self.kind, self.seconds = name, kind, seconds

    async def prepare(self, target: Target) -> None:
        await asyncio.to_thread(requests, self.kind)

    async def strike(self, target: Target) -> None:
        messages = requests(self.kind) * self.at_once
        waiting = iter(messages)
        async with await target.connect() as connection:

            async def one() -> None:
                for message in waiting:
                    await connection.unary(SEGMENT, message)

            await together(one() for _ in range(self.at_once))


class CancelledUploads(Attack):
    """Whole uploads that are cancelled as soon as they are there, while slow pictures keep the decoders busy."""

    name = "cancelled uploads"
    memory = True
    seconds = 4.0
    slow = 3
    goal = ("bytes", 600 * MIB)

    async def prepare(self, target: Target) -> None:
        for kind in ("scans", "large"):
            await asyncio.to_thread(requests, kind)

    async def strike(self, target: Target) -> None:
        await together([*(self._keep_busy(target) for _ in range(self.slow)), self._flood(target)])

    async def _keep_busy(self, target: Target) -> None:
        async with await target.connect() as connection:
            while True:
                await connection.unary(SEGMENT, requests("scans")[0])

    async def _flood(self, target: Target) -> None:
        message = prefixed(requests("large")[0])
        async with await target.connect() as connection:
            while True:
                stream = await connection.call(SEGMENT)
                with contextlib.suppress(Closed):  # refused for want of a place
                    await connection.send(stream, message, end=True)
                await asyncio.sleep(0.02)
                await connection.reset(stream)


ATTACKS: list[Attack] = [
    Bombs("bomb: colour profile", "profile", 1.5),
    Bombs("bombs of all formats", "plain", 2.5),
    Bombs("bomb: scans", "scans", 2.0),
    Bombs("bombs: crafted headers", "crafted", 2.5),
    CancelledUploads(),
]
