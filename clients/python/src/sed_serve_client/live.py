"""A live session of the client for threads: the newest frame is sent, older ones are dropped."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc

from . import errors, timeouts
from .frames import Frame, Frames, LiveAnswer, too_old

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from .attempts import StreamAttempts
    from .connection import CallMetadata
    from .request import Picture
    from .stream import Defaults, Request
    from .v1 import segmentation_service_pb2 as pb


class Live:
    """Frames go in by `offer`, or from an iterable; the answers come out by iteration, the newest first to be had.

    A frame that waits is replaced by the next one, and so is an answer that waits for its reader: an answer is never
    older than the frames before it took to compute. A refusal for now holds the session for the server's delay, and
    then the newest frame is sent. An error that does not pass is the outcome of its frame, and the session goes on.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        method: grpc.UnaryUnaryMultiCallable[pb.SegmentRequest, pb.SegmentResponse],
        metadata: CallMetadata,
        defaults: Defaults,
        attempts: StreamAttempts,
        frames: Iterable[Picture | Request] | None,
        in_flight: int,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight is {in_flight}, and must be 1 or more")
        self._method = method
        self._metadata = metadata
        self._changed = threading.Condition()  # guards the frames
        self._frames = Frames(defaults, attempts)
        for _ in range(in_flight):
            threading.Thread(target=self._send, daemon=True).start()
        if frames is not None:
            threading.Thread(target=self._read, args=(frames,), daemon=True).start()

    def offer(self, picture: Picture | Request) -> int:
        """Hands over the newest frame, whose clock starts now, and returns its number. Never waits."""
        with self._changed:
            number = self._frames.offer(picture)
            self._changed.notify_all()
        return number

    def finish(self) -> None:
        """Accepts no more frames; iteration ends after the answers to those that are left."""
        with self._changed:
            self._frames.end()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the session, and gives up what was not answered."""
        with self._changed:
            self._frames.abandon()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[LiveAnswer]:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
                answer, failure = self._frames.next(), self._frames.failure
            if answer is not None:
                yield answer
            elif failure is not None:
                raise failure
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_news(self) -> bool:
        return self._frames.has_answer or self._frames.is_over

    def _read(self, frames: Iterable[Picture | Request]) -> None:
        failure: Exception | None = None
        try:
            for picture in frames:
                with self._changed:
                    if self._frames.is_closed:
                        return
                    self._frames.offer(picture)
                    self._changed.notify_all()
        except Exception as error:
            failure = error
        with self._changed:
            self._frames.end(failure)
            self._changed.notify_all()

    def _send(self) -> None:
        while (frame := self._take()) is not None:
            outcome = self._answer_to(frame)
            with self._changed:
                self._frames.finish(frame, outcome)
                self._changed.notify_all()

    def _take(self) -> Frame | None:
        """Waits for a frame to send; None once there are no more."""
        with self._changed:
            while not self._frames.is_over:
                frame = self._frames.take()
                if frame is not None:
                    return frame
                self._changed.wait(self._frames.hold() or None)
        return None

    def _answer_to(self, frame: Frame) -> pb.SegmentResponse | Exception:
        """Sends a frame; returns its answer, its SedError, or the failure to make a message of it."""
        left = frame.end - time.monotonic()
        if left <= 0.0:
            return too_old(frame)
        try:
            return self._method(self._frames.message(frame), timeout=timeouts.for_grpc(left), metadata=self._metadata)
        except grpc.RpcError as error:
            return errors.of_call(error)
        except Exception as failure:
            return failure
