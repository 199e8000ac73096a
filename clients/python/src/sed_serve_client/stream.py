"""Requests and answers of a stream; the same for both kinds of client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias, cast

import grpc
from google.protobuf import duration_pb2

from . import errors, request, result, retries, timeouts
from .v1 import image_pb2
from .v1 import segmentation_service_pb2 as pb

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .request import Options, Picture, Words

StreamItem: TypeAlias = tuple[int, "result.Segmentation | errors.SedError"]
"""The number of a picture in the stream, from 0, and its result or the error that concerns it alone."""

MOST_UNANSWERED = 128
"""Requests that are held until their answer. Of large ones the server reads fewer."""


class Request:
    """A picture with words, a timeout or options of its own, in place of those of its stream.

    The arguments are those of `Client.segment`. Words of its own replace the stream's. Options that are left out are
    those of the stream, `synonyms` and `contrast` included.
    """

    def __init__(
        self,
        picture: Picture,
        categories: Words | None = None,
        *,
        vocabulary: str | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.picture = picture
        self.categories = categories
        self.vocabulary = vocabulary
        self.timeout = None if timeout is None else timeouts.checked("timeout", timeout)
        self.options: Options = options


class Defaults:
    """The words, the timeout in seconds and the options of requests that have none of their own."""

    def __init__(self, categories: Words | None, vocabulary: str | None, timeout: float, options: Options) -> None:
        self._categories = categories
        self._vocabulary = vocabulary
        self._timeout = timeout
        self._options: Options = options

    def timeout_of(self, picture: Picture | Request) -> float:
        """Seconds that the server has for a picture; inf for no limit."""
        own = picture.timeout if isinstance(picture, Request) else None
        return self._timeout if own is None else own

    def message(self, picture: Picture | Request, request_id: str) -> pb.SegmentRequest:
        """Makes the message for a picture."""
        of = picture if isinstance(picture, Request) else Request(picture)
        words = (of.categories, of.vocabulary)
        if words == (None, None):
            words = (self._categories, self._vocabulary)
        options = cast("Options", {**self._options, **of.options})
        return request.segment(of.picture, *words, request_id, **options)


class StreamRequests:
    """The requests of one stream; their ids are their numbers.

    Each is held until it is answered, so that it can be sent again when its stream ends before.
    """

    def __init__(self, defaults: Defaults, *, any_order: bool) -> None:
        self._defaults = defaults
        self._any_order = any_order
        self._made = 0
        self._unanswered: dict[int, pb.SegmentStreamRequest] = {}
        self._unreadable: dict[int, errors.SedError] = {}

    def make(self, picture: Picture | Request) -> pb.SegmentStreamRequest:
        """Makes the request for the next picture.

        A picture that cannot be read is sent without content, and its error takes the place of the server's refusal:
        so it is yielded in its turn, and at once, by readers that only wait for answers.
        """
        try:
            item = self._defaults.message(picture, str(self._made))
        except OSError as error:
            self._unreadable[self._made] = errors.of_picture(error)
            item = pb.SegmentRequest(image=image_pb2.Image(encoded=b""), request_id=str(self._made))
        timeout = _duration(self._defaults.timeout_of(picture))
        return pb.SegmentStreamRequest(request=item, timeout=timeout, any_order=self._any_order)

    def hold(self, message: pb.SegmentStreamRequest) -> None:
        """Holds the request that was made last."""
        self._unanswered[self._made] = message
        self._made += 1

    def after(self, number: int) -> tuple[int, pb.SegmentStreamRequest] | None:
        """Returns the first unanswered request behind this number, with its own."""
        return next((held for held in self._unanswered.items() if held[0] > number), None)

    @property
    def is_full(self) -> bool:
        """True if no more requests may be held."""
        return len(self._unanswered) >= MOST_UNANSWERED

    def answered(self, answer: pb.SegmentStreamResponse) -> StreamItem | None:
        """Reads an answer; None for a request that came too late for its server, and stays unanswered."""
        number = int(answer.request_id)
        if number not in self._unanswered:
            raise errors.SedError(grpc.StatusCode.INTERNAL, f"the server answered request {number}, which was not open")
        failure = errors.of_stream_item(answer.error) if answer.HasField("error") else None
        if failure is not None and failure.reason == "SHUTTING_DOWN":
            return None
        del self._unanswered[number]
        failure = self._unreadable.pop(number, failure)
        return number, failure or result.segmentation(answer.response)


def _duration(seconds: float) -> duration_pb2.Duration | None:
    """Converts a timeout into a message; None where it has no limit."""
    if math.isinf(seconds):
        return None
    made = duration_pb2.Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def refusal(answer: pb.SegmentStreamResponse) -> errors.SedError | None:
    """Returns the error of a request that the server refused for now, with a delay after which to come again.

    None for all other answers, and for one that came too late for its server, which `answered` keeps unanswered.
    """
    if not answer.HasField("error"):
        return None
    failure = errors.of_stream_item(answer.error)
    later = retries.rule(failure) in (retries.Retry.ADVICE, retries.Retry.WORDS)
    return failure if later and failure.reason != "SHUTTING_DOWN" else None


def unfinished() -> errors.SedError:
    """The error of a stream that its server ended without one, before its last answer."""
    return errors.Unavailable(grpc.StatusCode.UNAVAILABLE, "the server ended the stream before its last answer")
