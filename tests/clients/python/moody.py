"""Answers of test servers to the clients: statuses as error_reason.proto defines them, and empty answers."""

import sys

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb


def nothing(unlabelled_pixels: int) -> pb.SegmentResponse:
    """An answer with a mask without pixels."""
    answer = pb.SegmentResponse(unlabelled_pixels=unlabelled_pixels)
    answer.masks.add().raw_indices = b""
    return answer


def failure(code: int, reason: str, retry_seconds: float | None) -> status_pb2.Status:
    """A status with the details that the server sends."""
    info, retry = any_pb2.Any(), any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="sed-serve", metadata={"limit": "1"}))
    details = [info]
    if retry_seconds is not None:
        message = error_details_pb2.RetryInfo()
        message.retry_delay.FromMilliseconds(round(retry_seconds * 1000))
        retry.Pack(message)
        details.append(retry)
    return status_pb2.Status(code=code, message="not now", details=details)


def trailers(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that a status goes out with."""
    return (("grpc-status-details-bin", status.SerializeToString()),)


def refused(call, kind):
    """The error of a call that must fail."""
    try:
        call()
    except kind as error:
        return error
    sys.exit(f"{kind.__name__} was expected")
