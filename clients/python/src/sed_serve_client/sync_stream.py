"""A stream of the client for threads, opened again if the server ends it before the last answer."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc

from . import connection, errors, stream

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from .attempts import StreamAttempts
    from .request import Picture
    from .stream import Request, StreamItem, StreamRequests
    from .v1 import segmentation_service_pb2 as pb


def items(
    method: grpc.StreamStreamMultiCallable[pb.SegmentStreamRequest, pb.SegmentStreamResponse],
    metadata: connection.CallMetadata,
    requests: StreamRequests,
    pictures: Iterable[Picture | Request],
    attempts: StreamAttempts,
) -> Iterator[StreamItem]:
    """Yields the answers of one stream after the other; each first sends what the one before left unanswered."""
    sender = _Sender(requests, pictures)
    while sender.has_next():
        call = method(sender.begin(), metadata=metadata)
        try:
            pause = yield from _answers(call, sender, attempts)
        except grpc.RpcError as error:
            if sender.failure is not None:
                raise sender.failure from None
            pause = attempts.pause_or_raise(errors.of_call(error), error)
        finally:
            sender.end()
            call.cancel()
        if pause is None:
            return
        time.sleep(pause)


def _answers(
    call: Iterable[pb.SegmentStreamResponse], sender: _Sender, attempts: StreamAttempts
) -> Generator[StreamItem, None, float | None]:
    """Yields the answers of one stream; returns the pause before the next one, None where all pictures are answered."""
    for answer in call:
        refused = stream.refusal(answer)
        pause = None if refused is None else attempts.pause(refused)
        if pause is not None:
            return pause  # those that follow would meet the same, and answers stay in order
        item = sender.answered(answer)
        if item is not None:
            if refused is None:
                attempts.answered()
            yield item
    return None if sender.is_done else attempts.pause_or_raise(stream.unfinished())


class _Sender:
    """Feeds gRPC the requests of one stream after the other, each time from the first unanswered one.

    gRPC reads them in one thread for each stream. The thread of an ended stream may still wait for the caller's next
    picture, which is then held for the next stream.
    """

    def __init__(self, requests: StreamRequests, pictures: Iterable[Picture | Request]) -> None:
        self.failure: Exception | None = None  # of the caller's pictures; gRPC would only say that iterating failed
        self._pictures = iter(pictures)
        self._taking = threading.Lock()  # held while the next picture is waited for
        self._changed = threading.Condition()  # guards all that follows
        self._requests = requests
        self._stream = 0
        self._have_ended = False

    def has_next(self) -> bool:
        """Waits for a request to send; False where the last one is answered."""
        return self._take(-1)

    @property
    def is_done(self) -> bool:
        """True once all pictures are answered."""
        with self._changed:
            return self._have_ended and self._requests.after(-1) is None

    def begin(self) -> Iterator[pb.SegmentStreamRequest]:
        """Begins another stream."""
        self.end()
        return self._messages(self._stream)

    def end(self) -> None:
        """Ends the requests of the stream that was begun last."""
        with self._changed:
            self._stream += 1
            self._changed.notify_all()

    def answered(self, answer: pb.SegmentStreamResponse) -> StreamItem | None:
        """Reads an answer; None for a request that came too late for its server, as all that follow would."""
        with self._changed:
            item = self._requests.answered(answer)
            self._changed.notify_all()
        if item is None:
            self.end()
        return item

    def _messages(self, of: int) -> Iterator[pb.SegmentStreamRequest]:
        sent = -1
        while True:
            with self._changed:
                self._changed.wait_for(lambda sent=sent: self._stream != of or self._has_room(sent))  # type: ignore[misc]
                if self._stream != of:
                    return
                found = self._requests.after(sent)
            if found is not None:
                sent, message = found
                yield message
            elif not self._take(sent):
                return

    def _has_room(self, sent: int) -> bool:
        """True if another request may be sent: one that is held, or a new one."""
        return not self._requests.is_full or self._requests.after(sent) is not None

    def _take(self, sent: int) -> bool:
        """Waits for a held request after `sent`, and reads a picture if there is none; False after the last picture."""
        with self._taking:
            if self.failure is not None:
                raise self.failure
            with self._changed:
                if self._have_ended or self._requests.after(sent) is not None:
                    return self._requests.after(sent) is not None
            try:
                message = self._requests.make(next(self._pictures))
            except StopIteration:
                with self._changed:
                    self._have_ended = True
                return False
            except Exception as failure:
                self.failure = failure
                raise
            with self._changed:
                self._requests.hold(message)
            return True
