"""Arguments at and beyond their borders, in both clients: timeouts, targets, tokens, thresholds and views of bytes.
A test server notes the deadlines.

python borders.py
"""

import asyncio
import math
from collections.abc import Callable
from concurrent import futures
from fractions import Fraction

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sed_serve_client import AsyncClient, Client, Request
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services
from sed_serve_client.v1 import vocabulary_pb2

from moody import nothing, refused

WORDS = ["cat"]
ENDLESS = [math.inf, 9e9, 1e10, 2**31 / 1000, 10**400, np.float32("inf")]
WRONG = [
    (math.nan, ValueError),
    (-1, ValueError),
    (-math.inf, ValueError),
    ("60", TypeError),
    (True, TypeError),
    ([1], TypeError),
]
TARGETS = [
    "",
    "http://",
    "https://",
    "HTTP://127.0.0.1:1",
    "Https://x:1",
    " 127.0.0.1:1",
    "127.0.0.1:1\n",
    "a b:1",
    "/",
]
TOKENS = ["s3cret\n", "s3cret\r\n", "schlüssel", "a\tb", "\x7f", "日本"]

Call = Callable[..., object]
"""Calls a method of a client: `call(NAME, ARGUMENTS, client={OPTIONS})`. Streams are read to their end."""


class Noting(services.SegmentationServiceServicer, health_pb2_grpc.HealthServicer):
    """Answers everything, and notes the seconds until the deadline of each call and of each request of a stream."""

    def __init__(self) -> None:
        self.left: list[float | None] = []

    def Segment(self, request, context):
        """Answers."""
        self._note(context)
        return nothing(1)

    def SegmentStream(self, requests, context):
        """Answers each request."""
        for request in requests:
            self.left.append(request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else None)
            yield pb.SegmentStreamResponse(request_id=request.request.request_id, response=nothing(1))

    def GetServerInfo(self, request, context):
        """Answers."""
        self._note(context)
        return pb.GetServerInfoResponse()

    def PrepareVocabulary(self, request, context):
        """Is ready."""
        self._note(context)
        yield vocabulary_pb2.PrepareVocabularyResponse(ready=True)

    def Check(self, request, context):
        """Is ready."""
        self._note(context)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def _note(self, context) -> None:
        left = context.time_remaining()
        self.left.append(None if left is None or left > 1e8 else left)  # gRPC's word for none is a far one


CALLS = [
    ("segment", b"x", WORDS),
    ("segment_stream", [b"x"], WORDS),
    ("live", [b"x"], WORDS),
    ("server_info",),
    ("prepare_vocabulary", WORDS),
    ("wait_until_ready",),
]


def check_timeouts(noting: Noting, call: Call) -> None:
    """A timeout is sent, or there is none, or it is refused by its name and value; wherever it is given."""

    def left(*arguments: object, **options: object) -> float | None:
        noting.left = []
        call(*arguments, **options)
        (found,) = noting.left
        return found

    for arguments in CALLS:
        for timeout in ENDLESS:
            assert left(*arguments, timeout=timeout) is None, (arguments, timeout)
        for timeout in (20, 20.5, np.float32(20), Fraction(41, 2)):
            found = left(*arguments, timeout=timeout)
            assert found is not None and 10 < found <= 20.6, (arguments, timeout, found)
        found = left(*arguments, timeout=2_147_483)
        assert found is not None and 2_147_000 < found < 2_149_000, found  # gRPC rounds it
        for timeout, kind in WRONG:
            expect("timeout", timeout, refused(lambda of=arguments, timeout=timeout: call(*of, timeout=timeout), kind))
    assert left("segment", b"x", WORDS, client={"timeout": math.inf}) is None
    assert left("segment_stream", [Request(b"x", WORDS, timeout=math.inf)]) is None
    assert left("live", [Request(b"x", WORDS, timeout=9e9)], timeout=20) is None
    assert left("segment_stream", [Request(b"x", WORDS, timeout=3)], timeout=math.inf) == 3
    assert left("segment", b"x", WORDS, client={"ready_timeout": math.inf}) < 61
    for timeout, kind in [*WRONG, (None, TypeError)]:
        for name in ("timeout", "ready_timeout"):
            made = refused(lambda of={name: timeout}: call("server_info", client=of), kind)
            expect(name, timeout, made)
    for timeout, kind in WRONG:
        expect("timeout", timeout, refused(lambda timeout=timeout: Request(b"x", timeout=timeout), kind))


def expect(name: str, value: object, error: Exception) -> None:
    """An error names the parameter and the value."""
    assert str(error).startswith(f"{name} is {value!r}, "), error


def check_connections(make: Callable[..., object]) -> None:
    """Targets and tokens that no connection can have are refused before there is one."""
    for target in TARGETS:
        error = refused(lambda target=target: make(target), ValueError)
        assert str(error).startswith(f"the target is {target!r}; give HOST:PORT, "), error
    refused(lambda: make(None), TypeError)
    for token in TOKENS:
        error = refused(lambda token=token: make("127.0.0.1:1", token=token), ValueError)
        assert "token cannot be sent" in str(error) and token.strip() not in str(error), error
    refused(lambda: make("127.0.0.1:1", token=b"s3cret"), TypeError)


def check_requests(call: Call) -> None:
    """Thresholds that are none, and views that are no file."""
    call("segment", b"x", WORDS, category_thresholds=None)
    error = refused(lambda: call("segment", b"x", WORDS, category_thresholds=[0.5]), TypeError)
    assert str(error).startswith("category_thresholds is [0.5]; "), error
    for view in (
        memoryview(b"file"),
        memoryview(bytearray(b"file")),
        memoryview(b"file")[1:],
        memoryview(b"file")[::2],
    ):
        call("segment", view, WORDS)
    pixels = np.zeros((4, 4, 3), np.uint8)
    for view in (
        memoryview(b"file").cast("I"),
        memoryview(pixels),
        memoryview(b"file").cast("?"),
    ):
        error = refused(lambda view=view: call("segment", view, WORDS), TypeError)
        assert "memoryview must hold the bytes of an image file" in str(error), error


def with_threads(target: str) -> Call:
    """Calls of the client for threads."""

    def call(name: str, *arguments: object, client: dict | None = None, **options: object) -> object:
        with Client(target, **(client or {})) as made:
            found = getattr(made, name)(*arguments, **options)
            return list(found) if name in {"segment_stream", "live"} else found

    return call


def with_tasks(target: str) -> Call:
    """Calls of the client for tasks, each in an event loop of its own."""

    def call(name: str, *arguments: object, client: dict | None = None, **options: object) -> object:
        async def made() -> object:
            async with AsyncClient(target, **(client or {})) as made:
                found = getattr(made, name)(*arguments, **options)
                return [item async for item in found] if name in {"segment_stream", "live"} else await found

        return asyncio.run(asyncio.wait_for(made(), 30))

    return call


def main() -> None:
    """Starts the server and checks both clients."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    noting = Noting()
    services.add_SegmentationServiceServicer_to_server(noting, server)
    health_pb2_grpc.add_HealthServicer_to_server(noting, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    for call in (with_threads(target), with_tasks(target)):
        check_timeouts(noting, call)
        check_requests(call)
    check_connections(Client)
    asyncio.run(check_tasks())
    server.stop(None).wait()
    print("borders: timeouts without a limit have no deadline; wrong timeouts, targets, tokens and views are refused")


async def check_tasks() -> None:
    """The other client has the same connections."""
    check_connections(AsyncClient)


if __name__ == "__main__":
    main()
