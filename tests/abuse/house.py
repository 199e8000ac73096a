"""The server, the honest clients and the probes, and attacks on them that are played one at a time."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence

from attacks.base import Attack, Target
from lines import Child
from row import Row
from server import Server


LEAST_PRIORITY = 19


@contextlib.contextmanager
def as_from_elsewhere(*, on_leftovers: bool) -> Iterator[None]:
    """Leaves the processors to the server, the honest clients and the probes: the attackers stand for other machines.
    `on_leftovers`: they get only the time that no other process wants, which on a busy machine may be none. Nothing on
    systems other than Linux, and where this process may not raise its priority again."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, LEAST_PRIORITY)
    if on_leftovers:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, priority)


class House:
    """All that takes part."""

    def __init__(self, server: Server, target: Target, honest: Child, outside: Child, *, strict: bool) -> None:
        self.server, self.target = server, target
        self._honest, self._outside, self._strict = honest, outside, strict

    async def fresh(self) -> None:
        """A new process, under the limit."""
        await self._outside.ask("unwatch")
        await self.server.stop()
        await self.server.start()

    async def learn(self) -> None:
        """The answers of a server that has the honest clients to itself."""
        await self._honest.ask("learn", target=self._address)

    async def quiet(self, seconds: float) -> Row:
        """No attack."""
        return await self._play("no attack", [], seconds)

    async def play(self, name: str, attacks: Sequence[Attack], seconds: float) -> Row:
        """One attack, or several at once, on a server that is running or is started for it."""
        if not self.server.alive or any(attack.fresh for attack in attacks):
            await self.fresh()
        for attack in attacks:
            await attack.prepare(self.target)
        return await self._play(name, attacks, seconds)

    async def _play(self, name: str, attacks: Sequence[Attack], seconds: float) -> Row:
        server, target = self.server, self.target
        self._honest.events.clear()
        self._outside.events.clear()
        target.did.clear()
        server.memory.reset_peak()
        await self._outside.ask(
            "go", address=server.address, ops=server.ops, process=server.pid, most=server.limit.size
        )
        await self._honest.ask("go", target=self._address)
        begin = time.monotonic()
        await self._attack(attacks, seconds)
        lasted = time.monotonic() - begin
        await self._honest.ask("pause" if server.alive else "give_up")
        await self._outside.ask("pause")
        did = {what: count for what, count in target.did.items() if count}
        complaints = await self._verify(attacks)
        await asyncio.sleep(0)
        events = self._honest.events + self._outside.events
        killed = next((event for event in events if event["kind"] == "killed"), None)
        peak = killed["peak"] if killed else server.memory.peak()
        stopped = max((attack.stopped for attack in attacks), default=0.0)
        row = Row(name, bool(attacks), lasted, stopped, peak, server.exit_code, killed is not None, did, complaints)
        row.count(begin, events)
        return row

    async def _attack(self, attacks: Sequence[Attack], seconds: float) -> None:
        """Until time is up or the server has ended."""
        with as_from_elsewhere(on_leftovers=self._strict):
            await self._until_over(attacks, seconds)

    async def _until_over(self, attacks: Sequence[Attack], seconds: float) -> None:
        running = [asyncio.create_task(attack.run(self.target, seconds)) for attack in attacks]
        running = running or [asyncio.create_task(asyncio.sleep(seconds))]
        ended = asyncio.create_task(self.server.ended())
        waiting: set[asyncio.Task[None]] = set(running)
        while waiting and not ended.done():
            _, rest = await asyncio.wait([*waiting, ended], return_when=asyncio.FIRST_COMPLETED)
            waiting = {task for task in running if task in rest}
        for task in (*waiting, ended):
            task.cancel()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        for outcome in outcomes:
            # A fault of an attack is one of this test.
            if isinstance(outcome, Exception):
                raise outcome

    async def _verify(self, attacks: Sequence[Attack]) -> list[str]:
        complaints = []
        for attack in attacks:
            if not self.server.alive:
                break
            if len(attacks) == 1 or attack.verified_in_mixes:
                try:
                    complaints += await attack.verify(self.target)
                except (OSError, TimeoutError) as error:
                    complaints.append(f"after {attack.name} the server does not answer: {error!r}")
        return complaints

    @property
    def _address(self) -> str:
        return "{}:{}".format(*self.server.address)
