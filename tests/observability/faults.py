"""Load that the server must refuse, or whose callers give up: each kind with the reason that the server must report."""

import concurrent.futures
import random
import time
from collections.abc import Callable

import grpc

import client as api
from client import Client, pb

SMALL = api.named("pascal-voc-20")
LARGE = api.named("ade20k-150")
# As many as the pairs of LARGE, and so many that embedding them takes longer than all else.
NEW_WORDS = 150


def mistakes() -> list[tuple[object, str]]:
    """Requests that are wrong in themselves, and why."""
    picture = api.picture(0)
    encoded = picture.encoded
    return [
        (pb.SegmentRequest(vocabulary=SMALL), "invalid"),
        (api.request(picture, api.words([])), "invalid"),
        (api.request(picture, api.words(["cat", "cat"])), "invalid"),
        (api.request(picture, SMALL, 10**6), "invalid"),
        (api.request(picture, api.named("no-such-vocabulary")), "vocabulary_not_found"),
        (api.request(picture, api.words(f"word {n}" for n in range(1500))), "vocabulary_too_large"),
        (api.request(api.image_pb2.Image(encoded=encoded[: len(encoded) // 2]), SMALL), "image_corrupt"),
        (api.request(api.image_pb2.Image(encoded=b"no picture at all"), SMALL), "image_unsupported"),
        (api.request(api.image_pb2.Image(id="no image"), SMALL), "invalid"),
        (api.request(api.image_pb2.Image(id=f"img-{0:064x}"), SMALL), "image_not_found"),
        (api.request(api.image_pb2.Image(encoded=bytes(40 << 20)), SMALL), "message_too_large"),
    ]


def refused(client: Client) -> None:
    for request, expected in mistakes():
        answer, reason = client.segment(request)
        assert answer is None and reason == expected, f"{reason!r} instead of {expected}"


def refused_on_stream(client: Client) -> None:
    cases = [(request, reason) for request, reason in mistakes() if reason != "message_too_large"]  # that ends the stream
    reasons = client.stream([request for request, _ in cases])
    assert reasons == [reason for _, reason in cases], reasons


def at_once(client: Client, count: int, timeout: float, words: Callable[[], object]) -> list[str]:
    """So many calls at the same time; gives the reasons of those that were refused."""
    requests = [api.request(api.picture(number), words(), 0) for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        outcomes = pool.map(lambda request: client.segment(request, timeout), requests)
    return [reason for answer, reason in outcomes if answer is None]


def until(
    client: Client, expected: str, tries: list[tuple[int, float]], words: Callable[[], object] = lambda: LARGE
) -> None:
    """Bursts of so many calls with such a deadline, until one is refused for this reason."""
    seen = []
    for count, timeout in tries:
        seen += at_once(client, count, timeout, words)
        if expected in seen:
            return
    raise AssertionError(f"no call was refused as {expected}, but as {seen}")


def given_up(client: Client) -> None:
    """Calls that their caller cancels while the device works on them."""
    calls = [client.stub.Segment.future(api.request(api.picture(n), LARGE, 0), timeout=60) for n in range(6)]
    time.sleep(0.3)
    for call in calls:
        call.cancel()
        if call.code() is grpc.StatusCode.OK:  # a quick server
            client.ledger.code("Segment", "OK")
        else:
            client.ledger.failed("Segment", call)


def seconds_of(client: Client, request) -> float:
    """Duration of a request in seconds, as the server reports it."""
    answer, reason = client.segment(request)
    assert answer, reason
    return answer.latency.total.seconds + answer.latency.total.nanos / 1e9


def run(client: Client) -> None:
    refused(client)
    refused_on_stream(client)
    request = api.request(api.picture(0), LARGE, 0)
    seconds_of(client, request)  # its words and its picture are known from now on
    known = seconds_of(client, request)
    # Each may need more than one try on a machine that does other work, too; every try is counted.
    until(client, "queue_full", [(16, 60)] * 3)
    until(client, "deadline_unreachable", [(8, 3 * known), (8, 2 * known), (12, 2 * known)])
    until(client, "deadline_too_short", [(1, 0.3 * known), (1, 0.2 * known), (1, 0.1 * known)])
    given_up(client)
    # Last, because the words are prepared from then on, behind all calls.
    chosen = random.Random(0)
    # From the shortest: in a longer one the words may come so late that the caller's deadline passes first.
    tries = [(1, share * known) for share in (1.2, 1.5, 2, 3)]
    until(client, "vocabulary_not_ready", tries, lambda: api.cold_words(chosen, NEW_WORDS))
