"""Frames of a live session and what becomes of them; the same for both kinds of client."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import TYPE_CHECKING

import grpc

from . import errors, result

if TYPE_CHECKING:
    from .attempts import StreamAttempts
    from .request import Picture
    from .stream import Defaults, Request
    from .v1 import segmentation_service_pb2 as pb

_LONGEST_HOLD = 1.0
"""Seconds for which a session sends nothing after an error that ends the attempts: an overload is not made worse."""


@dataclasses.dataclass(frozen=True)
class LiveAnswer:
    """The answer to one frame of a live session.

    number: of the frame, from 0, as `offer` returned it; it rises from answer to answer.
    outcome: the result, or the error that concerns this frame alone.
    age: seconds from when the frame was handed over to its answer.
    dropped: frames since the answer before that were given up for newer ones, or whose answers were.
    """

    number: int
    outcome: result.Segmentation | errors.SedError
    age: float
    dropped: int


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame that was handed over. end: when its time is over, on the monotonic clock as `begin`."""

    number: int
    picture: Picture | Request
    begin: float
    end: float


class Frames:
    """The newest frame, those under way, and the newest answer. Its owner guards it against concurrent use."""

    def __init__(self, defaults: Defaults, attempts: StreamAttempts) -> None:
        self.failure: Exception | None = None  # of the caller's frames
        self.is_closed = False
        self._is_abandoned = False
        self._defaults = defaults
        self._attempts = attempts
        self._offered = 0
        self._newest: Frame | None = None
        self._under_way = 0
        self._held_until = 0.0
        self._answered = -1  # the number of the newest frame that was answered
        self._read = -1  # the number of the frame whose answer was read last
        self._answer: tuple[Frame, result.Segmentation | errors.SedError, float] | None = None  # with its time

    def offer(self, picture: Picture | Request) -> int:
        """Stores the newest frame, and gives up the one that waited."""
        if self.is_closed:
            raise ValueError("the live session is closed")
        begin = time.monotonic()
        self._newest = Frame(self._offered, picture, begin, begin + self._defaults.timeout_of(picture))
        self._offered += 1
        return self._newest.number

    def take(self) -> Frame | None:
        """Returns the newest frame to send it; None if there is none, or nothing may be sent now."""
        frame = self._newest
        if frame is None or self.hold() > 0.0:
            return None
        self._newest = None
        self._under_way += 1
        return frame

    def message(self, frame: Frame) -> pb.SegmentRequest:
        """Makes the message for a frame."""
        return self._defaults.message(frame.picture, str(uuid.uuid4()))

    def hold(self) -> float:
        """Seconds for which nothing may be sent."""
        return max(self._held_until - time.monotonic(), 0.0)

    def finish(self, frame: Frame, outcome: pb.SegmentResponse | Exception) -> None:
        """Stores what became of a frame: its answer, a SedError, or the failure to read it, which ends the session."""
        self._under_way -= 1
        if self._is_abandoned:
            return
        if isinstance(outcome, errors.SedError):
            self._failed(frame, outcome)
        elif isinstance(outcome, Exception):
            self.end(outcome)
        else:
            self._attempts.answered()
            self._store(frame, result.segmentation(outcome))

    def end(self, failure: Exception | None = None) -> None:
        """Accepts no more frames; after a failure nothing is sent any more, either."""
        self.is_closed = True
        if failure is not None:
            self.failure = self.failure or failure
            self._newest = None

    def abandon(self) -> None:
        """Drops all that was not answered or read."""
        self.is_closed = self._is_abandoned = True
        self._newest = self._answer = None

    @property
    def has_answer(self) -> bool:
        """True if `next` has one to return."""
        return self._answer is not None

    @property
    def is_over(self) -> bool:
        """True once there is nothing to send any more; a frame under way may still come back."""
        return self._is_abandoned or (self.is_closed and self._newest is None and self._under_way == 0)

    def next(self) -> LiveAnswer | None:
        """Returns the newest answer, once; those that it replaced before they were read are dropped, too."""
        if self._answer is None:
            return None
        frame, outcome, end = self._answer
        dropped = frame.number - self._read - 1
        self._read, self._answer = frame.number, None
        return LiveAnswer(frame.number, outcome, end - frame.begin, dropped)

    def _failed(self, frame: Frame, error: errors.SedError) -> None:
        """Holds the session where the error passes, to send the newest frame after it; else stores the error."""
        pause = self._attempts.pause(error)
        hold = min(error.retry_after or 0.0, _LONGEST_HOLD) if pause is None else pause
        self._held_until = max(self._held_until, time.monotonic() + hold)
        if pause is None:
            self._store(frame, error)
        elif self._newest is None and frame.number > self._answered:  # else it is dropped
            if self._held_until < frame.end:
                self._newest = frame
            else:
                self._store(frame, error)

    def _store(self, frame: Frame, outcome: result.Segmentation | errors.SedError) -> None:
        if frame.number > self._answered:  # else a newer frame was faster
            self._answered = frame.number
            self._answer = (frame, outcome, time.monotonic())
            if self._newest is not None and self._newest.number < frame.number:  # was refused before
                self._newest = None


def too_old(frame: Frame) -> errors.SedError:
    """The error of a frame whose time was over before it could be sent."""
    waited = time.monotonic() - frame.begin
    message = f"frame {frame.number} waited {waited:.1f} s and was not sent; give it more time"
    return errors.DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, message)
