"""Streams that end too early: a test server reads and answers a given number of requests of each stream, and then ends
it. The clients return the answer of every picture once, in order, or an error with the reason.

python streams.py
"""

import asyncio
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

import grpc
from google.rpc import code_pb2, status_pb2
from sed_serve_client import AsyncClient, Client, InputWarning, Overloaded, SedError, Unavailable
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services
from sed_serve_client.v1 import warning_pb2

from moody import failure, nothing, refused, trailers

WORDS = ["cat"]
RECONNECT = failure(code_pb2.UNAVAILABLE, "RECONNECT", 0)
SHUTTING_DOWN = failure(code_pb2.UNAVAILABLE, "SHUTTING_DOWN", 0.1)


@dataclasses.dataclass(frozen=True)
class Act:
    """The course of one stream: `read` requests are read, the first `answer` of them answered, all others refused if
    there is a `refusal`. Then the stream ends with the status `end`; None ends it without an error, "cut" without a
    reason, "wait" once the stage's `change` is set.
    """

    read: int
    answer: int
    end: status_pb2.Status | str | None
    refusal: status_pb2.Status | None = None


class Stage(services.SegmentationServiceServicer):
    """Plays one act for each stream, and answers everything once they are over."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.seen: list[list[int]] = []  # numbers of the requests, by stream
        self.change = threading.Event()

    def SegmentStream(self, requests, context) -> Iterator[pb.SegmentStreamResponse]:
        """Plays the next act."""
        seen: list[int] = []
        self.seen.append(seen)
        if not self.acts:
            for request in requests:
                yield answer_to(read(request, seen))
            return
        act = self.acts.pop(0)
        for request in itertools.islice(requests, act.read):
            number = read(request, seen)
            if len(seen) <= act.answer:
                yield answer_to(number)
            elif act.refusal is not None:
                error = pb.StreamError(code=act.refusal.code, message="no", details=act.refusal.details)
                yield pb.SegmentStreamResponse(request_id=str(number), error=error)
        if act.end == "wait":
            self.change.wait()
            context.abort(grpc.StatusCode.INTERNAL, "enough")
        if act.end == "cut":
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        elif isinstance(act.end, status_pb2.Status):
            # If a write of the client fails just now, grpc.aio loses the status (grpc/grpc#36066): let them end first.
            time.sleep(0.05)
            context.set_trailing_metadata(trailers(act.end))
            context.abort(next(code for code in grpc.StatusCode if code.value[0] == act.end.code), act.end.message)


def read(request: pb.SegmentStreamRequest, seen: list[int]) -> int:
    """Notes a request."""
    number = int(request.request.request_id)
    assert request.request.image.encoded == b"%d" % number, "another picture under the same number"
    seen.append(number)
    return number


def answer_to(number: int) -> pb.SegmentStreamResponse:
    """An answer that is known by its number, with a warning."""
    response = nothing(number)
    reason = warning_pb2.WARNING_REASON_PHRASE_CUT
    response.warnings.add(reason=reason, field="vocabulary.categories.categories[0].name", message="too long")
    return pb.SegmentStreamResponse(request_id=str(number), response=response)


Ask = Callable[..., list[tuple[int, object]]]
"""Reads a stream of pictures to its end; `timeout` is that of each picture."""


def pictures(count: int) -> list[bytes]:
    """Pictures that are known by their bytes."""
    return [b"%d" % number for number in range(count)]


def expect_all(items: list[tuple[int, object]], count: int) -> None:
    """Each picture was answered once, in order, with the answer that is its own."""
    assert [number for number, _ in items] == list(range(count)), items
    assert [found.unlabelled_pixels for _, found in items] == list(range(count))


def check(stage: Stage, ask: Ask) -> None:
    """Streams that end too early, in every way."""

    def play(*acts: Act, count: int = 12) -> list[list[int]]:
        """Has all pictures answered; gives what each stream brought."""
        stage.acts, stage.seen = list(acts), []
        items = ask(pictures(count))
        expect_all(items, count)
        warning = InputWarning("PHRASE_CUT", "vocabulary.categories.categories[0].name", "too long")
        assert all(found.warnings == (warning,) for _, found in items)
        assert not stage.acts
        return stage.seen

    assert play() == [list(range(12))]
    assert play(Act(5, 3, RECONNECT)) == [[0, 1, 2, 3, 4], list(range(3, 12))]
    assert play(Act(4, 4, RECONNECT), Act(4, 4, RECONNECT), Act(4, 4, RECONNECT))[:3] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert play(Act(12, 12, RECONNECT)) == [list(range(12))], "nothing is left to open a stream for"
    assert play(Act(3, 1, "cut"), Act(3, 1, None)) == [[0, 1, 2], [1, 2, 3], list(range(2, 12))]
    # Requests that came too late for a server that goes away are refused one by one; then their stream ends.
    late = play(Act(6, 2, SHUTTING_DOWN, SHUTTING_DOWN))
    assert (late[0][:3], late[1]) == ([0, 1, 2], list(range(2, 12)))
    # Its tries begin again with every answer.
    assert len(play(*[Act(2, 1, RECONNECT)] * 9)) == 10

    begin = time.monotonic()
    assert len(play(Act(2, 1, failure(code_pb2.RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED", 0.3)))) == 2
    assert time.monotonic() - begin >= 0.3, "the server's delay was not kept"
    slow = failure(code_pb2.ABORTED, "UPLOAD_TOO_SLOW", None)
    assert len(play(Act(2, 1, slow), Act(2, 1, slow))) == 3

    def fail(*acts: Act, timeout: float = 60) -> tuple[SedError, int]:
        """Has a stream fail for its caller; gives the error, and how many streams there were."""
        stage.acts, stage.seen = list(acts), []
        error = refused(lambda: ask(pictures(12), timeout=timeout), SedError)
        return error, len(stage.seen)

    error, streams = fail(*[Act(2, 0, RECONNECT)] * 99, timeout=0.6)
    assert (type(error), error.reason) == (Unavailable, "RECONNECT") and 2 < streams <= 7, streams
    error, streams = fail(Act(2, 1, failure(code_pb2.RESOURCE_EXHAUSTED, "MEMORY_EXHAUSTED", None)))
    assert (type(error), error.reason, streams) == (Overloaded, "MEMORY_EXHAUSTED", 1)
    error, streams = fail(Act(2, 0, slow), Act(2, 0, slow))
    assert (error.code, error.reason, streams) == (grpc.StatusCode.ABORTED, "UPLOAD_TOO_SLOW", 2)
    error, streams = fail(Act(2, 1, failure(code_pb2.INTERNAL, "INTERNAL", None)))
    assert (type(error), error.reason, streams) == (SedError, "INTERNAL", 1)


def check_threads(stage: Stage, client: Client) -> None:
    """A request that the thread of an ended stream takes from the caller goes to the next stream."""
    stage.acts, stage.seen = [Act(2, 2, RECONNECT), Act(2, 2, RECONNECT)], []
    items = client.segment_stream(slowly(pictures(6)), WORDS)
    expect_all(list(items), 6)
    assert stage.seen == [[0, 1], [2, 3], [4, 5]]
    # Requests are held until their answer, so no more are made than may be held.
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for taken in itertools.count(1):
            yield b"%d" % (taken - 1)

    stage.acts, stage.seen = [Act(128, 1, RECONNECT), Act(128, 0, "wait")], []
    stream = client.segment_stream(counted(), WORDS)
    assert next(stream)[0] == 0
    with futures.ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(next, stream)
        until(lambda: len(stage.seen) == 2 and len(stage.seen[1]) == 128)
        time.sleep(0.2)
        assert (taken, len(stage.seen[1])) == (129, 128), "more were made than may wait for their answer"
        stage.change.set()
        refused(waiting.result, SedError)


def slowly(these: list[bytes]) -> Iterator[bytes]:
    """Pictures that come after their stream has ended."""
    for picture in these:
        time.sleep(0.1)
        yield picture


def until(holds: Callable[[], bool]) -> None:
    """Waits for something, for a generous time."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "nothing happened within 30 seconds"
        time.sleep(0.02)


async def check_tasks(stage: Stage, target: str) -> None:
    """The same for asyncio: a generator of the caller's that waits when a stream ends goes on for the next."""

    async def slowly_too():
        for picture in pictures(6):
            await asyncio.sleep(0.1)
            yield picture

    stage.acts, stage.seen = [Act(2, 2, RECONNECT), Act(2, 2, RECONNECT)], []
    async with AsyncClient(target) as client:
        expect_all([item async for item in client.segment_stream(slowly_too(), WORDS)], 6)
        assert stage.seen == [[0, 1], [2, 3], [4, 5]]
        async for number, _ in client.segment_stream(itertools.repeat(b"0"), WORDS):  # left early, it ends
            assert number == 0
            break


def main() -> None:
    """Starts the server and checks both clients."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    stage = Stage()
    services.add_SegmentationServiceServicer_to_server(stage, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with Client(target) as client:
        check(stage, lambda these, **more: list(client.segment_stream(these, WORDS, **more)))
        check_threads(stage, client)

    async def all_of(these: Iterable[bytes], **more: float) -> list[tuple[int, object]]:
        async with AsyncClient(target) as client:
            return [item async for item in client.segment_stream(these, WORDS, **more)]

    check(stage, lambda these, **more: asyncio.run(all_of(these, **more)))
    asyncio.run(check_tasks(stage, target))
    server.stop(None).wait()
    print("streams that end too early: opened again, nothing lost or answered twice; errors where that does not help")


if __name__ == "__main__":
    main()
