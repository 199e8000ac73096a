"""Segments a folder of pictures on several replicas from a Ray cluster, and writes one result for each picture.

python bulk_ray.py PICTURES RESULTS --servers HOST:PORT,HOST:PORT --words "cow, house|barn, tree"

Needs `pip install "ray[data]"`. Ray Data deals blocks of pictures to actors, holds blocks back while all actors are
busy, and gives the blocks of an actor that died to another one. Within an actor `bulk_asyncio` bounds the requests,
tries again what passes, and waits for replicas that are away. A result is written in one step under its picture's name,
and a picture that has one is skipped: so a block that is worked on twice leaves one result for each picture.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from bulk_asyncio import ending, segment_all
from bulk_options import Task, arguments, number, pictures_and_results, task_of
from bulk_progress import Away, Progress

from sed_serve_client import SedError

if TYPE_CHECKING:
    import numpy as np
    from bulk_results import Results

BLOCK = 16
"""Pictures of one block: what a killed actor has done of its block is skipped, and the rest done by another one."""


class Segmenter:
    """An actor that segments blocks of pictures. It needs next to no processor: it waits for the servers."""

    def __init__(self, results: Results, task: Task) -> None:
        self._results = results
        self._task = task
        self._away = Away()

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, Any]:
        """Segments the pictures that have no result yet; returns each with the process that answered for it.

        An error that ends the run is in the answer: raised, it would be one of Ray with a long trace.
        """
        pictures, error = [Path(picture) for picture in block["picture"]], ""
        try:
            asyncio.run(segment_all(pictures, self._results, self._task, self._away))
        except SedError as failure:
            error = ending(failure)
        count = len(pictures)
        return {"picture": block["picture"], "process": [os.getpid()] * count, "error": [error] * count}


def main() -> None:
    """Segments what has no result yet."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--actors", type=number(int, 1), default=2, metavar="N", help="actors; each has --in-flight requests"
    )
    given = parser.parse_args()
    task = task_of(given)
    pictures, results = pictures_and_results(given, task)
    left = [picture for picture in pictures if not results.has(picture)]
    print(f"{len(pictures)} pictures, {len(left)} without a result", flush=True)
    if left:
        segment_by_actors(left, results, task, given.actors, Progress(len(pictures) - len(left), len(pictures)))
    results.end(pictures)


def segment_by_actors(left: list[Path], results: Results, task: Task, actors: int, progress: Progress) -> None:
    """Has actors segment pictures, and prints figures; ends the program where one of them cannot go on."""
    ray.init(include_dashboard=False)  # the cluster of RAY_ADDRESS, or one on this machine
    begin = time.monotonic()
    rows = [{"picture": str(picture)} for picture in left]
    blocks = (
        ray.data.from_items(rows, override_num_blocks=-(-len(rows) // BLOCK))
        .map_batches(
            Segmenter,
            fn_constructor_args=(results, task),
            batch_size=None,  # a whole block
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=0.25,
        )
        .iter_batches(batch_size=None)
    )
    processes: set[int] = set()
    for block in blocks:
        error = next(filter(None, block["error"].tolist()), None)
        if error is not None:
            sys.exit(error)
        processes.update(block["process"].tolist())
        progress.add(len(block["picture"]))
    progress.say()
    seconds = time.monotonic() - begin
    speed = len(left) / seconds
    print(f"{len(left)} pictures in {seconds:.1f} s, {speed:.1f} a second, by {len(processes)} processes", flush=True)


if __name__ == "__main__":
    main()
