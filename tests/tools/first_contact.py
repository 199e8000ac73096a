"""The two halves of first_contact, each beside a fresh server at $SED_ADDRESS."""

import argparse
import contextlib
import os
import pathlib
import statistics
import threading
import time

from sed_serve_client import Client, SedError

PICTURE = pathlib.Path(__file__).parents[2] / "models/sed-tiny/examples/farm.png"
#: Words of requests that go on while others are prepared.
KNOWN = [f"thing number {number}" for number in range(20)]


def first_answer(address: str, vocabulary: str) -> None:
    """Asks a fresh server for a cold vocabulary, once, and watches how much of it is embedded meanwhile."""
    seen: list[int] = []
    answered = threading.Event()

    def watch() -> None:
        with Client(address) as client:
            while not answered.wait(1):
                seen.append(client.get_vocabulary(vocabulary).embedded_phrases)

    with Client(address) as client:
        phrases = client.get_vocabulary(vocabulary).phrases
        watcher = threading.Thread(target=watch)
        watcher.start()
        begun = time.monotonic()
        found = client.segment(PICTURE, vocabulary=vocabulary)
        seconds = time.monotonic() - begun
        answered.set()
        watcher.join()
    assert seen == sorted(seen), f"progress fell: {seen}"
    print(f"{vocabulary}, cold: {phrases} phrases, answered after {seconds:.1f} s by one call of the client,")
    print(f"  {len(found.present)} categories present; embedded, second by second: {seen[:: max(1, len(seen) // 12)]}")


def latencies(client: Client, seconds: float) -> list[float]:
    """Seconds that requests with known words take, one after the other."""
    taken = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        client.segment(PICTURE, KNOWN)
        taken.append(time.monotonic() - begun)
    return taken


def beside(address: str, vocabulary: str, seconds: float) -> None:
    """Compares the latency of requests alone and beside a preparation, in turns that overlap nothing else."""
    with Client(address) as client, Client(address) as other:
        client.prepare_vocabulary(KNOWN)
        latencies(client, 5)
        alone = latencies(client, seconds)
        states: list[int] = []

        def prepare() -> None:
            with contextlib.suppress(SedError):  # it ends when the measurement does
                other.prepare_vocabulary(vocabulary, lambda now: states.append(now.embedded))

        preparing = threading.Thread(target=prepare)
        preparing.start()
        while not states:
            time.sleep(0.1)
        first = states[-1]
        during = latencies(client, seconds)
        last, ended = states[-1], not preparing.is_alive()
        other.close()
        preparing.join()
    assert states == sorted(states), f"progress fell: {states}"
    for name, taken in (("alone", alone), (f"beside {vocabulary}", during)):
        p50, p95 = (statistics.quantiles(taken, n=100)[at - 1] for at in (50, 95))
        print(f"{name}: {len(taken)} requests, p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms")
    ratio = statistics.quantiles(during, n=20)[-1] / statistics.quantiles(alone, n=20)[-1]
    print(f"p95 ratio {ratio:.2f}; {last - first} phrases prepared meanwhile{', all of them' if ended else ''}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["answer", "beside"])
    parser.add_argument("--vocabulary", default="ade20k-847")
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    server = os.environ["SED_ADDRESS"]
    if asked.part == "answer":
        first_answer(server, asked.vocabulary)
    else:
        beside(server, asked.vocabulary, asked.seconds)
