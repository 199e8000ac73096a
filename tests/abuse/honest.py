"""Honest clients: one picture at a time, the same picture by its id, and streams; they obey retry delays, and compare
every answer with the one that they got before there was any attack."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from google.rpc import error_details_pb2, status_pb2
from sed_serve_client.v1 import image_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services

from lines import emit, obey
from questions import essence, examples

PATIENCE = 15.0  # seconds for one picture, with all retries
PAUSE = 0.08  # between two requests of one client: together they are some fifteen a second
ON_A_STREAM = 3
RETRYABLE = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 128 << 20),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class Refused(Exception):
    """An error of the server, with the delay after which to try again; None: it is final."""

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes) -> None:
        status = status_pb2.Status.FromString(details)
        found = {detail.TypeName(): detail.value for detail in status.details}
        info = error_details_pb2.ErrorInfo.FromString(found.get("google.rpc.ErrorInfo", b""))
        retry = error_details_pb2.RetryInfo.FromString(found.get("google.rpc.RetryInfo", b""))
        super().__init__(f"{code.name} {info.reason or message}")
        self.reason = info.reason
        self.delay: float | None = None
        if code is grpc.StatusCode.UNAVAILABLE and not info.reason:
            self.delay = 0.1  # there was no server to say more
        elif code in RETRYABLE and "google.rpc.RetryInfo" in found:
            self.delay = retry.retry_delay.ToTimedelta().total_seconds()

    @classmethod
    def by(cls, error: grpc.aio.AioRpcError) -> "Refused":
        """The refusal of a call."""
        metadata = dict(error.trailing_metadata() or ())
        return cls(error.code(), error.details() or "", bytes(metadata.get("grpc-status-details-bin", b"")))

    @classmethod
    def on_stream(cls, error: pb.StreamError) -> "Refused":
        """The refusal of one request on a stream."""
        code = next(code for code in grpc.StatusCode if code.value[0] == error.code)
        return cls(code, error.message, status_pb2.Status(details=error.details).SerializeToString())


class Clients:
    """All of them, with a connection each."""

    def __init__(self) -> None:
        self.questions = examples()
        self.answers: list[bytes] = []
        self.ids: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()

    async def learn(self, target: str) -> None:
        """Asks everything once, one after the other."""
        async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
            stub = services.SegmentationServiceStub(channel)
            for question in self.questions:
                answer = await stub.Segment(question, timeout=60)
                self.answers.append(essence(answer))
                self.ids.append(answer.image_id)

    async def go(self, target: str) -> None:
        """Begins."""
        self._stop.clear()
        for client in (self._unary, self._by_id, self._stream):
            self._tasks.append(asyncio.create_task(self._client(target, client)))

    async def pause(self) -> None:
        """Ends, once what is under way has been answered."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()

    async def give_up(self) -> None:
        """Ends at once: there is no server any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _client(
        self, target: str, ask: Callable[[services.SegmentationServiceStub, int], Awaitable[None]]
    ) -> None:
        async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
            stub, number = services.SegmentationServiceStub(channel), 0
            while not self._stop.is_set():
                await ask(stub, number % len(self.questions))
                number += 1
                await asyncio.sleep(PAUSE)

    async def _unary(self, stub: services.SegmentationServiceStub, number: int) -> None:
        await self._patiently("unary", number, lambda left: stub.Segment(self.questions[number], timeout=left))

    async def _by_id(self, stub: services.SegmentationServiceStub, number: int) -> None:
        whole = self.questions[number]
        short = pb.SegmentRequest(image=image_pb2.Image(id=self.ids[number]), vocabulary=whole.vocabulary)

        async def ask(left: float) -> pb.SegmentResponse:
            try:
                return await stub.Segment(short, timeout=left)
            except grpc.aio.AioRpcError as error:
                if Refused.by(error).reason != "IMAGE_NOT_FOUND":
                    raise
            return await stub.Segment(whole, timeout=left)

        await self._patiently("id", number, ask)

    async def _stream(self, stub: services.SegmentationServiceStub, number: int) -> None:
        """A stream of some pictures; what is refused there goes on alone, as a request on another stream."""
        numbers = [(number * ON_A_STREAM + step) % len(self.questions) for step in range(ON_A_STREAM)]
        begun, outcomes = time.monotonic(), dict[str, pb.SegmentStreamResponse]()
        try:
            async for answer in stub.SegmentStream(self._requests(numbers), timeout=PATIENCE):
                outcomes[answer.request_id] = answer
                if answer.HasField("response"):
                    self._emit("stream", int(answer.request_id), answer.response, begun, [])
        except grpc.aio.AioRpcError as error:
            if Refused.by(error).delay is None:
                return self._emit_failure("stream", begun, [], str(Refused.by(error)))
        for other in numbers:
            answer = outcomes.get(str(other), pb.SegmentStreamResponse())
            if not answer.HasField("response"):
                await self._patiently("stream", other, lambda left, other=other: self._alone(stub, other, left), begun)

    async def _alone(self, stub: services.SegmentationServiceStub, number: int, left: float) -> pb.SegmentResponse:
        async for answer in stub.SegmentStream(self._requests([number]), timeout=left):
            if answer.HasField("error"):
                raise Refused.on_stream(answer.error)
            return answer.response
        raise Refused(grpc.StatusCode.UNKNOWN, "a stream ended without an answer", b"")

    async def _requests(self, numbers: list[int]) -> AsyncIterator[pb.SegmentStreamRequest]:
        for number in numbers:
            request = pb.SegmentStreamRequest(request=self.questions[number])
            request.request.request_id = str(number)
            yield request

    async def _patiently(
        self,
        kind: str,
        number: int,
        ask: Callable[[float], Awaitable[pb.SegmentResponse]],
        begun: float | None = None,
    ) -> None:
        """Asks until there is an answer, a final error, or no time left."""
        begun, refusals = begun or time.monotonic(), list[str]()
        while True:
            left = begun + PATIENCE - time.monotonic()
            try:
                answer = await ask(max(left, 0.01))
            except grpc.aio.AioRpcError as error:
                refused = Refused.by(error)
            except Refused as error:
                refused = error
            else:
                return self._emit(kind, number, answer, begun, refusals)
            if refused.delay is None or refused.delay >= left:
                return self._emit_failure(kind, begun, refusals, str(refused))
            refusals.append(refused.reason)
            await asyncio.sleep(refused.delay)

    def _emit(self, kind: str, number: int, answer: pb.SegmentResponse, begun: float, refusals: list[str]) -> None:
        outcome = "ok" if essence(answer) == self.answers[number] else "wrong"
        seconds = time.monotonic() - begun
        emit(kind=kind, at=begun, seconds=seconds, outcome=outcome, refusals=refusals, why=f"example {number}")

    def _emit_failure(self, kind: str, begun: float, refusals: list[str], why: str) -> None:
        seconds = time.monotonic() - begun
        emit(kind=kind, at=begun, seconds=seconds, outcome="failed", refusals=refusals, why=why)


async def main() -> None:
    """Obeys until the main process ends."""
    clients = Clients()
    await obey({"learn": clients.learn, "go": clients.go, "pause": clients.pause, "give_up": clients.give_up})


asyncio.run(main())
