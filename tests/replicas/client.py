"""A client as deploy/clients.md describes it: generated code, a channel with the retry policy, and what a caller does
about refusals that are his to handle."""

import json
import pathlib
import sys
import time
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc

from balancer import HERE
from processes import Failed

ROOT = HERE.parents[1]
POLICY = json.loads((ROOT / "deploy" / "retry-policy.json").read_text())
# A request is kept for a retry only up to this size, and what is sent is as large as the largest picture.
RETRY_BUFFER = 32 << 20


def generate(into: str) -> None:
    """Generates the message and service classes of proto/sed/v1."""
    proto = ROOT / "proto"
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    files = [str(file.relative_to(proto)) for file in sorted((proto / "sed" / "v1").glob("*.proto"))]
    arguments = ["protoc", f"-I{proto}", f"-I{include}", f"--python_out={into}", f"--grpc_python_out={into}"]
    if protoc.main(arguments + files) != 0:
        raise Failed("generating the client code failed")
    sys.path.insert(0, into)


def open_channel(target: str, retries: bool = True, **more: Any) -> grpc.Channel:
    """A channel with the documented retry policy, or with no retries at all. `more` are keys of the service config."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", 128 << 20),
        ("grpc.default_authority", "sed-serve"),  # a list of addresses is no name for one
        ("grpc.use_local_subchannel_pool", 1),  # connections of its own, as a client on another machine has them
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),  # or it pings twice, and then no more
        ("grpc.enable_retries", int(retries)),
        ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER),
    ]
    config = POLICY if retries else {"loadBalancingConfig": POLICY["loadBalancingConfig"]}
    options.append(("grpc.service_config", json.dumps(config | more)))
    return grpc.insecure_channel(target, options=options)


def calls_of(target: str) -> Any:
    """The calls of one server, or of the balancer."""
    from sed.v1 import segmentation_service_pb2_grpc as services

    return services.SegmentationServiceStub(open_channel(target))


def details(error: grpc.RpcError) -> dict[str, Any]:
    """The google.rpc details of an error, by the names of their types."""
    found = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                kind = getattr(error_details_pb2, detail.TypeName().rsplit(".", 1)[-1])
                found[kind.DESCRIPTOR.name] = kind.FromString(detail.value)
    return found


def reason(error: grpc.RpcError) -> str:
    """The server's reason; empty where the error is not the server's."""
    info = details(error).get("ErrorInfo")
    return info.reason if info else ""


def segment_patiently(stub: Any, request: Any, seconds: float) -> tuple[Any, int]:
    """The answer, and how often the server had no room. It says when to come again: that is for the caller to obey,
    because only the caller knows whether the answer is still wanted then."""
    end = time.monotonic() + seconds
    refusals = 0
    while True:
        try:
            return stub.Segment(request, timeout=end - time.monotonic()), refusals
        except grpc.RpcError as error:
            retry = details(error).get("RetryInfo")
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or retry is None:
                raise
            delay = retry.retry_delay.ToTimedelta().total_seconds()
            if time.monotonic() + delay >= end:
                raise
        refusals += 1
        time.sleep(delay)


def segment_impatiently(stub: Any, request: Any, attempt: float, seconds: float) -> Any:
    """The answer, with a deadline for every attempt: for clients that connect to replicas directly. Keepalive does not
    detect a replica that is frozen with a picture half sent, because the ping waits behind the picture."""
    end = time.monotonic() + seconds
    while True:
        try:
            return stub.Segment(request, timeout=min(attempt, end - time.monotonic()))
        except grpc.RpcError as error:
            # Where the server says so, it has a reason; then the next one would say the same.
            silent = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and not reason(error)
            if not silent or time.monotonic() >= end:
                raise
