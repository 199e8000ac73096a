"""Segments a folder of pictures on several replicas with asyncio, and writes one result for each picture.

python bulk_asyncio.py PICTURES RESULTS --servers HOST:PORT,HOST:PORT --words "cow, house|barn, tree"

Run it again to go on after an interruption: pictures that have a result are skipped, and so are those that failed,
unless --retry-failed is there. Other words or options need another folder for their results. Ends with 1 if pictures
failed, and at once where the words, an option or the token are refused.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import grpc
from bulk_options import Task, arguments, pictures_and_results, task_of
from bulk_progress import Away, Progress

from sed_serve_client import (
    AsyncClient,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    SedError,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bulk_results import Results

    from sed_serve_client import Segmentation

PASSING = (Unavailable, Overloaded, DeadlineExceeded)
"""Errors of a server that may be ready later."""

MOST_TRIES = 10
"""Calls for one picture, each with its whole timeout, at whichever replica is free first. Then its error is its
result."""


class Work:
    """The pictures that are left. Each is with one worker at a time, and comes back where a replica fails."""

    def __init__(self, pictures: Iterable[Path]) -> None:
        self._waiting = collections.deque(pictures)
        self._unfinished = len(self._waiting)
        self._tries: collections.Counter[Path] = collections.Counter()
        self._changed = asyncio.Condition()

    async def take(self) -> Path:
        """Waits for a picture; forever once all are taken and none comes back."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting)
            return self._waiting.popleft()

    async def give_back(self, picture: Path) -> bool:
        """Has another worker try a picture; False if it had its tries."""
        async with self._changed:
            self._tries[picture] += 1
            if self._tries[picture] >= MOST_TRIES:
                return False
            self._waiting.append(picture)
            self._changed.notify()
            return True

    async def put_back(self, picture: Path) -> None:
        """Leaves a picture to others, which counts as no try."""
        async with self._changed:
            self._waiting.append(picture)
            self._changed.notify()

    async def finish_one(self) -> None:
        """Counts a picture that has its result."""
        async with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    async def wait(self) -> None:
        """Waits until all pictures have their results."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._unfinished == 0)


async def segment_all(
    pictures: Iterable[Path], results: Results, task: Task, away: Away, on_done: Callable[[], None] = lambda: None
) -> None:
    """Segments pictures on all servers of a task, and returns when each has its result; `on_done` is called for each.

    A picture is read when a request is free for it, so memory is bounded by their number, and a fast server gets more
    pictures than a slow one. Raises the last SedError when all servers are given up, and at once one that
    `concerns_all`.
    """
    work = Work(picture for picture in pictures if not results.has(picture))
    async with contextlib.AsyncExitStack() as opened:
        workers = []
        for server in task.servers:
            client = await opened.enter_async_context(AsyncClient(server, timeout=task.timeout, **task.security))
            worker = Worker(server, client, work, results, task, away, on_done)
            workers += [asyncio.create_task(worker.run()) for _ in range(task.in_flight)]
        done = asyncio.create_task(work.wait())
        try:
            await _first_of(done, workers)
        finally:
            for running in (done, *workers):
                running.cancel()
            await asyncio.gather(done, *workers, return_exceptions=True)


async def _first_of(done: asyncio.Task[None], workers: list[asyncio.Task[None]]) -> None:
    """Waits until all is done; raises the error of the last worker, and any that is more than a server given up."""
    left: set[asyncio.Task[None]] = set(workers)
    while not done.done():
        ended, _ = await asyncio.wait({done, *left}, return_when=asyncio.FIRST_COMPLETED)
        left -= ended
        for worker in ended - {done}:
            error = worker.exception()
            if error is not None and (not left or not isinstance(error, SedError) or concerns_all(error)):
                raise error


class Worker:
    """Sends pictures to one server; several of its runs do so at a time."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        server: str,
        client: AsyncClient,
        work: Work,
        results: Results,
        task: Task,
        away: Away,
        on_done: Callable[[], None],
    ) -> None:
        self._server = server
        self._client = client
        self._work = work
        self._results = results
        self._task = task
        self._away = away
        self._on_done = on_done

    async def run(self) -> None:
        """Sends one picture after the other; raises the error for which the server is given up."""
        while True:
            picture = await self._work.take()
            try:
                result = await self._segment(picture)
            except BaseException as error:
                await self._work.put_back(picture)  # another server, or the next run, has the picture
                if isinstance(error, SedError) and not concerns_all(error):
                    self._away.given_up(self._server, error)
                raise
            if isinstance(result, SedError):
                if await self._work.give_back(picture):
                    if isinstance(result, Unavailable):
                        await self._wait(result)
                    continue
                result = _failure(result.reason or result.code.name, result.field, result.message)
            await asyncio.to_thread(self._results.write, picture, result)
            await self._work.finish_one()
            self._on_done()

    async def _segment(self, picture: Path) -> dict[str, Any] | SedError:
        """The result of a picture, or an error after which it is to be tried again."""
        try:
            content = await asyncio.to_thread(picture.read_bytes)
        except OSError as error:
            return _failure(type(error).__name__, "", f"cannot read the picture: {error.strerror}")
        try:
            task = self._task
            found = await self._client.segment(content, task.words, vocabulary=task.vocabulary, **task.options)
            return await asyncio.to_thread(_result, self._results.number_of(picture), found)
        except SedError as error:
            if concerns_all(error) or error.code is grpc.StatusCode.UNIMPLEMENTED:  # no sed-serve
                raise
            if isinstance(error, InvalidRequest):
                return _failure(error.reason or error.code.name, error.field, error.message)
            return error

    async def _wait(self, error: SedError) -> None:
        """Waits until a server that is away is back; raises the last error where that takes too long."""
        end = time.monotonic() + self._task.patience
        while True:
            self._away.waiting(self._server, error)
            left = end - time.monotonic()
            try:
                await self._client.wait_until_ready(timeout=min(left, Away.PERIOD))
                break
            except SedError as still:
                if left <= Away.PERIOD or not isinstance(still, PASSING):
                    if not concerns_all(still):
                        self._away.given_up(self._server, still)
                    raise
                error = still


def concerns_all(error: SedError) -> bool:
    """True for the error of the words, the options or the token, which are the same for all pictures and servers."""
    if isinstance(error, (NotFound, PermissionDenied, Unauthenticated)):
        return True
    if error.reason.startswith(("CATEGORY_", "VOCABULARY_")) or error.field.startswith("vocabulary"):
        return error.retry_after is None  # else the words are being prepared
    is_long_list = error.reason == "MESSAGE_TOO_LARGE" and error.metadata.get("unit") == "entries"
    return is_long_list or error.reason in {"OPTION_INVALID", "REQUEST_MALFORMED"}


def ending(error: SedError) -> str:
    """The last line of a run that an error has ended."""
    if concerns_all(error):
        return f"error: {error}; this concerns all pictures, and the run has ended"
    return f"error: all servers are given up, the last for {error}; run it again to go on"


def _result(image_id: int, found: Segmentation) -> dict[str, Any]:
    return {
        "size": found.image_size,
        "model": found.model_digest,
        "categories": {category.index + 1: category.name for category in found.categories},  # the ids of to_coco
        "found": found.to_coco(image_id),
    }


def _failure(reason: str, field: str, message: str) -> dict[str, Any]:
    return {"error": {"reason": reason, "field": field, "message": message}}


def main() -> None:
    """Segments what has no result yet."""
    given = arguments(__doc__).parse_args()
    task = task_of(given)
    pictures, results = pictures_and_results(given, task)
    left = [picture for picture in pictures if not results.has(picture)]
    print(f"{len(pictures)} pictures, {len(left)} without a result", flush=True)
    begin, progress = time.monotonic(), Progress(len(pictures) - len(left), len(pictures))
    try:
        asyncio.run(segment_all(left, results, task, Away(), progress.add))
    except SedError as error:
        sys.exit(ending(error))
    progress.say()
    seconds = time.monotonic() - begin
    print(f"{len(left)} pictures in {seconds:.1f} s, {len(left) / seconds:.1f} a second", flush=True)
    results.end(pictures)


if __name__ == "__main__":
    main()
