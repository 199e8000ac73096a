"""64 threads against a server with 4 places: none of their requests is lost.

python overload.py HOST:PORT OPERATIONS    the server must hold no image features, and have 4 places
"""

import pathlib
import re
import sys
import time
import urllib.request
from concurrent import futures

import numpy as np
from PIL import Image
from sed_serve_client import Client, Segmentation

PICTURES = pathlib.Path(__file__).resolve().parents[3] / "models" / "sed-tiny" / "examples"
THREADS, ROUNDS = 64, 2


def main() -> None:
    """Asks from all threads at once, each with 30 seconds."""
    picture = np.asarray(Image.open(PICTURES / "farm.png").convert("RGB").resize((1200, 900)))
    with Client(sys.argv[1], timeout=30) as client:
        client.wait_until_ready()
        expected = client.segment(picture, ["cow", "tree"]).mask

        def ask(_: int) -> tuple[float, Segmentation]:
            begin = time.monotonic()
            found = client.segment(picture, ["cow", "tree"])
            return time.monotonic() - begin, found

        with futures.ThreadPoolExecutor(THREADS) as threads:
            answers = list(threads.map(ask, range(THREADS * ROUNDS)))
    assert all((found.mask == expected).all() for _, found in answers)
    refusals = rejected(sys.argv[2])
    assert refusals > 0, "the server had room for all: load it more"
    slowest = max(seconds for seconds, _ in answers)
    print(
        f"{THREADS} threads, 4 places: {len(answers)} of {len(answers)} answered, {refusals} refusals, "
        f"the slowest after {slowest:.1f} s"
    )


def rejected(operations: str) -> int:
    """Calls that the server refused because it was full."""
    with urllib.request.urlopen(f"http://{operations}/metrics") as answer:
        found = re.search(r'^sed_requests_rejected_total\{reason="queue_full"\} (\d+)', answer.read().decode(), re.M)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
