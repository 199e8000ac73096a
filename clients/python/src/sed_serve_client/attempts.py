"""The time and the attempts of one call, of a stream and of a preparation."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from . import timeouts
from .retries import Retry, rule

if TYPE_CHECKING:
    from .errors import SedError

UNANSWERED_ATTEMPTS = 5
"""Attempts of a call that no server answers: a wrong address must not cost the whole timeout."""

SHORTEST_WAIT = 0.1
"""Seconds between two attempts that are refused one after the other, however short the server's delay."""


class Attempts:
    """The time and the attempts of one call, by the rules of `retries.TABLE`.

    timeout: seconds for the call with all its attempts; inf is endless.
    ready_timeout: seconds from the first refusal for words that are not embedded yet, to the last attempt. Each of
        these attempts has the full timeout.
    """

    def __init__(self, timeout: float, ready_timeout: float) -> None:
        self._timeout = timeout
        self._ready_timeout = ready_timeout
        self._ready_end: float | None = None  # None until the call waits for its words
        self._end = time.monotonic() + timeout
        self._unanswered = 1  # the first attempt counts
        self._was_refused = False
        self._was_slow = False

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(self._end - time.monotonic(), 0.0)

    def timeout(self) -> float | None:
        """The timeout of the next attempt, as gRPC accepts it."""
        return timeouts.for_grpc(self.left())

    def pause(self, error: SedError) -> float | None:
        """Seconds to wait before the next attempt; None when there is none."""
        how, advice = rule(error), error.retry_after or 0.0
        if how is Retry.WORDS:
            return self._pause_for_words(advice)
        if how is Retry.ADVICE:
            advice = max(advice, SHORTEST_WAIT if self._was_refused else 0.0)
            self._was_refused = True
            return self._within(advice)
        if how is Retry.ONCE and not self._was_slow:
            self._was_slow = True
            return self._within(0.0)
        if how is Retry.BACKOFF and self._unanswered < UNANSWERED_ATTEMPTS:
            self._unanswered += 1
            return self._within(min(0.1 * 2.0 ** (self._unanswered - 1), 3.0))
        return None

    def pause_or_raise(self, error: SedError, cause: BaseException | None = None) -> float:
        """Seconds to wait before the next attempt; raises the error when there is none."""
        pause = self.pause(error)
        if pause is None:
            raise error from cause
        return pause

    def _within(self, delay: float) -> float | None:
        """A somewhat longer delay; None where the time would be over by then."""
        left = self._time_for_retries()
        if delay >= left:
            return None
        stretched = _stretched(delay)
        return stretched if stretched < left else delay

    def _time_for_retries(self) -> float:
        return self._end - time.monotonic()

    def _pause_for_words(self, delay: float) -> float | None:
        now = time.monotonic()
        if self._ready_end is None:
            self._ready_end = now + self._ready_timeout
        delay = _stretched(max(delay, SHORTEST_WAIT))
        if now + delay > self._ready_end:
            return None
        self._begin(delay)
        return delay

    def _begin(self, delay: float) -> None:
        """Begins the call again after a delay, with all of its time and attempts."""
        self._end = time.monotonic() + delay + self._timeout
        self._unanswered = 1
        self._was_refused = False
        self._was_slow = False


class StreamAttempts(Attempts):
    """The attempts of a stream, counted from its last answer; each of its requests has its own time."""

    def answered(self) -> None:
        """Resets the attempts, their time and the wait for words: the stream makes progress."""
        self._ready_end = None
        self._begin(0.0)

    def left(self) -> float:
        """Seconds that a request still has when it is sent again: all of them."""
        return self._timeout


class PreparationAttempts(StreamAttempts):
    """The attempts of a preparation, within one time for all of them; None and inf are endless.

    An endless one is tried again for `ready_timeout` seconds after its last answer.
    """

    def __init__(self, timeout: float | None, ready_timeout: float) -> None:
        seconds = timeouts.of_call(timeout, math.inf)
        self._last = time.monotonic() + seconds
        super().__init__(ready_timeout if math.isinf(seconds) else seconds, ready_timeout)

    def left(self) -> float:
        """Seconds until the end of the call, over all its attempts."""
        return max(self._last - time.monotonic(), 0.0)

    def _time_for_retries(self) -> float:
        return min(super()._time_for_retries(), self._last - time.monotonic())

    def _pause_for_words(self, delay: float) -> float | None:
        pause = super()._pause_for_words(delay)
        return None if pause is None or pause >= self.left() else pause


def _stretched(delay: float) -> float:
    """A longer delay, by chance up to half: clients that were refused together must not return together."""
    return delay * random.uniform(1.0, 1.5)
