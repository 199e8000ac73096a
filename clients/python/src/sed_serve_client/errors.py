"""Errors of calls, read from the gRPC status and the google.rpc details that the server sends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .v1 import segmentation_service_pb2 as pb

_STATUS_DETAILS = "grpc-status-details-bin"


class SedError(Exception):
    """A failed call. proto/sed/v1/error_reason.proto explains each `reason`.

    code: the gRPC status code.
    message: what is wrong, and what to do.
    reason: the stable reason, for example `IMAGE_CORRUPT`; empty where the server sent none.
    field: path of the offending field in the request, for example `image.encoded`; empty where there is none.
    retry_after: seconds after which the call may succeed; with the reason DEADLINE_UNREACHABLE only under a later
        deadline. None where waiting does not help.
    metadata: details of the reason, for example the limit that was exceeded.
    """

    codes: ClassVar[frozenset[grpc.StatusCode]] = frozenset()

    def __init__(self, code: grpc.StatusCode, message: str, details: Iterable[any_pb2.Any] = ()) -> None:
        self.code = code
        self.message = message
        self.reason = ""
        self.field = ""
        self.retry_after: float | None = None
        self.metadata: dict[str, str] = {}
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        details = list(details)
        for detail in details:
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad) and bad.field_violations:
                self.field = bad.field_violations[0].field
            elif detail.Unpack(retry):
                self.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        super().__init__(code, message, details)  # so that it can be pickled

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in ("field", "retry_after", "metadata")}
        known = "".join(f", {name}={value!r}" for name, value in values.items() if value not in ("", None, {}))
        return f"{type(self).__name__}({str(self)!r}{known})"


class InvalidRequest(SedError):
    """The request breaks a rule or a limit; sending it again does not help."""

    codes = frozenset(
        {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.FAILED_PRECONDITION}
    )


class NotFound(SedError):
    """The server does not know this vocabulary or does not hold this image any more."""

    codes = frozenset({grpc.StatusCode.NOT_FOUND})


class Overloaded(SedError):
    """The server has too little room for the request: until the timeout, where `retry_after` is set, else at all.

    With the reason VOCABULARY_NOT_READY the words cannot be embedded within the deadline. Where `retry_after` is set,
    the server prepares them, and `metadata` says how many of its `phrases` are `embedded`; clients try such calls again
    for their `ready_timeout`.
    """

    codes = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED})


class Unavailable(SedError):
    """No server answers, or none was ready until the timeout."""

    codes = frozenset({grpc.StatusCode.UNAVAILABLE})


class DeadlineExceeded(SedError):
    """The time was over, or is too short for the request."""

    codes = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED})


class Unauthenticated(SedError):
    """The token is missing or not accepted."""

    codes = frozenset({grpc.StatusCode.UNAUTHENTICATED})


class PermissionDenied(SedError):
    """The caller may not do this."""

    codes = frozenset({grpc.StatusCode.PERMISSION_DENIED})


def _of_status(code: grpc.StatusCode, message: str, details: Iterable[any_pb2.Any]) -> SedError:
    kind = next((kind for kind in SedError.__subclasses__() if code in kind.codes), SedError)
    return kind(code, message, details)


def of_call(error: grpc.RpcError) -> SedError:
    """Returns the error of a failed call of either kind of client."""
    if not isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):  # what gRPC raises of its own is always one of them
        return SedError(grpc.StatusCode.UNKNOWN, str(error))
    trailers: Sequence[tuple[str, str | bytes]] = tuple(error.trailing_metadata() or ())
    raw = next((value for key, value in trailers if key == _STATUS_DETAILS), b"")
    details = status_pb2.Status.FromString(raw if isinstance(raw, bytes) else b"").details
    return _of_status(error.code(), error.details() or "", details)


def of_stream_item(error: pb.StreamError) -> SedError:
    """Returns the error of a failed request on a stream."""
    code = next((code for code in grpc.StatusCode if code.value[0] == error.code), grpc.StatusCode.UNKNOWN)
    return _of_status(code, error.message, error.details)


def of_picture(cause: OSError) -> SedError:
    """Returns the error of a picture that could not be read, with the cause as its `__cause__`."""
    detail = any_pb2.Any()
    violation = error_details_pb2.BadRequest.FieldViolation(field="image", description=str(cause))
    detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    failure = _of_status(grpc.StatusCode.INVALID_ARGUMENT, f"cannot read the picture: {cause}", [detail])
    failure.__cause__ = cause
    return failure
