"""Segments a folder of pictures on several replicas with asyncio, and writes one result for each picture.

python bulk_asyncio.py PICTURES RESULTS --servers HOST:PORT,HOST:PORT --words "cow, house|barn, tree"

Run it again to go on after an interruption: pictures that have a result are skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulk_results import Results, pictures_of

from sed_serve_client import AsyncClient, DeadlineExceeded, InvalidRequest, Overloaded, SedError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sed_serve_client import Segmentation, Words

PASSING = (Unavailable, Overloaded, DeadlineExceeded)
"""Errors that say nothing of the picture: it is sent again, to whichever replica is free first."""

MOST_TRIES = 10
"""Calls for one picture, each with its whole timeout. Then its error is its result."""


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

    async def finish_one(self) -> None:
        """Counts a picture that has its result."""
        async with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    async def wait(self) -> None:
        """Waits until all pictures have their results."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._unfinished == 0)


async def segment_all(  # noqa: PLR0913
    pictures: Iterable[Path],
    results: Results,
    servers: list[str],
    words: Words,
    *,
    in_flight: int = 8,
    timeout: float = 60.0,
    patience: float = 600.0,
) -> None:
    """Segments pictures on all servers, and returns when each has its result.

    in_flight: requests at a time for each server. A picture is read when one of them is free, so memory is bounded by
        their number, and a fast server gets more pictures than a slow one.
    timeout: seconds for each call. patience: seconds that a server may be away before its workers give up.
    Raises the last SedError when all servers are given up.
    """
    work = Work(picture for picture in pictures if not results.has(picture))
    async with contextlib.AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(AsyncClient(server, timeout=timeout)) for server in servers]
        workers = [
            asyncio.create_task(_work(client, work, results, words, patience))
            for client in clients
            for _ in range(in_flight)
        ]
        done = asyncio.create_task(work.wait())
        try:
            await _first_of(done, workers)
        finally:
            for task in (done, *workers):
                task.cancel()
            await asyncio.gather(done, *workers, return_exceptions=True)


async def _first_of(done: asyncio.Task[None], workers: list[asyncio.Task[None]]) -> None:
    """Waits until all is done, or no worker is left; then raises the error of the last one."""
    left: set[asyncio.Task[None]] = set(workers)
    while not done.done():
        ended, _ = await asyncio.wait({done, *left}, return_when=asyncio.FIRST_COMPLETED)
        left -= ended
        if not left:
            (ended - {done}).pop().result()


async def _work(client: AsyncClient, work: Work, results: Results, words: Words, patience: float) -> None:
    """Sends one picture after the other to one server."""
    while True:
        picture = await work.take()
        try:
            found = await client.segment(await asyncio.to_thread(picture.read_bytes), words)
            result = await asyncio.to_thread(_result, picture, found)
        except PASSING as error:
            if await work.give_back(picture):
                if isinstance(error, Unavailable):
                    await client.wait_until_ready(timeout=patience)
                continue
            result = _failure(error)
        except InvalidRequest as error:
            result = _failure(error)
        except BaseException:
            await work.give_back(picture)  # this worker ends; another one, or the next run, has the picture
            raise
        await asyncio.to_thread(results.write, picture, result)
        await work.finish_one()


def _result(picture: Path, found: Segmentation) -> dict[str, Any]:
    names = {category.index: category.name for category in found.categories}
    return {
        "size": found.image_size,
        "model": found.model_digest,
        "categories": names,
        "found": found.to_coco(picture.name),
    }


def _failure(error: SedError) -> dict[str, Any]:
    return {"error": {"reason": error.reason or error.code.name, "field": error.field, "message": error.message}}


def words_of(text: str) -> list[list[str]]:
    """Reads words, separated by commas, with synonyms by `|`."""
    return [[phrase.strip() for phrase in category.split("|")] for category in text.split(",")]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that the bulk examples have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("results", type=Path, help="folder for the results; on a cluster one that all machines share")
    parser.add_argument("--servers", required=True, type=lambda text: text.split(","), metavar="HOST:PORT,...")
    parser.add_argument("--words", required=True, type=words_of, help="separated by commas, synonyms by |")
    parser.add_argument("--in-flight", type=int, default=8, metavar="N", help="requests at a time for each server")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for each call")
    return parser


def main() -> None:
    """Segments what has no result yet."""
    given = arguments(__doc__).parse_args()
    pictures = pictures_of(given.pictures)
    results = Results(given.pictures, given.results)
    left = [picture for picture in pictures if not results.has(picture)]
    print(f"{len(pictures)} pictures, {len(left)} without a result")
    begin = time.monotonic()
    try:
        asyncio.run(
            segment_all(left, results, given.servers, given.words, in_flight=given.in_flight, timeout=given.timeout)
        )
    except SedError as error:
        sys.exit(f"all servers are given up, the last for {error}; run it again to go on")
    seconds = time.monotonic() - begin
    print(f"{len(left)} pictures in {seconds:.1f} s, {len(left) / seconds:.1f} a second")


if __name__ == "__main__":
    main()
