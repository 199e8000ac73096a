"""Events from the server's surroundings: a stop of the process, a signal to reload."""

import asyncio
import os
import signal

from attacks.base import Attack, Target
from attacks.words import complaint_if_refused
from questions import known_words


class Freeze(Attack):
    """The whole process stands still while it works, as in a live migration or a paused container.

    Behind it a request must be admitted with twice the time that it took before: one launch of seconds is no reason to
    believe that all are slow now.
    """

    name = "freeze"
    fresh = True
    stopped = 3.0
    seconds = 4.3
    before = 1.0
    clients = 2

    async def prepare(self, target: Target) -> None:
        self.usual = await target.usual_seconds(known_words)

    async def strike(self, target: Target) -> None:
        async def ask() -> None:
            while True:
                await target.ordinary_request(known_words(), 30.0)

        asking = [asyncio.create_task(ask()) for _ in range(self.clients)]
        try:
            await asyncio.sleep(self.before)
            await self._freeze(target.server.pid)
            target.did["freezes"] += 1
        finally:
            target.server.send(signal.SIGCONT)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _freeze(self, pid: int) -> None:
        """By another process, of usual priority: this one is busy with its bytes, and must not end the freeze late."""
        script = f"kill -STOP {pid}; sleep {self.stopped}; kill -CONT {pid}"
        usual = (lambda: os.setpriority(os.PRIO_PROCESS, 0, 0)) if os.geteuid() == 0 else None
        process = await asyncio.create_subprocess_exec("sh", "-c", script, preexec_fn=usual)
        await process.wait()

    async def verify(self, target: Target) -> list[str]:
        await asyncio.sleep(1.0)  # the work of before is done
        return await complaint_if_refused(target, "after a freeze", known_words, 2 * self.usual)


class HangUps(Attack):
    """SIGHUP, which asks a server to read its files again, also where it has none."""

    name = "SIGHUP"
    seconds = 1.5

    async def strike(self, target: Target) -> None:
        target.server.send(signal.SIGHUP)
        target.did["signals"] += 1
        await asyncio.sleep(0.3)


ATTACKS: list[Attack] = [Freeze(), HangUps()]
