"""Words that are not embedded yet: a test server refuses calls with VOCABULARY_NOT_READY, and prepares words, as
error_reason.proto and vocabulary.proto define it.

python ready.py
"""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
from google.rpc import code_pb2, status_pb2
from sed_serve_client import AsyncClient, Client, DeadlineExceeded, Overloaded, Preparation, SedError, Unavailable
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services
from sed_serve_client.v1 import vocabulary_pb2, warning_pb2

from moody import failure, nothing, refused, trailers

WORDS = ["cat"]
REASON = "VOCABULARY_NOT_READY"
NOT_READY = failure(code_pb2.RESOURCE_EXHAUSTED, REASON, 0.1)
NEVER_READY = failure(code_pb2.RESOURCE_EXHAUSTED, REASON, None)
FULL = failure(code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.05)
AWAY = failure(code_pb2.UNAVAILABLE, "RECONNECT", 0)


@dataclasses.dataclass(frozen=True)
class Course:
    """The course of one stream of progress: states up to this many embedded phrases of 5, and then its end. None
    ends it without an error, "wait" never ends it.
    """

    embedded: int
    end: status_pb2.Status | str | None = None


class Cold(services.SegmentationServiceServicer):
    """Fails as it is told to, then answers."""

    def __init__(self) -> None:
        self.failures: list[status_pb2.Status] = []
        self.courses: list[Course] = []
        self.calls = 0
        self.left: list[float | None] = []  # seconds until the deadline of each call
        self.prepared: list[vocabulary_pb2.Vocabulary] = []
        self.gone = threading.Event()  # set once the caller of the preparation that began last is gone

    def Segment(self, request, context):
        """Fails or answers."""
        self._fail(context)
        return nothing(1)

    def CreateVocabulary(self, request, context):
        """Fails or answers."""
        self._fail(context)
        named = vocabulary_pb2.NamedVocabulary(name="voc-1", size=len(request.categories.categories))
        return vocabulary_pb2.CreateVocabularyResponse(vocabulary=named)

    def SegmentStream(self, requests, context) -> Iterator[pb.SegmentStreamResponse]:
        """Refuses one request for each failure that is left, and answers the others."""
        self.calls += 1
        for request in requests:
            number = request.request.request_id
            if self.failures:
                status = self.failures.pop(0)
                error = pb.StreamError(code=status.code, message=status.message, details=status.details)
                yield pb.SegmentStreamResponse(request_id=number, error=error)
            else:
                yield pb.SegmentStreamResponse(request_id=number, response=nothing(int(number)))

    def PrepareVocabulary(self, request, context) -> Iterator[vocabulary_pb2.PrepareVocabularyResponse]:
        """Follows the next course."""
        self.calls += 1
        self.left.append(context.time_remaining())
        self.prepared.append(request.vocabulary)
        self.gone = gone = threading.Event()
        context.add_callback(gone.set)
        course = self.courses.pop(0) if self.courses else Course(5)
        for embedded in range(2, course.embedded + 1):
            yield state(embedded)
        if course.end == "wait":
            gone.wait(30)
        elif isinstance(course.end, status_pb2.Status):
            end(context, course.end)

    def _fail(self, context) -> None:
        self.calls += 1
        self.left.append(context.time_remaining())
        if self.failures:
            end(context, self.failures.pop(0))


def end(context, status: status_pb2.Status) -> None:
    """Ends a call with a status."""
    context.set_trailing_metadata(trailers(status))
    context.abort(next(code for code in grpc.StatusCode if code.value[0] == status.code), status.message)


def state(embedded: int) -> vocabulary_pb2.PrepareVocabularyResponse:
    """The state of a preparation of 5 phrases, of which 2 were known."""
    made = vocabulary_pb2.PrepareVocabularyResponse(phrases=5, known=2, embedded=embedded, replica="sed-0")
    made.devices.add(device="cuda:0", embedded=embedded)
    made.devices.add(device="cuda:1", embedded=5)
    if embedded == 5:
        made.ready = True
        warning = made.warnings.add(
            reason=warning_pb2.WARNING_REASON_CATEGORIES_ALIKE, field="vocabulary", message="alike"
        )
        warning.metadata["similarity"] = "0.99"
    else:
        made.remaining.FromMilliseconds(1500)
    return made


Make = Callable[..., object]
"""Calls a method of a client: `call(NAME, ARGUMENTS, client options)`. A stream is read to its end."""


def check_calls(cold: Cold, call: Make) -> None:
    """Calls that meet words that are not ready."""

    def play(*failures: status_pb2.Status) -> None:
        cold.failures, cold.calls, cold.left = list(failures), 0, []

    play(*[NOT_READY] * 7)
    assert call("segment", b"x", WORDS).unlabelled_pixels == 1
    assert cold.calls == 8, "these refusals are no attempts"
    # A delay that is longer than the timeout: the next attempt has all of its time.
    play(failure(code_pb2.RESOURCE_EXHAUSTED, REASON, 2))
    assert call("segment", b"x", WORDS, timeout=1.5).unlabelled_pixels == 1
    assert cold.calls == 2
    # Attempts begin again after each of them.
    play(*[FULL] * 4, NOT_READY, *[FULL] * 4)
    call("segment", b"x", WORDS)
    assert cold.calls == 10
    play(NOT_READY, NOT_READY)
    assert call("create_vocabulary", ["cat", "dog"], embed=True).size == 2
    assert cold.calls == 3

    play(NEVER_READY)
    error = refused(lambda: call("segment", b"x", WORDS), Overloaded)
    assert (error.reason, error.retry_after, cold.calls) == (REASON, None, 1), "nothing prepares these words"
    play(*[NOT_READY] * 9)
    error = refused(lambda: call("segment", b"x", WORDS, ready_timeout=0), Overloaded)
    assert (error.reason, error.retry_after, error.metadata, cold.calls) == (REASON, 0.1, {"limit": "1"}, 1)
    play(*[NOT_READY] * 99)
    error = refused(lambda: call("segment", b"x", WORDS, ready_timeout=0.5), Overloaded)
    assert error.reason == REASON and 1 < cold.calls <= 6, cold.calls
    # The client pauses even if the server names next to no delay.
    play(*[failure(code_pb2.RESOURCE_EXHAUSTED, REASON, 0)] * 99)
    refused(lambda: call("segment", b"x", WORDS, ready_timeout=0.5), Overloaded)
    assert cold.calls <= 6, cold.calls


def check_streams(cold: Cold, call: Make) -> None:
    """Requests of a stream whose words are not ready are sent again on another one."""
    pictures = [b"%d" % number for number in range(12)]

    def ask(*failures: status_pb2.Status, **timeouts: float) -> list[tuple[int, object]]:
        cold.failures, cold.calls = list(failures), 0
        items = call("segment_stream", pictures, WORDS, **timeouts)
        assert [number for number, _ in items] == list(range(12))
        return items

    assert [found.unlabelled_pixels for _, found in ask(*[NOT_READY] * 7)] == list(range(12))
    assert 8 >= cold.calls > 1, cold.calls  # several refusals may be on the way when a stream is left
    items = ask(NEVER_READY)
    assert items[0][1].reason == REASON and items[11][1].unlabelled_pixels == 11 and cold.calls == 1
    items = ask(*[NOT_READY] * 12, ready_timeout=0)
    assert {found.reason for _, found in items} == {REASON} and cold.calls == 1
    # After one wait for nothing, the other pictures do not wait as long again.
    items = ask(*[NOT_READY] * 999, ready_timeout=0.3)
    assert {found.reason for _, found in items} == {REASON} and 1 < cold.calls <= 4, cold.calls
    # A picture that is refused for now is sent again, too, within its timeout.
    assert [found.unlabelled_pixels for _, found in ask(*[FULL] * 3)] == list(range(12))
    assert {found.reason for _, found in ask(*[FULL] * 999, timeout=0.3)} == {"QUEUE_FULL"}
    assert 1 < cold.calls <= 7, cold.calls


def check_preparing(cold: Cold, call: Make) -> None:
    """Preparing ends with the last state, however many streams it takes."""

    def prepare(*courses: Course, words=WORDS, progress=None, **options) -> tuple[Preparation, list[int]]:
        cold.courses, cold.calls, cold.left, cold.prepared = list(courses), 0, [], []
        states: list[Preparation] = []
        last = call("prepare_vocabulary", words, progress or states.append, **options)
        assert states[-1] == last
        return last, [state.embedded for state in states]

    last, embedded = prepare()
    assert (last.phrases, last.known, last.embedded, last.ready, last.remaining) == (5, 2, 5, True, None)
    assert (last.replica, last.devices) == ("sed-0", (("cuda:0", 5), ("cuda:1", 5)))
    (warning,) = last.warnings
    assert (warning.reason, warning.field, warning.message) == ("CATEGORIES_ALIKE", "vocabulary", "alike")
    assert warning.metadata == {"similarity": "0.99"}
    assert embedded == [2, 3, 4, 5]
    assert cold.left[0] is None or cold.left[0] > 1e6, "without a timeout it has no deadline"
    assert [category.name for category in cold.prepared[0].categories.categories] == WORDS
    assert call("prepare_vocabulary", WORDS) == last

    for named in ({"words": "ade20k-150"}, {"words": None, "vocabulary": "ade20k-150"}):
        prepare(**named, synonyms="best", contrast=["wall"])
        (asked,) = cold.prepared
        assert (asked.name, asked.synonym_mode) == ("ade20k-150", vocabulary_pb2.SYNONYM_MODE_BEST)
        assert [category.name for category in asked.contrast.categories.categories] == ["wall"]
    call("prepare_vocabulary", vocabulary="ade20k-150")
    refused(lambda: call("prepare_vocabulary"), ValueError)
    refused(lambda: call("prepare_vocabulary", WORDS, vocabulary="ade20k-150"), ValueError)

    _, embedded = prepare(Course(3, AWAY), Course(3))  # one of them is cut off, one ends too early
    assert (embedded, cold.calls) == ([2, 3, 2, 3, 2, 3, 4, 5], 3)
    _, embedded = prepare(*[Course(2, AWAY)] * 9)
    assert cold.calls == 10, "its attempts begin again with every state"
    error = refused(lambda: prepare(*[Course(0, AWAY)] * 99, timeout=0.6), Unavailable)
    assert error.reason == "RECONNECT" and 2 < cold.calls <= 7, cold.calls
    error = refused(lambda: prepare(Course(2, failure(code_pb2.INTERNAL, "INTERNAL", None))), SedError)
    assert (error.reason, cold.calls) == ("INTERNAL", 1)
    error = refused(lambda: prepare(Course(0, NEVER_READY)), Overloaded)
    assert (error.reason, cold.calls) == (REASON, 1)
    refused(lambda: prepare(Course(2, "wait"), timeout=0.5), DeadlineExceeded)
    assert cold.calls == 1

    refused(lambda: prepare(Course(2, "wait"), progress=lambda _: {}["enough"]), KeyError)
    assert cold.gone.wait(10), "a call that its caller left goes on"
    refused(lambda: call("prepare_vocabulary", WORDS, colour="no"), TypeError)
    refused(lambda: call("prepare_vocabulary", [7]), TypeError)


def main() -> None:
    """Starts the server and checks both clients."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    cold = Cold()
    services.add_SegmentationServiceServicer_to_server(cold, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    def with_threads(name: str, *arguments, ready_timeout: float = 900, **options):
        with Client(target, ready_timeout=ready_timeout) as client:
            found = getattr(client, name)(*arguments, **options)
            return list(found) if name == "segment_stream" else found

    def with_tasks(name: str, *arguments, ready_timeout: float = 900, **options):
        async def made():
            async with AsyncClient(target, ready_timeout=ready_timeout) as client:
                found = getattr(client, name)(*arguments, **options)
                return [item async for item in found] if name == "segment_stream" else await found

        return loop.run_until_complete(made())

    loop = asyncio.new_event_loop()
    for call in (with_threads, with_tasks):
        check_calls(cold, call)
        check_streams(cold, call)
        check_preparing(cold, call)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    server.stop(None).wait()
    print("words that are not ready: waited for, beside the timeout and the attempts; prepared with their progress")


if __name__ == "__main__":
    main()
