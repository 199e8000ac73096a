"""Clients that ask questions, one after the other, and compare every answer with that of a single server."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from client import reason
from processes import Failed, until


class Question(NamedTuple):
    """A request, and the mask that a single server answers it with."""

    name: str
    request: Any
    mask: bytes


class Load:
    """A closed loop of clients; what becomes of every request is counted."""

    # Far above what a scenario needs: a fault that makes every request fail at once does not run forever.
    MOST_REQUESTS = 5000

    def __init__(self, questions: list[Question], ask: Callable[[Any], Any], clients: int = 6) -> None:
        self.questions = questions
        self.ask = ask
        self.clients = clients
        self.requests = 0
        self.answered = 0
        self.lost: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if failure[0] is None and self.wrong:
            raise Failed(f"{len(self.wrong)} answers differ from the single server's: {self.wrong[:3]}")

    def _client(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
                if number >= self.MOST_REQUESTS:
                    return
                self.requests += 1
            self._one(self.questions[number % len(self.questions)])

    def _one(self, question: Question) -> None:
        try:
            answer = self.ask(question.request)
        except grpc.RpcError as error:
            with self._lock:
                self.lost[f"{error.code().name} {reason(error) or error.details()}"] += 1
            self._stop.wait(0.05)  # a refused client does not come again at once
            return
        with self._lock:
            self.answered += 1
            if answer.masks[0].index_png != question.mask:
                self.wrong.append(question.name)

    def go_on_for(self, answers: int) -> None:
        """Waits for so many answers more."""
        goal = self.answered + answers
        until(f"{answers} more answers", lambda: self.answered >= goal or self.requests >= self.MOST_REQUESTS)
        if self.answered < goal:
            raise Failed(f"{self.requests} requests, and only {self.answered} answers: {dict(self.lost)}")

    def expect_none_lost(self) -> None:
        """The claim of most scenarios."""
        if self.lost:
            raise Failed(f"requests were lost: {dict(self.lost)}")
