"""Three replicas behind a balancer: what they share, what becomes of requests when one of them fails or is replaced.

python scenarios.py FOLDER    for logs and the folder of text embeddings; $SED_SERVE is the program
"""

import contextlib
import functools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc

import client
import faults
import knowledge
import questions
import text_store
from balancer import NAMES, Balancer
from load import Load, Question
from processes import Failed, Replica, check, until
from stream import Stream
from table import Row, show

# With three of them on a small machine, each computes with one thread. The delay is what README and deploy/ advise:
# longer than the balancer takes to see that readiness is off.
FLAGS = ["--device", "cpu", "--threads", "1", "--cpu-threads", "1", "--shutdown-delay-seconds", "3"]
FLAGS += ["--log-level", "info,sed_server::service=warn"]  # without the line of every request
# Where the client itself spreads its requests, it also watches the health of every replica.
WITHOUT_BALANCER: dict[str, Any] = {"healthCheckConfig": {"serviceName": "sed.v1.SegmentationService"}}


class Test:
    """The house, and what single servers answer."""

    def __init__(self, house: faults.House, asked: list[Question]) -> None:
        self.house = house
        self.asked = asked

    def through_balancer(self, title: str, act: Callable[[faults.House, Load], str], retries: bool = True) -> Row:
        """Has clients ask through the balancer while `act` does what it does."""
        balancer = self.house.balancer
        before = balancer.settled()  # of earlier requests some are told late
        starts = sum(replica.starts for replica in self.house.replicas)
        with client.open_channel(balancer.address, retries) as channel, self._load(channel) as load:
            told = act(self.house, load)

        def answered() -> list[Any]:
            """The balancer's own account: nothing but Segment, and nothing but answers."""
            found = [passed for passed in balancer.passed(before) if passed.path.endswith("/Segment")]
            return [passed for passed in found if (passed.http, passed.grpc, passed.end) == (200, "-", "--")]

        until("the balancer counts as many answers as the clients", lambda: len(answered()) == load.answered)
        shares = [sum(p.server == replica.name for p in answered()) for replica in self.house.replicas]
        check(all(shares), f"a replica has answered nothing: {shares}")
        retried = sum(p.attempt for p in answered())
        redispatched = sum(p.redispatched for p in answered())
        restarts = sum(replica.starts for replica in self.house.replicas) - starts
        return Row(title, load, str(retried), str(redispatched), shares, restarts, told)

    def without_balancer(
        self, title: str, act: Callable[[faults.House, Load], str], attempt: float | None = None
    ) -> Row:
        """Has clients spread their requests over the replicas by themselves, as over a headless Service."""
        starts = sum(replica.starts for replica in self.house.replicas)
        target = "ipv4:" + ",".join(replica.address for replica in self.house.replicas)
        with client.open_channel(target, **WITHOUT_BALANCER) as channel, self._load(channel, attempt) as load:
            told = act(self.house, load)
        restarts = sum(replica.starts for replica in self.house.replicas) - starts
        return Row(title, load, "", "", [], restarts, told)

    def rolling_restart_without_retries(self) -> Row:
        """A drain that is waited for costs no request a second attempt; a stream goes on with another replica."""
        with Stream(client.calls_of(self.house.balancer.address), self.asked) as stream:
            act = functools.partial(faults.rolling_restart_with_stream, stream=stream)
            return self.through_balancer("rolling restart, no retries", act, retries=False)

    def _load(self, channel: grpc.Channel, attempt: float | None = None) -> Load:
        from sed.v1 import segmentation_service_pb2_grpc as services

        stub = services.SegmentationServiceStub(channel)
        if attempt is None:
            return Load(self.asked, stub.Segment)
        ask = functools.partial(client.segment_impatiently, stub, attempt=attempt, seconds=120)
        return Load(self.asked, ask)


def all_the_same(house: faults.House, load: Load) -> str:
    """Leaves all replicas undisturbed."""
    until("every replica has been asked", lambda: all(house.served(replica) for replica in house.replicas))
    load.go_on_for(60)
    return "nothing"


def overload(folder: pathlib.Path, asked: list[Question], ending: contextlib.ExitStack) -> Row:
    """More clients than a server takes at once: each refusal says when to come again, and the caller does. It comes
    through the balancer as it is, although it comes before the picture is sent."""
    folder.mkdir()
    narrow = Replica("one", 21, folder, [*FLAGS, "--max-concurrent-requests", "1"])
    balancer = Balancer(folder, 22, [narrow])
    ending.callback(narrow.stop)
    ending.callback(balancer.stop)
    narrow.start()
    narrow.wait_ready()
    balancer.start()
    balancer.wait_state(narrow, "UP")
    refusals: list[int] = []

    def ask(request: Any) -> Any:
        answer, refused = client.segment_patiently(calls, request, seconds=120)
        refusals.append(refused)
        return answer

    calls = client.calls_of(balancer.address)
    # So many that a fast machine, too, does not answer all of them in the half second that a call waits for a place.
    with Load(asked, ask, clients=24) as load:
        load.go_on_for(40)
        until("a request was refused and answered later", lambda: sum(refusals) > 0)
    narrow.terminate()
    balancer.stop()
    return Row("one replica, one place", load, "", "", [], 0, f"{sum(refusals)} refusals, obeyed by the callers")


def bench(target: str) -> str:
    """Throughput and latency as `sed-serve bench load` measures them; nothing may fail."""
    command = [os.environ["SED_SERVE"], "--json", "bench", "load", "--server", f"http://{target}"]
    command += ["--clients", "6", "--requests", "90", "--warm-up", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"bench load failed: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)["result"]
    counts = result["counts"]
    check(counts["succeeded"] == counts["attempted"] == 90, f"bench load lost requests: {counts}, {result['errors']}")
    return f"{result['throughput']:.1f} images/s, median {result['latency_ms']['p50']:.0f} ms"


def run(folder: pathlib.Path, ending: contextlib.ExitStack) -> None:
    """All scenarios, on one set of replicas."""
    shared = folder / "text"
    sharing = [*FLAGS, "--text-cache-dir", str(shared)]
    replicas = [Replica(name, number, folder, sharing) for number, name in enumerate(NAMES, 1)]
    single, late = Replica("single", 11, folder, FLAGS), Replica("late", 12, folder, sharing)
    balancer = Balancer(folder, 100, replicas)
    for replica in [*replicas, single, late]:
        ending.callback(replica.stop)
    ending.callback(balancer.stop)

    single.start()
    single.wait_ready()
    asked = questions.answered_by(single)
    single.terminate()
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.wait_ready()
    balancer.start()
    for replica in replicas:
        balancer.wait_state(replica, "UP")
    test = Test(faults.House(replicas, balancer), asked)
    print(f"three replicas are up; {len(asked)} questions, answered by a single server\n", flush=True)

    late.start()
    late.wait_ready()
    print("text embeddings     ", text_store.shared_embeddings(replicas, late, shared))
    late.terminate()
    print("vocabularies        ", knowledge.named_vocabularies(replicas, balancer))
    print("images              ", knowledge.image_ids(replicas, balancer))
    print("bench, one replica  ", bench(replicas[0].address))
    print("bench, all, balancer", bench(balancer.address), "\n", flush=True)

    rows = [test.through_balancer("undisturbed", all_the_same)]
    rows.append(test.through_balancer("kill -9 and SIGTERM", faults.killed_and_terminated))
    unprotected = test.through_balancer("the same, no retries", faults.killed_and_terminated, retries=False)
    rows.append(test.through_balancer("frozen", faults.frozen))
    rows.append(test.rolling_restart_without_retries())
    rows.append(test.without_balancer("rolling restart, direct", faults.rolling_restart))
    rows.append(test.without_balancer("frozen, direct", faults.frozen_without_balancer, attempt=8))
    rows.append(overload(folder / "narrow", asked, ending))
    show([*rows, unprotected])
    for row in rows:
        check(not row.load.lost, f"{row.title}: requests were lost: {dict(row.load.lost)}")
    # Without retries, what is lost is lost in the way that the policy covers.
    others = [failure for failure in unprotected.load.lost if not failure.startswith("UNAVAILABLE ")]
    check(not others, f"lost in a way that no retry policy covers: {others}")


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    generated = folder / "generated"
    generated.mkdir()
    with contextlib.ExitStack() as ending:
        try:
            client.generate(str(generated))
            run(folder, ending)
        except Failed as failure:
            for log in sorted(folder.glob("**/*.log")):
                print(f"-- {log.relative_to(folder)}", *log.read_text().splitlines()[-15:], sep="\n", file=sys.stderr)
            sys.exit(f"failed: {failure}")


if __name__ == "__main__":
    main()
