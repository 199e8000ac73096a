"""Streams that outlive their connections, against a server whose connections become old within seconds.

python aged.py HOST:PORT OPS_HOST:OPS_PORT
"""

import asyncio
import json
import pathlib
import re
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator

from sed_serve_client import AsyncClient, Client, Segmentation

CLIENTS = pathlib.Path(__file__).resolve().parents[1]
PICTURES = 300


def main() -> None:
    """Sends the pictures over a stream of each client, in both orders."""
    target, operations = sys.argv[1:]
    question = json.loads((CLIENTS / "question.json").read_text())
    picture, words = (CLIENTS / question["image"]).read_bytes(), question["categories"]

    def paced() -> Iterator[bytes]:
        for number in range(PICTURES):
            time.sleep(pause_before(number))
            yield picture

    async def paced_too() -> AsyncIterator[bytes]:
        for number in range(PICTURES):
            await asyncio.sleep(pause_before(number))
            yield picture

    async def asked() -> list[tuple[int, object]]:
        async with AsyncClient(target) as client:
            return [item async for item in client.segment_stream(paced_too(), words, top_k=2)]

    with Client(target) as client:
        expected = client.segment(picture, words, top_k=2).mask
        for any_order in (False, True):
            before = reconnects(operations)
            items = list(client.segment_stream(paced(), words, top_k=2, any_order=any_order))
            check(items, any_order, expected, reconnects(operations) - before)
    before = reconnects(operations)
    check(asyncio.run(asked()), False, expected, reconnects(operations) - before)


def pause_before(number: int) -> float:
    """Bursts, so that some requests wait unread when a connection is old, and the stream outlives several."""
    return 0.4 if number % 20 == 0 else 0.0


def check(items: list[tuple[int, object]], any_order: bool, expected, again: int) -> None:
    """Every picture was answered, and once."""
    numbers = [number for number, _ in items]
    assert (sorted(numbers) if any_order else numbers) == list(range(PICTURES)), numbers
    for number, found in items:
        assert isinstance(found, Segmentation), (number, found)
        assert (found.mask == expected).all(), number
    assert again >= 2, f"only {again} streams were ended for the age of their connection"
    print(f"{PICTURES} pictures, each answered once, over a stream that was opened again {again} times")


def reconnects(operations: str) -> int:
    """Streams that the server ended because their connection was old."""
    with urllib.request.urlopen(f"http://{operations}/metrics") as answer:
        found = re.search(r'^sed_requests_rejected_total\{reason="reconnect"\} (\d+)', answer.read().decode(), re.M)
    assert found
    return int(found[1])


if __name__ == "__main__":
    main()
