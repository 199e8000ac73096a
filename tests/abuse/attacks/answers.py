"""Answers that are large, and are not read, or are packed."""

import asyncio

from sed_serve_client.v1 import segmentation_service_pb2 as pb

from attacks.base import SEGMENT, STREAM, Attack, Target, together
from questions import raw_answer
from wire import prefixed

SIDE = 5000  # pixels: an answer of 50 MB to a request of a few hundred bytes


class UnreadAnswers(Attack):
    """Large answers on a connection whose windows stay closed."""

    name = "unread answers"
    memory = True
    seconds = 3.0
    calls = 24

    async def strike(self, target: Target) -> None:
        message = raw_answer(SIDE).SerializeToString()
        async with await target.connect(window=0) as connection:

            async def one() -> None:
                # A call that is refused for want of a place is sent again.
                while not connection.closed.is_set():
                    stream = await connection.call(SEGMENT)
                    await connection.send(stream, prefixed(message), end=True)
                    await connection.answers[stream].ended.wait()
                    await asyncio.sleep(0.1)

            await together(one() for _ in range(self.calls))


class UnreadStreams(Attack):
    """The same on streams."""

    name = "unread answers, streams"
    memory = True
    seconds = 4.0
    streams, pause, side = 4, 0.1, 8000

    async def strike(self, target: Target) -> None:
        async with await target.connect(window=0) as connection:

            async def one() -> None:
                request = pb.SegmentStreamRequest(request=raw_answer(self.side), any_order=True)
                stream, number = await connection.call(STREAM), 0
                while True:
                    request.request.request_id = f"{number}"
                    await connection.send(stream, prefixed(request.SerializeToString()))
                    number += 1
                    await asyncio.sleep(self.pause)

            await together(one() for _ in range(self.streams))


class PackedAnswers(Attack):
    """Large answers for clients that say, as most do, that they can unpack."""

    name = "packed answers"
    memory = True
    seconds = 2.5
    goal = ("answers", 2)
    calls, side = 4, 4000

    async def strike(self, target: Target) -> None:
        message = raw_answer(self.side).SerializeToString()
        async with await target.connect() as connection:
            await together(
                connection.unary(SEGMENT, message, grpc_accept_encoding="identity,deflate,gzip")
                for _ in range(self.calls)
            )


class LongStreams(Attack):
    """Streams of small pictures without end, as many ahead as the server lets in."""

    name = "long streams"
    seconds = 2.0
    streams = 2

    async def strike(self, target: Target) -> None:
        request = pb.SegmentStreamRequest(request=raw_answer(64), any_order=True)
        async with await target.connect() as connection:

            async def one() -> None:
                stream, number = await connection.call(STREAM), 0
                while True:
                    request.request.request_id = f"{number}"
                    await connection.send(stream, prefixed(request.SerializeToString()))
                    number += 1

            await together(one() for _ in range(self.streams))


class LongIds(Attack):
    """Requests on a stream whose ids are megabytes."""

    name = "long ids on a stream"
    size = 3 << 20
    most_log = 1 << 20  # bytes that an attack may write into the log
    longest_line = 1 << 16

    async def prepare(self, target: Target) -> None:
        self.before = target.server.log.stat().st_size

    async def strike(self, target: Target) -> None:
        request = pb.SegmentStreamRequest(request=raw_answer(64))
        request.request.request_id = "\n\x1b[1m" * (self.size // 5)
        message = prefixed(request.SerializeToString())
        async with await target.connect() as connection:
            stream = await connection.call(STREAM)
            for _ in range(4):
                await connection.send(stream, message)
            await asyncio.sleep(0.2)

    async def verify(self, target: Target) -> list[str]:
        with target.server.log.open("rb") as log:
            log.seek(self.before)
            grown = log.read()
        longest = max(map(len, grown.splitlines()), default=0)
        if longest > self.longest_line or len(grown) > self.most_log:
            return [f"the log grew by {len(grown) / 1e6:.1f} MB, its longest line has {longest / 1e6:.1f} MB"]
        return []


ATTACKS: list[Attack] = [UnreadAnswers(), UnreadStreams(), PackedAnswers(), LongStreams(), LongIds()]
