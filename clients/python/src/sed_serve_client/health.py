"""The readiness of a server, asked of grpc.health.v1; the same for both kinds of client."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2

from . import errors, timeouts

if TYPE_CHECKING:
    from .errors import SedError

QUESTION = health_pb2.HealthCheckRequest(service="sed.v1.SegmentationService")

_CODES_OF_WAITING = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


def is_ready(answer: health_pb2.HealthCheckResponse) -> bool:
    """True if the server accepts requests."""
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def not_ready() -> SedError:
    """The error of a server that answers, and does not accept requests yet."""
    return errors.Unavailable(grpc.StatusCode.UNAVAILABLE, "the server is there, and not ready for requests")


class ReadyAttempts:
    """The attempts of waiting for a server, within `timeout` seconds; inf is endless."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(self._end - time.monotonic(), 0.0)

    def timeout(self) -> float | None:
        """The timeout of the next attempt, as gRPC accepts it."""
        return timeouts.for_grpc(self.left())

    def pause_or_raise(self, error: SedError, cause: BaseException | None = None) -> float:
        """Seconds to wait before the next attempt; raises the error when there is none."""
        pause = random.uniform(0.1, 0.3)
        if error.code not in _CODES_OF_WAITING or pause >= self.left():
            raise error from cause
        return pause
