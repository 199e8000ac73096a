"""Connections to a server: address, credentials, limits and retries; the same for both kinds of client."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import grpc

from . import errors

if TYPE_CHECKING:
    from .errors import SedError

Pem: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview
"""The path of a PEM file, or its content."""

CallMetadata: TypeAlias = tuple[tuple[str, str], ...]

MAX_REQUEST_BYTES = 32 << 20
MAX_ANSWER_BYTES = 128 << 20
ATTEMPTS = 5

SHORTEST_WAIT = 0.1
"""Seconds between two attempts of a call that waits for its words, however short the server's delay."""

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "sed.v1.SegmentationService"}],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": "0.2s",
                "maxBackoff": "3s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
        # gRPC tries a stream again only until its first answer; `StreamAttempts` does so all along.
        {
            "name": [
                {"service": "sed.v1.SegmentationService", "method": method}
                for method in ("SegmentStream", "PrepareVocabulary")
            ]
        },
    ],
}

CHANNEL_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A request that is larger than this buffer, 256 KiB by default, is never sent again.
    ("grpc.per_rpc_retry_buffer_size", MAX_REQUEST_BYTES + (1 << 20)),
    # Detects a server that vanished without closing the connection while a call waits for it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.primary_user_agent", "sed-serve-client-python"),
]


def address(target: str) -> str:
    """Strips the scheme of a URL, which only says whether to use TLS; other targets are gRPC's own."""
    return target.removeprefix("https://").removeprefix("http://").rstrip("/")


def credentials(
    target: str, ca: Pem | None, certificate: Pem | None, key: Pem | None
) -> grpc.ChannelCredentials | None:
    """TLS for an https URL and wherever a certificate is given, with public roots unless there is a `ca`; else None."""
    if (certificate is None) != (key is None):
        raise ValueError("certificate and key belong together: give both or neither")
    wanted = target.startswith("https://") or ca is not None or certificate is not None
    if not wanted:
        return None
    if target.startswith("http://"):
        raise ValueError("an http URL has no TLS: write https, or leave ca, certificate and key out")
    return grpc.ssl_channel_credentials(_pem(ca), _pem(key), _pem(certificate))


def call_metadata(token: str | None) -> CallMetadata:
    """The metadata of every call: the bearer token, if there is one."""
    return () if token is None else (("authorization", f"Bearer {token}"),)


def _pem(source: Pem | None) -> bytes | None:
    if source is None:
        return None
    return bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else Path(source).read_bytes()


class Attempts:
    """The time and the attempts of one call. A full server sends a retry delay; calls wait for it if time allows.

    A call that is refused because its words are not embedded yet is made again, with all of its time and attempts,
    until `ready_timeout` seconds after the first such refusal.
    """

    def __init__(self, timeout: float, ready_timeout: float) -> None:
        self._timeout = timeout
        self._ready_timeout = ready_timeout
        self._ready_end: float | None = None  # None until the call waits for its words
        self._end = time.monotonic() + timeout
        self._made = 1
        self._was_slow = False

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(self._end - time.monotonic(), 0.0)

    def pause(self, error: SedError) -> float | None:
        """Seconds to wait before the next attempt; None when there is none."""
        if error.reason == errors.NOT_READY:
            return None if error.retry_after is None else self._pause_for_words(error.retry_after)
        if error.reason == "UPLOAD_TOO_SLOW":
            # A line that was held up may flow again; one that is slow is slow again.
            delay = None if self._was_slow else 0.0
            self._was_slow = True
        else:
            delay = self._delay(error)
        if delay is None or self._made >= ATTEMPTS:
            return None
        delay = _stretched(delay)
        if delay >= self.left():
            return None
        self._made += 1
        return delay

    def pause_or_raise(self, error: SedError, cause: BaseException | None = None) -> float:
        """Seconds to wait before the next attempt; raises the error when there is none."""
        pause = self.pause(error)
        if pause is None:
            raise error from cause
        return pause

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
        self._made = 1
        self._was_slow = False

    def _delay(self, error: SedError) -> float | None:
        """Seconds after which the same may succeed; None where it cannot, or where gRPC itself tries it again."""
        if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.reason == "DEADLINE_UNREACHABLE":
            return None  # under the same deadline: the work ahead shrinks no faster than the time that is left
        return error.retry_after


class StreamAttempts(Attempts):
    """The attempts of a stream, counted from its last answer; each of its requests has its own time."""

    def answered(self) -> None:
        """Resets the count of attempts, and the wait for words: the stream makes progress."""
        self._ready_end = None
        self._begin(0.0)

    def left(self) -> float:
        """Seconds that a request still has when it is sent again: all of them."""
        return self._timeout

    def _delay(self, error: SedError) -> float | None:
        if error.code is not grpc.StatusCode.UNAVAILABLE:
            return super()._delay(error)
        backoff = min(0.2 * 2 ** (self._made - 1), 3.0)
        return backoff if error.retry_after is None else error.retry_after


class PreparationAttempts(StreamAttempts):
    """The attempts of a preparation, counted from its last answer, within one time for all of them; None is endless."""

    def __init__(self, timeout: float | None, ready_timeout: float) -> None:
        self._last = math.inf if timeout is None else time.monotonic() + timeout
        super().__init__(math.inf if timeout is None else timeout, ready_timeout)

    def left(self) -> float:
        """Seconds until the end of the call, over all its attempts."""
        return max(self._last - time.monotonic(), 0.0)

    def timeout(self) -> float | None:
        """The timeout of the next attempt, as gRPC accepts it."""
        return None if math.isinf(self._last) else self.left()

    def _pause_for_words(self, delay: float) -> float | None:
        pause = super()._pause_for_words(delay)
        return None if pause is None or pause >= self.left() else pause


def _stretched(delay: float) -> float:
    """A somewhat longer delay, by chance: clients that were refused together must not return together."""
    return delay * random.uniform(1.0, 1.25)
