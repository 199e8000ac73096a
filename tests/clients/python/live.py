"""Live sessions: a test server that takes 125 ms for each frame is offered 30 a second.

python live.py                the test server, both clients
python live.py HOST:PORT      a running server that cannot keep up with 30 large frames a second
"""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import numpy as np
from google.rpc import code_pb2, status_pb2
from sed_serve_client import AsyncClient, Client, DeadlineExceeded, LiveAnswer, Segmentation
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services

from moody import failure, nothing, refused, trailers

WORDS = ["cat"]
RATE = 30
FRAME_SECONDS = 0.125
FULL = failure(code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.3)
BAD = failure(code_pb2.INVALID_ARGUMENT, "IMAGE_CORRUPT", None)


class Slow(services.SegmentationServiceServicer):
    """Computes one frame after the other, and answers with the number that is the frame's bytes."""

    def __init__(self) -> None:
        self.failures: list[status_pb2.Status] = []
        self.left: list[float] = []  # seconds until the deadline of each call
        self._device = threading.Lock()

    def Segment(self, request, context):
        """Fails or answers."""
        self.left.append(context.time_remaining())
        if self.failures:
            status = self.failures.pop(0)
            context.set_trailing_metadata(trailers(status))
            context.abort(next(code for code in grpc.StatusCode if code.value[0] == status.code), status.message)
        with self._device:
            time.sleep(FRAME_SECONDS)
        return nothing(int(request.image.encoded))


def camera(count: int, frame: Callable[[int], object], rate: float = RATE) -> Iterator[object]:
    """Frames at a steady rate."""
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(begin + number / rate - time.monotonic(), 0))
        yield frame(number)


def coded(number: int) -> bytes:
    """A frame that is known by its bytes."""
    return b"%d" % number


def check_pace(answers: list[LiveAnswer], offered: int) -> None:
    """No error, the newest frames won, and no answer is older than its frame and the one before take."""
    assert all(isinstance(answer.outcome, Segmentation) for answer in answers), answers
    numbers = [answer.number for answer in answers]
    assert numbers == sorted(set(numbers)) and numbers[-1] == offered - 1, "the last frame is always the newest"
    assert [answer.outcome.unlabelled_pixels for answer in answers] == numbers, "an answer is that of its frame"
    assert len(answers) + sum(answer.dropped for answer in answers) == offered
    seconds = offered / RATE
    assert seconds / FRAME_SECONDS * 0.6 <= len(answers) <= seconds / FRAME_SECONDS + 3, len(answers)
    ages = sorted(answer.age for answer in answers)
    assert ages[len(ages) // 2] <= 3 * FRAME_SECONDS and ages[-1] <= 6 * FRAME_SECONDS, ages


def check(slow: Slow, run: Callable[..., list[LiveAnswer]]) -> None:
    """Every rule of a live session. `run` reads frames to their end."""
    answers = run(camera(36, coded), timeout=5)
    check_pace(answers, 36)
    print(f"  {len(answers)} of 36 frames answered, the oldest after {max(answer.age for answer in answers):.2f} s")

    # The clock of a frame starts when it is handed over: a wait before it is sent counts.
    slow.failures, slow.left = [FULL], []
    (answer,) = run(camera(1, coded), timeout=2)
    assert isinstance(answer.outcome, Segmentation) and answer.age >= 0.3 + FRAME_SECONDS
    assert slow.left[1] <= 2 - 0.3, "a frame that was refused has its full time again"
    # While the server has no room the newest frame waits, and older ones are dropped.
    slow.failures = [FULL] * 3
    answers = run(camera(36, coded), in_flight=1, timeout=5)
    assert all(isinstance(answer.outcome, Segmentation) for answer in answers) and answers[0].number >= 20, answers
    slow.failures = [FULL] * 99
    (answer,) = run(camera(1, coded), timeout=0.5)
    assert answer.outcome.reason == "QUEUE_FULL", answer
    slow.failures = []
    # An error that does not pass is that of its frame alone.
    slow.failures = [BAD]
    answers = run(camera(3, coded, rate=4), in_flight=1)
    assert [getattr(answer.outcome, "reason", None) for answer in answers] == ["IMAGE_CORRUPT", None, None]
    (answer,) = run(camera(1, coded), timeout=FRAME_SECONDS / 4)
    assert isinstance(answer.outcome, DeadlineExceeded), answer
    # Frames that cannot be read end the session.
    refused(lambda: run(["no/such/file.png"]), FileNotFoundError)
    refused(lambda: run(coded(1 // (5 - number)) for number in itertools.count()), ZeroDivisionError)


def check_offers(slow: Slow, client: Client) -> None:
    """Frames that are handed over one by one."""
    with client.live(None, WORDS) as live:
        assert [live.offer(b"7"), live.offer(b"8"), live.offer(b"9")] == [0, 1, 2]
        answers = iter(live)
        assert next(answers).outcome.unlabelled_pixels in (7, 8, 9)
        time.sleep(5 * FRAME_SECONDS)
        assert live.offer(b"10") == 3
        live.finish()
        refused(lambda: live.offer(b"11"), ValueError)
        # The reader was late: of the answers that waited for it, only the newest is left.
        assert [answer.number for answer in answers][-1] == 3
    with client.live(None, WORDS) as live:
        live.offer(b"1")
        live.close()
        assert list(live) == []
    refused(lambda: client.live(None, WORDS, in_flight=0), ValueError)
    assert not slow.failures


async def check_offers_of_tasks(target: str) -> None:
    """The same for asyncio, and a session that is left early ends."""
    async with AsyncClient(target) as client:
        async with client.live(None, WORDS) as live:
            live.offer(b"7")
            async for answer in live:
                assert answer.number == answer.outcome.unlabelled_pixels - 7
                if answer.number == 2:
                    break
                live.offer(b"%d" % (answer.number + 8))
        assert [answer async for answer in live] == []


def on_test_server() -> None:
    """Starts the test server and checks both clients."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    slow = Slow()
    services.add_SegmentationServiceServicer_to_server(slow, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with Client(target) as client:
        check(slow, lambda frames, **options: list(client.live(frames, WORDS, **options)))
        check_offers(slow, client)

    async def with_tasks(frames, **options) -> list[LiveAnswer]:
        async def paced():
            source = iter(frames)
            while (frame := await asyncio.to_thread(next, source, None)) is not None:
                yield frame

        async with AsyncClient(target) as client, client.live(paced(), WORDS, **options) as live:
            return [answer async for answer in live]

    check(slow, lambda frames, **options: asyncio.run(with_tasks(frames, **options)))
    asyncio.run(check_offers_of_tasks(target))
    server.stop(None).wait()
    print("live: the newest frame is sent, older ones are dropped, no answer is old; refusals are waited for")


def on(target: str) -> None:
    """Offers a running server large frames, at four times the rate."""
    noise = np.random.default_rng(1).integers(0, 256, (1000, 1500, 3), np.uint8)
    frames = 60
    with Client(target) as client:
        client.wait_until_ready(timeout=30)
        words = ["cow", "house", "tree", "grass", "sky"]
        begin = time.monotonic()
        alone = client.segment(noise, words)
        seconds = time.monotonic() - begin  # with the words that are embedded first: no less than a frame takes
        offered = camera(frames, lambda number: np.roll(noise, number, axis=0), 4 * RATE)
        answers = list(client.live(offered, words, timeout=10))
    assert alone.mask.shape == (1000, 1500)
    assert all(isinstance(answer.outcome, Segmentation) for answer in answers), answers
    numbers = [answer.number for answer in answers]
    assert numbers == sorted(set(numbers)) and numbers[-1] == frames - 1
    assert 2 <= len(answers) < frames, "the server keeps up: offer it more"
    oldest = max(answer.age for answer in answers)
    assert oldest <= max(8 * seconds, 2.0), (oldest, seconds)
    rate = frames / len(answers)
    print(f"live on a real server: one in {rate:.0f} frames of 1500 x 1000 answered, the oldest after {oldest:.2f} s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        on(sys.argv[1])
    else:
        on_test_server()
