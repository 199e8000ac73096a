"""Events from the server's surroundings: a stop of the process, a signal to reload."""

import asyncio
import signal

from attacks.base import Attack, Target
from attacks.words import complaint_unless_answered
from questions import known_words


class Freeze(Attack):
    """The whole process stands still while it works, as in a live migration or a paused container."""

    name = "freeze"
    stopped = 3.0
    seconds = 4.5
    before = 1.0
    clients = 2
    deadline = 0.5

    async def strike(self, target: Target) -> None:
        async def ask() -> None:
            while True:
                await target.ordinary_request(known_words(), 30.0)

        asking = [asyncio.create_task(ask()) for _ in range(self.clients)]
        try:
            await asyncio.sleep(self.before)
            target.server.send(signal.SIGSTOP)
            await asyncio.sleep(self.stopped)
            target.server.send(signal.SIGCONT)
            target.did["freezes"] += 1
            await asyncio.Event().wait()
        finally:
            if target.server.alive:
                target.server.send(signal.SIGCONT)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def verify(self, target: Target) -> list[str]:
        return await complaint_unless_answered(target, "after a freeze", known_words(), self.deadline)


class HangUps(Attack):
    """SIGHUP, which asks a server to read its files again, also where it has none."""

    name = "SIGHUP"
    seconds = 1.5

    async def strike(self, target: Target) -> None:
        target.server.send(signal.SIGHUP)
        target.did["signals"] += 1
        await asyncio.sleep(0.3)


ATTACKS: list[Attack] = [Freeze(), HangUps()]
