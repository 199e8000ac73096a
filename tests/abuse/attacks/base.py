"""The form of an attack, and what attacks share."""

import asyncio
import contextlib
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from limits import MIB
from questions import known_words, picture, segment
from server import Server
from wire import LARGEST_WINDOW, Closed, Connection, prefixed

SEGMENT = "/sed.v1.SegmentationService/Segment"
STREAM = "/sed.v1.SegmentationService/SegmentStream"
CREATE = "/sed.v1.SegmentationService/CreateVocabulary"
PREPARE = "/sed.v1.SegmentationService/PrepareVocabulary"
INFO = "/sed.v1.SegmentationService/GetServerInfo"
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"
HEALTH = "/grpc.health.v1.Health/Check"

ZEROS = bytes(MIB)
# Seconds between a strike that ended and the next, and a call that was refused and the next.
BREATH, REFUSED = 0.05, 0.2
# Seconds that an attack gets to reach its goal: without progress, and with it.
STUCK, LONGEST = 1.0, 12.0


class Target:
    """The server as an attack sees it, and the account of what was done to it."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.did: Counter[str] = Counter()

    async def connect(self, *, window: int = LARGEST_WINDOW, pings: bool = True, keep: bool = False) -> Connection:
        """A connection to the gRPC port."""
        return await Connection.open(self.server.address, self.did, window=window, pings=pings, keep=keep)

    def new_phrase(self, size: int = 12) -> str:
        """Words that no server has embedded."""
        return "".join(
            self.random.choice("bcdfghklmnprst") + self.random.choice("aeiou ") for _ in range(size // 2)
        ).strip()

    def new_phrases(self, number: int) -> list[str]:
        """So many of them."""
        return [self.new_phrase() for _ in range(number)]

    async def usual_seconds(self, names: Callable[[], list[str]], times: int = 5) -> float:
        """Returns the time that an ordinary request takes while nothing else is asked of the server."""
        took = []
        for _ in range(times):
            begun = time.monotonic()
            await self.ordinary_request(names(), 30.0)
            took.append(time.monotonic() - begun)
        return statistics.median(took)

    async def ordinary_request(self, names: list[str], deadline: float) -> int | None:
        """The status of a request for one picture, without rejection; None where none came."""
        message = segment(picture(), names, top_k=0).SerializeToString()
        try:
            async with asyncio.timeout(deadline + 1), await self.connect() as connection:
                answer = await connection.unary(SEGMENT, message, grpc_timeout=f"{int(deadline * 1000)}m")
                return answer.status
        except (TimeoutError, ConnectionError):
            return None


class Attack:
    """One kind of misbehaviour."""

    name: str
    # It is there to take memory: one of those that `--together` runs at once.
    memory = False
    # Duration of the attack when it is alone on a machine with time to spare.
    seconds = 1.5
    # Entry of its account, and the count that it must reach for the attack to be in place; a busy machine
    # gets more time for that.
    goal: tuple[str, int] | None = None
    # Its complaints cannot be the doing of another attack at the same time.
    verified_in_mixes = True
    # It shows on a server that has not run for long.
    fresh = False
    # The part of that in which the server itself is stopped.
    stopped = 0.0

    async def prepare(self, target: Target) -> None:
        """Makes what takes time to make, before the clock runs."""

    async def strike(self, target: Target) -> None:
        """Misbehaves once; is begun again when it ends, and cancelled when time is up."""
        raise NotImplementedError

    async def verify(self, target: Target) -> list[str]:
        """Complaints about what the server does after the attack."""
        return []

    async def run(self, target: Target, seconds: float) -> None:
        """Strikes for so long, again whenever the server has thrown it out; longer while it gets on to its goal."""
        striking = asyncio.create_task(self._strike_again(target))
        what, goal = self.goal or ("", 0)
        latest = time.monotonic() + seconds + LONGEST
        before = -1
        try:
            await asyncio.wait([striking], timeout=seconds)
            while before < target.did[what] < goal and time.monotonic() < latest and not striking.done():
                before = target.did[what]
                await asyncio.wait([striking], timeout=STUCK)
        finally:
            striking.cancel()
            await asyncio.wait([striking])
        if not striking.cancelled():
            striking.result()

    async def _strike_again(self, target: Target) -> None:
        while True:
            try:
                await self.strike(target)
            except ConnectionError:
                target.did["thrown out"] += 1
            await asyncio.sleep(BREATH)


async def forever() -> None:
    """Holds what there is to hold until the attack is over."""
    await asyncio.Event().wait()


async def together(coroutines: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Runs them side by side; what the server ends does not end the others."""

    async def one(coroutine: Coroutine[Any, Any, object]) -> None:
        with contextlib.suppress(ConnectionError):
            await coroutine

    await asyncio.gather(*map(one, coroutines))


async def insist(connection: Connection, begin: Callable[[Connection], Awaitable[int]]) -> None:
    """Begins a call and holds it; begins again whenever the server has ended it."""
    while not connection.closed.is_set():
        with contextlib.suppress(Closed):
            stream = await begin(connection)
            await connection.answers[stream].ended.wait()
        await asyncio.sleep(REFUSED)


async def send_unfinished(connection: Connection, path: str, size: int) -> int:
    """The headers of a call and a message that ends `size` bytes later, but for one byte; the call's stream."""
    stream = await connection.call(path)
    await connection.send(stream, prefixed(b"", announced=size))
    left = size - 1
    while left > 0:
        await connection.send(stream, ZEROS[: min(left, MIB)])
        left -= MIB
    return stream


async def until_closed(connection: Connection) -> None:
    """Holds until the server closes the connection."""
    await connection.closed.wait()
    raise Closed


def request_bytes(**options: object) -> bytes:
    """A small request that any server answers."""
    return segment(picture(), known_words(), **options).SerializeToString()
