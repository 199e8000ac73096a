"""Requests and answers of a stream; the same for both kinds of client."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import duration_pb2

from . import errors, request, result
from .v1 import segmentation_service_pb2 as pb

if TYPE_CHECKING:
    from .request import Options, Picture, Words

StreamItem: TypeAlias = tuple[int, "result.Segmentation | errors.SedError"]
"""Which picture of the stream, from 0, and its result or the error that concerns it alone."""


class StreamRequests:
    """Makes the requests of one stream, which have the words and options in common; their ids are their numbers."""

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
        self.failure: Exception | None = None  # of the caller's pictures; gRPC would only say that iterating failed

    def next(self, picture: Picture) -> pb.SegmentStreamRequest:
        """Makes the request for the next picture."""
        item = request.segment(picture, self._categories, self._vocabulary, str(self._made), **self._options)
        self._made += 1
        return pb.SegmentStreamRequest(request=item, timeout=self._timeout, any_order=self._any_order)


def item(answer: pb.SegmentStreamResponse) -> StreamItem:
    """Reads one answer."""
    number = int(answer.request_id)
    if answer.HasField("error"):
        return number, errors.of_stream_item(answer.error)
    return number, result.segmentation(answer.response)
