"""Faults and restarts of replicas while clients send requests."""

import signal
import time

from balancer import Balancer
from load import Load
from processes import Replica, check, until
from stream import Stream

# Requests that are answered between one event and the next: enough that every client has several at stake.
BETWEEN = 20


class House:
    """Three replicas and the balancer."""

    def __init__(self, replicas: list[Replica], balancer: Balancer) -> None:
        self.replicas = replicas
        self.balancer = balancer

    def back(self, replica: Replica) -> None:
        """A new process in the place of one that has ended, until it takes requests."""
        replica.start()
        replica.wait_ready()
        self.balancer.wait_state(replica, "UP")

    def served(self, replica: Replica) -> int:
        """Requests that the replica has answered for the balancer."""
        return sum(passed.server == replica.name for passed in self.balancer.passed())


def killed_and_terminated(house: House, load: Load) -> str:
    """kill -9 for one, SIGTERM for another, a new process for both."""
    one, two, _ = house.replicas
    one.kill()
    house.balancer.wait_state(one, "DOWN")
    load.go_on_for(BETWEEN)
    two.send(signal.SIGTERM)
    house.balancer.wait_state(two, "NOLB", "DOWN")
    check(two.readiness() != 200, "ready while it shuts down")
    until("two has answered all that it had", lambda: house.balancer.unanswered(two) == 0)
    served = house.served(two)
    load.go_on_for(BETWEEN)
    two.wait_end(0)
    check(house.served(two) == served, "a replica that was not ready got new requests")
    house.back(one)
    house.back(two)
    load.go_on_for(BETWEEN)
    return "one killed, two drained"


def frozen(house: House, load: Load) -> str:
    """SIGSTOP: connections stay open, but nothing answers on them."""
    three = house.replicas[2]
    load.go_on_for(BETWEEN)
    begun = time.monotonic()
    three.send(signal.SIGSTOP)
    try:
        house.balancer.wait_state(three, "DOWN")
        seconds = time.monotonic() - begun
        until("what the frozen replica had is taken from it", lambda: house.balancer.unanswered(three) == 0)
        load.go_on_for(BETWEEN)
    finally:
        three.send(signal.SIGCONT)
    house.balancer.wait_state(three, "UP")
    load.go_on_for(BETWEEN)
    return f"three frozen, out after {seconds:.1f} s"


def rolling_restart(house: House, load: Load) -> str:
    """One after the other, each waited for."""
    for replica in house.replicas:
        load.go_on_for(BETWEEN)
        replica.terminate()
        house.back(replica)
    load.go_on_for(BETWEEN)
    return "all three, one by one"


def rolling_restart_with_stream(house: House, load: Load, stream: Stream) -> str:
    """The same, while a stream goes from replica to replica."""
    told = rolling_restart(house, load)
    answered = stream.answered
    until("the stream goes on", lambda: stream.expect_no_failure() and stream.answered > answered)
    check(stream.streams > 1, "no restart ended the stream")
    return f"{told}; stream: {stream.streams} in turn, {stream.answered} answers, {stream.sent_again} sent again"


def frozen_without_balancer(house: House, load: Load) -> str:
    """Only the clients can find out. Of any three requests one goes to the frozen replica; soon every client waits for
    it, so that these answers only come once it is given up, by keepalive or by the deadline of an attempt."""
    three = house.replicas[2]
    load.go_on_for(BETWEEN)
    begun = time.monotonic()
    three.send(signal.SIGSTOP)
    try:
        load.go_on_for(4 * load.clients)
        seconds = time.monotonic() - begun
    finally:
        three.send(signal.SIGCONT)
    load.go_on_for(BETWEEN)
    return f"three frozen, others answered within {seconds:.1f} s"
