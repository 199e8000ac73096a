"""Lines on standard error while a bulk run works: the pictures done, and the servers that are away."""

from __future__ import annotations

import sys
import time


class Progress:
    """Counts pictures, and prints their number and speed every ten seconds."""

    PERIOD = 10.0

    def __init__(self, before: int, pictures: int) -> None:
        """Begins a run over `pictures`, of which `before` were done by earlier runs."""
        self._before = before
        self._pictures = pictures
        self._done = 0
        self._begin = self._said = time.monotonic()

    def add(self, done: int = 1) -> None:
        """Counts pictures that have their result, or have failed."""
        self._done += done
        now = time.monotonic()
        if now - self._said >= self.PERIOD:
            self._said = now
            self.say()

    def say(self) -> None:
        """Prints a line."""
        speed = self._done / max(time.monotonic() - self._begin, 1e-9)
        print(
            f"{self._before + self._done}/{self._pictures} pictures, {speed:.1f} pictures/s",
            file=sys.stderr,
            flush=True,
        )


class Away:
    """Names the servers that are away, each at most once a minute."""

    PERIOD = 60.0

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def waiting(self, server: str, error: Exception) -> None:
        """Prints that a server is waited for, and why."""
        self._say(server, f"waiting for {server}: {error}")

    def given_up(self, server: str, error: Exception) -> None:
        """Prints that a server gets no more pictures; its tasks all say so at the same time."""
        self._say(f"{server} given up", f"{server} gets no more pictures: {error}")

    def _say(self, what: str, line: str) -> None:
        now = time.monotonic()
        if now - self._said.get(what, -self.PERIOD) >= self.PERIOD:
            self._said[what] = now
            print(line, file=sys.stderr, flush=True)
