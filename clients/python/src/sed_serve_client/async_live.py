"""A live session of the asyncio client: the newest frame is sent, older ones are dropped."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

import grpc

from . import errors, timeouts
from .frames import Frame, Frames, LiveAnswer, too_old

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from .attempts import StreamAttempts
    from .connection import CallMetadata
    from .request import Picture
    from .stream import Defaults, Request
    from .v1 import segmentation_service_pb2 as pb


class AsyncLive:
    """As Live, for one event loop: iterate with `async for`."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[pb.SegmentRequest, pb.SegmentResponse],
        metadata: CallMetadata,
        defaults: Defaults,
        attempts: StreamAttempts,
        frames: Iterable[Picture | Request] | AsyncIterable[Picture | Request] | None,
        in_flight: int,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight is {in_flight}, and must be 1 or more")
        self._method = method
        self._metadata = metadata
        self._changed = asyncio.Event()
        self._frames = Frames(defaults, attempts)
        self._tasks = [asyncio.create_task(self._send()) for _ in range(in_flight)]
        if frames is not None:
            self._tasks.append(asyncio.create_task(self._read(frames)))

    def offer(self, picture: Picture | Request) -> int:
        """Hands over the newest frame, whose clock starts now, and returns its number. Never waits."""
        number = self._frames.offer(picture)
        self._wake()
        return number

    def finish(self) -> None:
        """Accepts no more frames; iteration ends after the answers to those that are left."""
        self._frames.end()
        self._wake()

    async def close(self) -> None:
        """Ends the session and its calls, and gives up what was not answered."""
        self._frames.abandon()
        self._wake()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[LiveAnswer]:
        while True:
            while not self._frames.has_answer and not self._frames.is_over:
                await self._changed.wait()
            answer, failure = self._frames.next(), self._frames.failure
            if answer is not None:
                yield answer
            elif failure is not None:
                raise failure
            else:
                return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _wake(self) -> None:
        """Wakes all tasks that wait for a change; those that wait later wait for the next one."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _read(self, frames: Iterable[Picture | Request] | AsyncIterable[Picture | Request]) -> None:
        failure: Exception | None = None
        try:
            if isinstance(frames, AsyncIterable):
                async for picture in frames:
                    self.offer(picture)
            else:
                for picture in frames:
                    self.offer(picture)
                    await asyncio.sleep(0)
        except Exception as error:
            failure = error
        self._frames.end(failure)
        self._wake()

    async def _send(self) -> None:
        while (frame := await self._take()) is not None:
            outcome = await self._answer_to(frame)
            self._frames.finish(frame, outcome)
            self._wake()

    async def _take(self) -> Frame | None:
        """Waits for a frame to send; None once there are no more."""
        while not self._frames.is_over:
            frame = self._frames.take()
            if frame is not None:
                return frame
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._frames.hold() or None)
        return None

    async def _answer_to(self, frame: Frame) -> pb.SegmentResponse | Exception:
        """Sends a frame; returns its answer, its SedError, or the failure to make a message of it."""
        left = frame.end - time.monotonic()
        if left <= 0.0:
            return too_old(frame)
        try:
            return await self._method(
                self._frames.message(frame), timeout=timeouts.for_grpc(left), metadata=self._metadata
            )
        except grpc.RpcError as error:
            return errors.of_call(error)
        except Exception as failure:
            return failure
