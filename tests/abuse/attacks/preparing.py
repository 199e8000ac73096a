"""Vocabularies that are prepared without end: on streams that are held, left or not read, and by requests that are
refused because their words are not ready."""

import asyncio
import contextlib
import itertools
import time
from contextlib import AsyncExitStack

from sed_serve_client.v1 import vocabulary_pb2

from attacks.base import PREPARE, REFUSED, SEGMENT, Attack, Target, together
from attacks.words import RECOVERY, complaint_unless_answered
from questions import picture, segment, words
from wire import LARGEST_WINDOW, Closed, Connection, prefixed

LONGEST_PHRASE = 250  # bytes; the default limit is 256
# Categories of a vocabulary: as many as one may have, about as many as fit the caches of this configuration, and a few.
SIZES = (1024, 180, 24)
RESOURCE_EXHAUSTED = 8
# New words of an honest caller, and the seconds within which an idle server has prepared them: for the first one it
# still counts as busy.
FEW, PREPARED = 4, 10.0


def preparation(names: list[str]) -> bytes:
    """A request to prepare words."""
    return vocabulary_pb2.PrepareVocabularyRequest(vocabulary=words(names)).SerializeToString()


class Preparations(Attack):
    """Streams over many connections, each with a vocabulary of its own, and with the next one when it has ended."""

    seconds = 4.0
    connections, streams = 16, 8
    # Refused requests of other attacks have words prepared, too, for minutes.
    fresh = True
    verified_in_mixes = False

    def __init__(self, name: str, *, hold: float | None = None, window: int = LARGEST_WINDOW) -> None:
        """`hold`: seconds after which a stream is left; None is never."""
        self.name, self.hold, self.window = name, hold, window
        self.goal = ("calls", self.connections * self.streams)
        self._sizes = itertools.cycle(SIZES)

    async def strike(self, target: Target) -> None:
        async with AsyncExitStack() as stack:
            opening = [target.connect(window=self.window) for _ in range(self.connections)]
            opened = [await stack.enter_async_context(await connection) for connection in opening]
            await together(self._prepare(target, opened[n % len(opened)]) for n in range(len(opened) * self.streams))

    async def _prepare(self, target: Target, connection: Connection) -> None:
        while not connection.closed.is_set():
            with contextlib.suppress(Closed):
                await self._one(target, connection)
            await asyncio.sleep(REFUSED)

    async def _one(self, target: Target, connection: Connection) -> None:
        stream = await connection.call(PREPARE)
        await connection.send(stream, prefixed(preparation(self._names(target))), end=True)
        ended = connection.answers[stream].ended
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.hold):
                await ended.wait()
        if ended.is_set():
            target.did["ended by the server"] += 1
        else:
            await connection.reset(stream)
            target.did["left"] += 1

    def _names(self, target: Target) -> list[str]:
        """Words that are as long as they may be; quick to make, so that this process is not the slow one."""
        stem = target.new_phrase()
        return [f"{stem} {number} ".ljust(LONGEST_PHRASE, "x") for number in range(next(self._sizes))]

    async def verify(self, target: Target) -> list[str]:
        names = target.new_phrases(FEW)
        return [
            *await complaint_unless_answered(target, "a few new words after preparations", names, 2.0),
            *await self._complaint_if_any_is_left(target),
            *await self._complaint_unless_prepared(target),
        ]

    async def _complaint_if_any_is_left(self, target: Target) -> list[str]:
        """Efforts end with the last caller that waits for them."""
        end = time.monotonic() + RECOVERY
        while left := await asyncio.to_thread(target.server.gauge, "sed_preparations"):
            if time.monotonic() > end:
                return [f"{left:.0f} vocabularies are still being prepared, and no caller waits for them"]
            await asyncio.sleep(0.2)
        return []

    async def _complaint_unless_prepared(self, target: Target) -> list[str]:
        try:
            async with asyncio.timeout(PREPARED), await target.connect() as connection:
                answer = await connection.unary(PREPARE, preparation(target.new_phrases(FEW)))
        except TimeoutError:
            return [f"others have nothing prepared within {PREPARED:g} s"]
        return [] if answer.status == 0 else [f"others can have nothing prepared: status {answer.status}"]


class AskedAgain(Attack):
    """Requests with ever new words and too little time for them, each sent again at once when it is refused."""

    name = "new words, asked again at once"
    seconds = 4.0
    connections, calls, phrases, times = 4, 4, 180, 5
    deadline = 1.0

    async def strike(self, target: Target) -> None:
        await together(self._client(target) for _ in range(self.connections))

    async def _client(self, target: Target) -> None:
        async with await target.connect() as connection:
            await together(self._ask(target, connection) for _ in range(self.calls))

    async def _ask(self, target: Target, connection: Connection) -> None:
        while True:
            message = segment(picture(), target.new_phrases(self.phrases)).SerializeToString()
            for _ in range(self.times):
                answer = await connection.unary(SEGMENT, message, grpc_timeout=f"{int(self.deadline * 1000)}m")
                target.did["refused"] += answer.status == RESOURCE_EXHAUSTED
                if answer.status == 0:
                    break

    async def verify(self, target: Target) -> list[str]:
        names = target.new_phrases(FEW)
        return await complaint_unless_answered(target, "a few new words while many are prepared", names, 2.0)


ATTACKS: list[Attack] = [
    Preparations("preparations held"),
    Preparations("preparations left early", hold=0.05),
    Preparations("preparations not read", window=0),
    AskedAgain(),
]
