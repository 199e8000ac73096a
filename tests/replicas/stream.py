"""A client of SegmentStream: when the stream ends because its replica does, it goes on with another one."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc

from load import Question
from processes import Failed, check

MOST_OUTSTANDING = 4


class Stream:
    """Sends the questions over and over, one stream after the other, until it is told to end."""

    def __init__(self, calls: Any, questions: list[Question]) -> None:
        self.calls = calls
        self.questions = questions
        self.answered = self.sent_again = self.streams = 0
        self.failure = ""
        self._outstanding: dict[str, Question] = {}
        self._next = 0
        self._places: queue.Queue[str | None] = queue.Queue()
        # What a stream that has ended would still have sent is the next one's.
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()
        if failure[0] is None:
            self.expect_no_failure()
            check(not self._outstanding, f"{len(self._outstanding)} requests of the stream were lost")

    def expect_no_failure(self) -> bool:
        """True, or an error."""
        check(not self.failure, f"the stream failed: {self.failure}")
        return True

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._one_stream()
        except (grpc.RpcError, Failed) as error:
            self.failure = str(error)

    def _one_stream(self) -> None:
        """Until its end; what was not answered then is sent again first."""
        self.streams += 1
        places: queue.Queue[str | None] = queue.Queue()
        with self._lock:
            self._places = places
            again = list(self._outstanding)
        self.sent_again += len(again)
        for request_id in again + [""] * (MOST_OUTSTANDING - len(again)):
            places.put(request_id)
        try:
            for answer in self.calls.SegmentStream(self._messages(places)):
                if self._take(answer):
                    places.put(None if self._stop.is_set() else "")
            check(self._stop.is_set(), "a stream ended in order that was not ended by its client")
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
        finally:
            places.put(None)

    def _messages(self, places: "queue.Queue[str | None]") -> Iterator[Any]:
        """Requests, one for every place: those that are named, and new ones."""
        from sed.v1 import segmentation_service_pb2 as service

        while (request_id := places.get()) is not None:
            with self._lock:
                if self._places is not places:
                    return
                if not request_id:
                    request_id = str(self._next)
                    self._outstanding[request_id] = self.questions[self._next % len(self.questions)]
                    self._next += 1
                question = self._outstanding[request_id]
            message = service.SegmentStreamRequest(request=question.request)
            message.request.request_id = request_id
            yield message

    def _take(self, answer: Any) -> bool:
        """Checks an answer; returns False if it is the refusal of a late request, which leaves no room for another."""
        if answer.WhichOneof("outcome") == "error":
            # The request came too late for its replica. The stream ends once all that came in time is answered.
            check(answer.error.code == grpc.StatusCode.UNAVAILABLE.value[0], f"refused: {answer.error}")
            return False
        question = self._outstanding.pop(answer.request_id)
        check(answer.response.masks[0].index_png == question.mask, f"a wrong answer over the stream: {question.name}")
        self.answered += 1
        return True
