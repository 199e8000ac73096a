"""The client for programs with asyncio: the same calls as those of `Client`, where they are described."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, TypeVar

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from . import async_stream, connection, errors, health, request, result, stream, timeouts
from .async_live import AsyncLive
from .attempts import Attempts, PreparationAttempts, StreamAttempts
from .preparation import Preparation, preparation
from .v1 import segmentation_service_pb2 as pb
from .v1 import vocabulary_pb2
from .v1.segmentation_service_pb2_grpc import SegmentationServiceStub
from .vocabulary import Vocabulary, vocabulary

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from .connection import Pem
    from .request import Options, Picture, WordOptions, Words
    from .stream import Request

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class AsyncClient:
    """As Client, for one event loop. Picture files are read in the loop; pass bytes if that blocks it too long."""

    def __init__(  # noqa: PLR0913
        self,
        target: str,
        *,
        token: str | None = None,
        ca: Pem | None = None,
        certificate: Pem | None = None,
        key: Pem | None = None,
        timeout: float = 60.0,
        ready_timeout: float = 900.0,
    ) -> None:
        self.timeout = timeouts.checked("timeout", timeout)
        self.ready_timeout = timeouts.checked("ready_timeout", ready_timeout)
        address, options = connection.address(target), connection.CHANNEL_OPTIONS
        tls = connection.credentials(target, ca, certificate, key)
        self._metadata = connection.call_metadata(token)
        self._channel = (
            grpc.aio.secure_channel(address, tls, options) if tls else grpc.aio.insecure_channel(address, options)
        )
        self._stub = SegmentationServiceStub(self._channel)
        self._health = HealthStub(self._channel)

    async def segment(
        self,
        picture: Picture,
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> result.Segmentation:
        """Segments one picture by categories, or by a vocabulary that the server knows; see `Client.segment`."""
        message = request.segment(picture, categories, vocabulary, request_id or str(uuid.uuid4()), **options)
        return result.segmentation(await self._call(self._stub.Segment, message, timeout))

    def segment_stream(
        self,
        pictures: Iterable[Picture | Request] | AsyncIterable[Picture | Request],
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        any_order: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[stream.StreamItem]:
        """Segments many pictures over one stream, and yields the number of each with its result or its error.

        The arguments are those of `Client.segment_stream`.
        """
        seconds = timeouts.of_call(timeout, self.timeout)
        defaults = stream.Defaults(categories, vocabulary, seconds, options)
        requests = stream.StreamRequests(defaults, any_order=any_order)
        attempts = StreamAttempts(seconds, self.ready_timeout)
        return async_stream.items(self._stub.SegmentStream, self._metadata, requests, pictures, attempts)

    def live(
        self,
        frames: Iterable[Picture | Request] | AsyncIterable[Picture | Request] | None = None,
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        in_flight: int = 2,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncLive:
        """Segments the newest frame of a camera, again and again, and drops the frames that it has no time for.

        The arguments are those of `Client.live`. Frames that are not an AsyncIterable are read in the event loop, and
        must not block it. To be called in a running event loop.
        """
        seconds = timeouts.of_call(timeout, self.timeout)
        defaults = stream.Defaults(categories, vocabulary, seconds, options)
        attempts = StreamAttempts(seconds, self.ready_timeout)
        return AsyncLive(self._stub.Segment, self._metadata, defaults, attempts, frames, in_flight)

    async def create_vocabulary(
        self, categories: Words, *, embed: bool = False, timeout: float | None = None, **options: Unpack[WordOptions]
    ) -> Vocabulary:
        """Registers words under a name; see `Client.create_vocabulary`."""
        message = request.new_vocabulary(categories, embed=embed, **options)
        made = await self._call(self._stub.CreateVocabulary, message, timeout)
        return vocabulary(made.vocabulary, made.warnings)

    async def prepare_vocabulary(
        self,
        words: Words | str | None = None,
        on_progress: Callable[[Preparation], None] | None = None,
        *,
        vocabulary: str | None = None,
        timeout: float | None = None,
        **options: Unpack[WordOptions],
    ) -> Preparation:
        """Has the server compute the text embeddings of words, or of a vocabulary by its name, and waits for them.

        The arguments are those of `Client.prepare_vocabulary`.
        """
        message = request.preparation(words, vocabulary, **options)
        attempts = PreparationAttempts(timeout, self.ready_timeout)
        while True:
            call = self._stub.PrepareVocabulary(message, timeout=attempts.timeout(), metadata=self._metadata)
            state: Preparation | None = None
            try:
                async for answer in call:
                    attempts.answered()
                    state = preparation(answer)
                    if on_progress is not None:
                        on_progress(state)
                if state is not None and state.ready:
                    return state
                pause = attempts.pause_or_raise(stream.unfinished())
            except grpc.RpcError as error:
                pause = attempts.pause_or_raise(errors.of_call(error), error)
            finally:
                call.cancel()
            await asyncio.sleep(pause)

    async def get_vocabulary(self, name: str, *, timeout: float | None = None) -> Vocabulary:
        """Returns a vocabulary with its categories."""
        message = vocabulary_pb2.GetVocabularyRequest(name=name)
        return vocabulary((await self._call(self._stub.GetVocabulary, message, timeout)).vocabulary)

    async def list_vocabularies(self, *, timeout: float | None = None) -> AsyncIterator[Vocabulary]:
        """Yields the vocabularies that the server knows, without their categories."""
        message = vocabulary_pb2.ListVocabulariesRequest()
        while True:
            page = await self._call(self._stub.ListVocabularies, message, timeout)
            for named in page.vocabularies:
                yield vocabulary(named)
            if not page.next_page_token:
                return
            message.page_token = page.next_page_token

    async def delete_vocabulary(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a registered vocabulary."""
        await self._call(self._stub.DeleteVocabulary, vocabulary_pb2.DeleteVocabularyRequest(name=name), timeout)

    async def server_info(self, *, timeout: float | None = None) -> pb.GetServerInfoResponse:
        """Returns the server's model, limits, defaults and vocabularies; see proto/sed/v1/server_info.proto."""
        return await self._call(self._stub.GetServerInfo, pb.GetServerInfoRequest(), timeout)

    async def wait_until_ready(self, *, timeout: float | None = None) -> None:
        """Waits until a server is there and ready for requests; see `Client.wait_until_ready`."""
        attempts = health.ReadyAttempts(timeouts.of_call(timeout, self.timeout))
        while True:
            try:
                found = await self._health.Check(health.QUESTION, timeout=attempts.timeout(), metadata=self._metadata)
                if health.is_ready(found):
                    return
                pause = attempts.pause_or_raise(health.not_ready())
            except grpc.RpcError as error:
                pause = attempts.pause_or_raise(errors.of_call(error), error)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Closes the connection and ends its running calls."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer], message: _Request, timeout: float | None
    ) -> _Answer:
        attempts = Attempts(timeouts.of_call(timeout, self.timeout), self.ready_timeout)
        while True:
            try:
                return await method(message, timeout=attempts.timeout(), metadata=self._metadata)
            except grpc.RpcError as error:
                pause = attempts.pause_or_raise(errors.of_call(error), error)
            await asyncio.sleep(pause)
