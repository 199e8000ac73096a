"""Requests and answers of a stream; the same for both kinds of client."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import grpc
from google.protobuf import duration_pb2

from . import errors, request, result
from .v1 import segmentation_service_pb2 as pb

if TYPE_CHECKING:
    from .request import Options, Picture, Words

StreamItem: TypeAlias = tuple[int, "result.Segmentation | errors.SedError"]
"""The number of a picture in the stream, from 0, and its result or the error that concerns it alone."""

MOST_UNANSWERED = 128
"""Requests that are held until their answer. Of large ones the server reads fewer."""


class StreamRequests:
    """The requests of one stream, which have the words and options in common; their ids are their numbers.

    Each is held until it is answered, so that it can be sent again when its stream ends before.
    """

    def __init__(
        self,
        categories: Words | None,
        vocabulary: str | None,
        timeout: float,
        *,
        any_order: bool,
        options: Options,
    ) -> None:
        self._categories = categories
        self._vocabulary = vocabulary
        self._timeout = duration_pb2.Duration()
        self._timeout.FromNanoseconds(round(timeout * 1e9))
        self._any_order = any_order
        self._options: Options = options
        self._made = 0
        self._unanswered: dict[int, pb.SegmentStreamRequest] = {}

    def make(self, picture: Picture) -> pb.SegmentStreamRequest:
        """Makes the request for the next picture."""
        item = request.segment(picture, self._categories, self._vocabulary, str(self._made), **self._options)
        return pb.SegmentStreamRequest(request=item, timeout=self._timeout, any_order=self._any_order)

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
        return number, failure or result.segmentation(answer.response)


def not_ready(answer: pb.SegmentStreamResponse) -> errors.SedError | None:
    """Returns the error of a request whose words are not embedded yet, as those of all its stream; else None."""
    failure = errors.of_stream_item(answer.error) if answer.HasField("error") else None
    return failure if failure is not None and failure.reason == errors.NOT_READY else None


def unfinished() -> errors.SedError:
    """The error of a stream that its server ended without one, before its last answer."""
    return errors.Unavailable(grpc.StatusCode.UNAVAILABLE, "the server ended the stream before its last answer")
