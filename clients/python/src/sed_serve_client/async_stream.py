"""A stream of the asyncio client, opened again if the server ends it before the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import grpc

from . import connection, errors, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable

    from .attempts import StreamAttempts
    from .request import Picture
    from .stream import Request, StreamItem, StreamRequests
    from .v1 import segmentation_service_pb2 as pb

_Value = TypeVar("_Value")
_Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.SegmentStreamRequest, pb.SegmentStreamResponse]"


async def items(
    method: grpc.aio.StreamStreamMultiCallable[pb.SegmentStreamRequest, pb.SegmentStreamResponse],
    metadata: connection.CallMetadata,
    requests: StreamRequests,
    pictures: Iterable[Picture | Request] | AsyncIterable[Picture | Request],
    attempts: StreamAttempts,
) -> AsyncIterator[StreamItem]:
    """Yields the answers of one stream after the other; each first sends what the one before left unanswered."""
    sender = _Sender(requests, pictures)
    try:
        while await sender.has_next():
            call = method(metadata=metadata)
            end = _End(call)
            sender.begin(call)
            pause: float | None = None
            try:
                async for answer in call:
                    refused = stream.refusal(answer)
                    pause = None if refused is None else attempts.pause(refused)
                    if pause is not None:
                        break  # those that follow would meet the same, and answers stay in order
                    item = sender.answered(answer)
                    if item is not None:
                        if refused is None:
                            attempts.answered()
                        yield item
                if pause is None and sender.is_done:
                    return
            except (grpc.RpcError, asyncio.CancelledError) as error:
                if sender.failure is not None:
                    raise sender.failure from None
                if not isinstance(error, grpc.RpcError):
                    raise
            finally:
                sender.end()
                call.cancel()
            if pause is None:
                failure = stream.unfinished() if end.error is None else errors.of_call(end.error)
                pause = attempts.pause_or_raise(failure, end.error)
            await asyncio.sleep(pause)
    finally:
        sender.close()


class _End:
    """The status with which the server ended a call.

    If a write fails at the same time, grpc.aio replaces the server's status by an error of its own
    (https://github.com/grpc/grpc/issues/36066), so the status is read as soon as it arrives.
    """

    def __init__(self, call: _Call) -> None:
        self.error: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._read)

    def _read(self, call: _Call) -> None:
        code, details = _at_once(call.code()), _at_once(call.details())
        if code is not grpc.StatusCode.OK and details != "Internal error from Core" and self.error is None:
            trailers = _at_once(call.trailing_metadata())
            self.error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details)


def _at_once(ready: Coroutine[None, None, _Value]) -> _Value:
    """Returns the result of a coroutine that has nothing to wait for."""
    try:
        ready.send(None)
    except StopIteration as end:
        return cast("_Value", end.value)
    raise RuntimeError("the status of a call that has ended is not there")


class _Sender:
    """Sends the requests on one stream after the other, each time from the first unanswered one.

    The task that waits for the caller's next picture outlives a stream: that picture is held for the next stream.
    """

    def __init__(
        self, requests: StreamRequests, pictures: Iterable[Picture | Request] | AsyncIterable[Picture | Request]
    ) -> None:
        self.failure: Exception | None = None  # of the caller's pictures
        self._pictures = aiter(pictures) if isinstance(pictures, AsyncIterable) else _in_turn(pictures)
        self._requests = requests
        self._have_ended = False
        self._taking: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()
        self._is_late = False  # for the server of the stream that was begun last

    async def has_next(self) -> bool:
        """Waits for a request to send; False where the last one is answered."""
        return await self._next(-1) is not None

    @property
    def is_done(self) -> bool:
        """True once all pictures are answered."""
        return self._have_ended and self._requests.after(-1) is None

    def begin(self, call: _Call) -> None:
        """Begins to send on a stream."""
        self._is_late = False
        self._sending = asyncio.create_task(self._send(call))

    def end(self) -> None:
        """Ends sending on the stream that was begun last."""
        if self._sending is not None:
            self._sending.cancel()

    def close(self) -> None:
        """Stops reading pictures."""
        if self._taking is not None:
            self._taking.cancel()

    def answered(self, answer: pb.SegmentStreamResponse) -> StreamItem | None:
        """Reads an answer; None for a request that came too late for its server, as all that follow would."""
        item = self._requests.answered(answer)
        self._answered.set()
        self._is_late = item is None
        return item

    async def _send(self, call: _Call) -> None:
        sent = -1
        try:
            while (found := await self._next(sent)) is not None and not self._is_late:
                sent, message = found
                await call.write(message)
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the call has ended, and its reader sees how
        except Exception:
            call.cancel()  # the pictures have failed

    async def _next(self, sent: int) -> tuple[int, pb.SegmentStreamRequest] | None:
        """Waits for a held request after `sent`, and reads a picture if there is none; None after the last picture."""
        while True:
            found = self._requests.after(sent)
            if found is not None or self._have_ended:
                return found
            if self.failure is not None:
                raise self.failure
            if self._requests.is_full:
                self._answered.clear()
                await self._answered.wait()
                continue
            if self._taking is None or self._taking.done():
                self._taking = asyncio.create_task(self._take())
            await asyncio.wait({self._taking})  # which leaves it running when this is cancelled

    async def _take(self) -> None:
        try:
            self._requests.hold(self._requests.make(await anext(self._pictures)))
        except StopAsyncIteration:
            self._have_ended = True
        except Exception as failure:
            self.failure = failure


async def _in_turn(pictures: Iterable[Picture | Request]) -> AsyncIterator[Picture | Request]:
    for picture in pictures:
        yield picture
