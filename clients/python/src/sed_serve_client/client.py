"""The client for programs with threads."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, TypeVar

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from . import connection, errors, health, request, result, stream, sync_stream, timeouts
from .attempts import Attempts, PreparationAttempts, StreamAttempts
from .live import Live
from .preparation import Preparation, preparation
from .v1 import segmentation_service_pb2 as pb
from .v1 import vocabulary_pb2
from .v1.segmentation_service_pb2_grpc import SegmentationServiceStub
from .vocabulary import Vocabulary, vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from .connection import Pem
    from .request import Options, Picture, WordOptions, Words
    from .stream import Request

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class Client:
    """A connection to a sed-serve server, or to several behind one name. May be used by several threads at once.

    target: HOST:PORT, a URL (https:// means TLS, http:// none), or any target of gRPC.
    token: the bearer token. Without TLS it can be read on the network.
    ca: the certificates of authorities to trust; certificate, key: those of this client, if the server asks for one.
    timeout: seconds for a call with all its retries, unless the call has a timeout of its own. `math.inf`, and more
        than 2,147,483 (24 days), is no limit, as wherever a timeout is given.
    ready_timeout: seconds that a call may wait for its words, see below; 0 turns it off.

    Calls raise SedError. A call that is refused for now, with a delay after which to come again, is tried again until
    its timeout is used up; one that no server answers five times; the table of all reasons is `retries.TABLE`.
    A call whose words cannot be embedded within its timeout has them prepared by the server, and is tried again until
    they are ready, each time with its full timeout (VOCABULARY_NOT_READY).
    """

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
        self._channel = grpc.secure_channel(address, tls, options) if tls else grpc.insecure_channel(address, options)
        self._stub = SegmentationServiceStub(self._channel)
        self._health = HealthStub(self._channel)

    def segment(
        self,
        picture: Picture,
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> result.Segmentation:
        """Segments one picture by categories, or by a vocabulary that the server knows.

        picture: a path, bytes, an open file, a Pillow image, an RGB array or an ImageId, see `Picture`.
        categories: for each its name, or a list of its name and synonyms; vocabulary: a name in their place.
        request_id: an id for logs and traces; without it one is made up.
        timeout: seconds, in place of the client's.
        options: those of `Options` and `WordOptions`, for example `contrast="auto"`, where they are explained.
        """
        message = request.segment(picture, categories, vocabulary, request_id or str(uuid.uuid4()), **options)
        return result.segmentation(self._call(self._stub.Segment, message, timeout))

    def segment_stream(
        self,
        pictures: Iterable[Picture | Request],
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        any_order: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Iterator[stream.StreamItem]:
        """Segments many pictures over one stream, and yields the number of each with its result or its error.

        pictures: a `Request` in the place of a picture has words, a timeout or options of its own.
        timeout: seconds for each picture. any_order: yields answers as they are ready.
        The other arguments are those of `segment`, for the pictures without their own.

        A file that cannot be read is its picture's error, an InvalidRequest with the OSError as `__cause__`.
        Pictures are taken only as fast as the server works. A stream that its server ends before the last answer is
        opened again, and what was not answered is sent again; so it is where a picture is refused for now.
        """
        seconds = timeouts.of_call(timeout, self.timeout)
        defaults = stream.Defaults(categories, vocabulary, seconds, options)
        requests = stream.StreamRequests(defaults, any_order=any_order)
        attempts = StreamAttempts(seconds, self.ready_timeout)
        return sync_stream.items(self._stub.SegmentStream, self._metadata, requests, pictures, attempts)

    def live(
        self,
        frames: Iterable[Picture | Request] | None = None,
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        in_flight: int = 2,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Live:
        """Segments the newest frame of a camera, again and again, and drops the frames that it has no time for.

        frames: is read by a thread of its own, as fast as it yields. Without it frames are handed over by
            `Live.offer`. Do not write into an array that was handed over.
        in_flight: frames that are under way at the same time: with 2 one travels while the other is computed.
        timeout: seconds for each frame, from when it was handed over to its answer.
        The other arguments are those of `segment`, for the frames that are no `Request` with their own.
        """
        seconds = timeouts.of_call(timeout, self.timeout)
        defaults = stream.Defaults(categories, vocabulary, seconds, options)
        attempts = StreamAttempts(seconds, self.ready_timeout)
        return Live(self._stub.Segment, self._metadata, defaults, attempts, frames, in_flight)

    def create_vocabulary(
        self, categories: Words, *, embed: bool = False, timeout: float | None = None, **options: Unpack[WordOptions]
    ) -> Vocabulary:
        """Registers words under a name; with `embed` their text embeddings are computed at once.

        options: those of `WordOptions`.
        """
        message = request.new_vocabulary(categories, embed=embed, **options)
        made = self._call(self._stub.CreateVocabulary, message, timeout)
        return vocabulary(made.vocabulary, made.warnings)

    def prepare_vocabulary(
        self,
        words: Words | str | None = None,
        on_progress: Callable[[Preparation], None] | None = None,
        *,
        vocabulary: str | None = None,
        timeout: float | None = None,
        **options: Unpack[WordOptions],
    ) -> Preparation:
        """Has the server compute the text embeddings of words, or of a vocabulary by its name, and waits for them.

        This is background work: other requests go before it. `on_progress` is called with each state that the server
        reports; the last one is returned. Without `timeout` the call lasts as long as the work. What is embedded stays
        when the call ends early.

        words, vocabulary: one of the two; a name may also be given as `words`.
        options: those of `WordOptions`.
        """
        message = request.preparation(words, vocabulary, **options)
        attempts = PreparationAttempts(timeout, self.ready_timeout)
        while True:
            call = self._stub.PrepareVocabulary(message, timeout=attempts.timeout(), metadata=self._metadata)
            state: Preparation | None = None
            try:
                for answer in call:
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
            time.sleep(pause)

    def get_vocabulary(self, name: str, *, timeout: float | None = None) -> Vocabulary:
        """Returns a vocabulary with its categories."""
        message = vocabulary_pb2.GetVocabularyRequest(name=name)
        return vocabulary(self._call(self._stub.GetVocabulary, message, timeout).vocabulary)

    def list_vocabularies(self, *, timeout: float | None = None) -> Iterator[Vocabulary]:
        """Yields the vocabularies that the server knows, without their categories."""
        message = vocabulary_pb2.ListVocabulariesRequest()
        while True:
            page = self._call(self._stub.ListVocabularies, message, timeout)
            yield from map(vocabulary, page.vocabularies)
            if not page.next_page_token:
                return
            message.page_token = page.next_page_token

    def delete_vocabulary(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a registered vocabulary."""
        self._call(self._stub.DeleteVocabulary, vocabulary_pb2.DeleteVocabularyRequest(name=name), timeout)

    def server_info(self, *, timeout: float | None = None) -> pb.GetServerInfoResponse:
        """Returns the server's model, limits, defaults and vocabularies; see proto/sed/v1/server_info.proto."""
        return self._call(self._stub.GetServerInfo, pb.GetServerInfoRequest(), timeout)

    def wait_until_ready(self, *, timeout: float | None = None) -> None:
        """Waits until a server is there and ready for requests: its model is loaded and warmed up.

        timeout: seconds, in place of the client's. Raises the last error when they are over, and at once what waiting
        does not mend, for example Unauthenticated.
        """
        attempts = health.ReadyAttempts(timeouts.of_call(timeout, self.timeout))
        while True:
            try:
                found = self._health.Check(health.QUESTION, timeout=attempts.timeout(), metadata=self._metadata)
                if health.is_ready(found):
                    return
                pause = attempts.pause_or_raise(health.not_ready())
            except grpc.RpcError as error:
                pause = attempts.pause_or_raise(errors.of_call(error), error)
            time.sleep(pause)

    def close(self) -> None:
        """Closes the connection and ends its running calls."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, method: grpc.UnaryUnaryMultiCallable[_Request, _Answer], message: _Request, timeout: float | None
    ) -> _Answer:
        attempts = Attempts(timeouts.of_call(timeout, self.timeout), self.ready_timeout)
        while True:
            try:
                return method(message, timeout=attempts.timeout(), metadata=self._metadata)
            except grpc.RpcError as error:
                pause = attempts.pause_or_raise(errors.of_call(error), error)
            time.sleep(pause)
