"""Retries of the clients: a test server answers with errors first, as error_reason.proto defines them, then with a
result.

python retries.py
"""

import asyncio
import contextlib
import io
import itertools
import mmap
import pathlib
import pickle
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
from google.rpc import code_pb2, status_pb2
from sed_serve_client import AsyncClient, Client, Overloaded, Retry, SedError, Unavailable, retries
from sed_serve_client.v1 import error_reason_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services

from moody import failure, nothing, refused, trailers

WORDS = ["cat"]
ROOT = pathlib.Path(__file__).resolve().parents[3]
REASONS = ROOT / "proto" / "sed" / "v1" / "error_reason.proto"
README = ROOT / "clients" / "python" / "README.md"


class Moody(services.SegmentationServiceServicer):
    """Fails as often as it is told to, then answers with what it was asked."""

    def __init__(self) -> None:
        self.failures: list[status_pb2.Status] = []
        self.calls = 0
        self.authorization: list[str] = []

    def GetServerInfo(self, request, context):
        """Fails or answers."""
        self._fail(context)
        return pb.GetServerInfoResponse(server_version="moody")

    def Segment(self, request, context):
        """Fails or answers with the size of the picture's file."""
        self._fail(context)
        return nothing(len(request.image.encoded))

    def SegmentStream(self, requests, context) -> Iterator[pb.SegmentStreamResponse]:
        """Reads until the client ends."""
        for request in requests:
            yield pb.SegmentStreamResponse(request_id=request.request.request_id, response=nothing(0))

    def _fail(self, context) -> None:
        self.calls += 1
        self.authorization += [value for key, value in context.invocation_metadata() if key == "authorization"]
        if self.failures:
            status = self.failures.pop(0)
            code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
            context.set_trailing_metadata(trailers(status))
            context.abort(code, status.message)


def check(moody: Moody, client: Client) -> None:
    """Every rule of the retries."""
    full = failure(code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.1)
    away = failure(code_pb2.UNAVAILABLE, "SHUTTING_DOWN", 1)
    moody.failures, moody.calls = [full, full], 0
    begin = time.monotonic()
    assert client.server_info().server_version == "moody"
    assert moody.calls == 3
    assert time.monotonic() - begin >= 0.2, "the server's delay was not kept"

    moody.failures, moody.calls = [away], 0
    # Larger than the buffer for retries that gRPC has of its own.
    answer = client.segment(bytes(3 << 20), WORDS)
    assert (answer.unlabelled_pixels, moody.calls) == (3 << 20, 2)

    moody.failures, moody.calls = [full] * 6, 0
    assert client.server_info().server_version == "moody"
    assert moody.calls == 7, "a full server is asked again until the timeout"
    moody.failures, moody.calls = [full] * 99, 0
    begin = time.monotonic()
    error = refused(lambda: client.server_info(timeout=1), Overloaded)
    assert (error.reason, error.retry_after, error.metadata) == ("QUEUE_FULL", 0.1, {"limit": "1"})
    assert 5 < moody.calls <= 11 and time.monotonic() - begin <= 1.1, moody.calls
    assert repr(error) == "Overloaded('QUEUE_FULL: not now', retry_after=0.1, metadata={'limit': '1'})"

    moody.failures, moody.calls = [failure(code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL", 30)], 0
    error = refused(lambda: client.server_info(timeout=5), Overloaded)
    assert (error.retry_after, moody.calls) == (30, 1), "it waits beyond its own deadline"

    moody.failures, moody.calls = [failure(code_pb2.RESOURCE_EXHAUSTED, "DEVICE_OUT_OF_MEMORY", None)], 0
    error = refused(client.server_info, Overloaded)
    assert (error.reason, error.retry_after, moody.calls) == ("DEVICE_OUT_OF_MEMORY", None, 1)

    shared = failure(code_pb2.RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED", 0.1)
    moody.failures, moody.calls = [shared, shared], 0
    assert client.server_info().server_version == "moody"
    assert moody.calls == 3
    moody.failures, moody.calls = [failure(code_pb2.RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED", None)], 0
    error = refused(client.server_info, Overloaded)
    assert (error.reason, error.retry_after, moody.calls) == ("MEMORY_EXHAUSTED", None, 1), "it can never fit"

    slow = failure(code_pb2.ABORTED, "UPLOAD_TOO_SLOW", None)
    moody.failures, moody.calls = [slow], 0
    assert client.server_info().server_version == "moody"
    moody.failures = [slow, slow]
    error = refused(client.server_info, SedError)
    assert (error.reason, error.code, moody.calls) == ("UPLOAD_TOO_SLOW", grpc.StatusCode.ABORTED, 4), "once each"

    # The delay is advice for a later deadline; under this one, no try can succeed.
    moody.failures, moody.calls = [failure(code_pb2.RESOURCE_EXHAUSTED, "DEADLINE_UNREACHABLE", 0.1)] * 9, 0
    error = refused(client.server_info, Overloaded)
    assert (error.reason, error.retry_after, moody.calls) == ("DEADLINE_UNREACHABLE", 0.1, 1)

    moody.failures, moody.calls = [away] * 9, 0
    error = refused(lambda: client.server_info(timeout=1.2), Unavailable)
    assert (error.reason, error.code, moody.calls) == ("SHUTTING_DOWN", grpc.StatusCode.UNAVAILABLE, 2)
    # A refusal without a delay does not promise that the server comes back: five attempts.
    moody.failures, moody.calls = [failure(code_pb2.UNAVAILABLE, "", None)] * 9, 0
    begin = time.monotonic()
    refused(client.server_info, Unavailable)
    assert moody.calls == 5 and 3 <= time.monotonic() - begin <= 5
    check_table(moody, client)

    moody.failures = [failure(code_pb2.INTERNAL, "INTERNAL", None)]
    assert type(refused(client.server_info, SedError)) is SedError

    moody.failures = []
    error = refused(lambda: client.wait_until_ready(timeout=1), SedError)
    assert error.code is grpc.StatusCode.UNIMPLEMENTED, "this server has no health service: waiting does not help"
    error = Unavailable(grpc.StatusCode.UNAVAILABLE, "gone", away.details)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.reason) == (Unavailable, str(error), "SHUTTING_DOWN")
    for number, _ in client.segment_stream(itertools.repeat(b"x"), WORDS):  # left early, it ends
        if number == 2:
            break
    assert "resize is one of direct, two_step" in str(
        refused(lambda: client.segment(b"x", WORDS, resize="no"), ValueError)
    )
    refused(lambda: client.segment(b"x", WORDS, colour="no"), TypeError)
    refused(lambda: client.segment(b"x", "cat"), TypeError)
    refused(lambda: client.segment(b"x"), ValueError)
    check_pictures_and_words(client)
    error = refused(lambda: client.segment("no/such/file.png", WORDS), FileNotFoundError)
    assert "no/such/file.png" in str(error)
    (_, first), (_, missing) = client.segment_stream([b"x", "no/such/file.png"], WORDS)
    assert not isinstance(first, SedError) and isinstance(missing, SedError), "a file that is missing has an answer"
    again = pickle.loads(pickle.dumps(missing))
    assert (again.field, str(again)) == ("image", str(missing)) and "no/such/file.png" in str(missing)

    def failing() -> Iterator[bytes]:
        yield b"x"
        raise FileNotFoundError("no list of pictures")

    refused(lambda: list(client.segment_stream(failing(), WORDS)), FileNotFoundError)
    assert set(moody.authorization) == {"Bearer s3cret"}


def check_table(moody: Moody, client: Client) -> None:
    """Each reason is tried again as `retries.TABLE` says, and that says of each reason what error_reason.proto says."""
    documented = re.findall(r"((?:  // .*\n)+)  ERROR_REASON_(\w+) = [1-9]", REASONS.read_text())
    known = [name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name]
    assert ["UNSPECIFIED", *(reason for _, reason in documented)] == known
    assert {reason for _, reason in documented} == retries.TABLE.keys()
    page = README.read_text()
    attempts = {Retry.NEVER: 1, Retry.ADVICE: 3, Retry.WORDS: 3, Retry.ONCE: 2}
    for text, reason in documented:
        code = code_pb2.Code.Value(re.search(r"// ([A-Z_]+)[,:]", text)[1])
        advised = "with RetryInfo" in " ".join(text.replace("//", "").split()) and reason != "DEADLINE_UNREACHABLE"
        rule = retries.TABLE[reason]
        assert advised == (rule in (Retry.ADVICE, Retry.WORDS)), reason
        moody.failures, moody.calls = [failure(code, reason, 0.01)] * 2, 0
        if rule in (Retry.ADVICE, Retry.WORDS):
            client.server_info()
        else:
            assert refused(client.server_info, SedError).reason == reason
        assert moody.calls == attempts[rule], (reason, moody.calls)
        assert f"`{reason}`" in page, f"the README says nothing of {reason}"
    # A reason that is newer than the client is judged by its code and delay.
    for code, delay, calls in (
        (code_pb2.RESOURCE_EXHAUSTED, 0.01, 4),
        (code_pb2.RESOURCE_EXHAUSTED, None, 1),
        (code_pb2.UNAVAILABLE, 0.01, 4),
        (code_pb2.INTERNAL, 0.01, 1),
    ):
        moody.failures, moody.calls = [failure(code, "NEWER_THAN_THIS", delay)] * 3, 0
        with contextlib.suppress(SedError):
            client.server_info()
        assert moody.calls == calls, (code, delay, moody.calls)


def check_pictures_and_words(client: Client) -> None:
    """Plain pictures and words are accepted; others are refused in a sentence."""
    with tempfile.TemporaryFile() as file:
        file.write(b"head" + bytes(9))
        file.seek(4)
        mapped = mmap.mmap(-1, 9)
        for picture in (
            bytearray(9),
            memoryview(bytes(9)),
            memoryview(bytes(18))[::2],
            io.BytesIO(bytes(9)),
            file,
            mapped,
        ):
            assert client.segment(picture, WORDS).unlabelled_pixels == 9, picture
        assert "seek(0)" in str(refused(lambda: client.segment(file, WORDS), ValueError))
    assert "open the file in binary mode" in str(refused(lambda: client.segment(io.StringIO("x"), WORDS), TypeError))
    for picture, found in ((None, "NoneType"), (7, "int"), ([[0, 0, 0]], "list")):
        error = refused(lambda picture=picture: client.segment(picture, WORDS), TypeError)
        assert "a picture is a path, bytes" in str(error) and found in str(error), error
    for words, kind in (([None], TypeError), ([b"cat"], TypeError), ([["cat", 7]], TypeError), ([[]], ValueError)):
        error = refused(lambda words=words: client.segment(b"x", words), kind)
        assert "category 0 is" in str(error), error


async def check_asynchronous(moody: Moody, target: str) -> None:
    """The same rules hold for the other client."""
    moody.failures, moody.calls = [failure(code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.1)], 0
    async with AsyncClient(target, token="s3cret") as client:
        assert (await client.server_info()).server_version == "moody"
        moody.failures += [failure(code_pb2.UNAVAILABLE, "MODEL_NOT_READY", 1)]
        assert (await client.server_info()).server_version == "moody"
    assert moody.calls == 4


def main() -> None:
    """Starts the server and checks both clients."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    moody = Moody()
    services.add_SegmentationServiceServicer_to_server(moody, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with Client(f"http://{target}", token="s3cret") as client:
        check(moody, client)
    asyncio.run(check_asynchronous(moody, target))
    server.stop(None).wait()
    with Client(target) as client:
        assert refused(lambda: client.server_info(timeout=2), SedError).code in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
    print("retries: after the server's delay, within the timeout, large requests too; typed errors when they end")


if __name__ == "__main__":
    main()
