"""Processes that work beside the main one: a command a line goes in, an event a line comes out, both JSON.

They are processes of their own so that their clocks are not held up by the bytes of the attacks. Times of events are
those of the monotonic clock, which all processes of a machine share.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LONGEST_LINE = 1 << 22


class Child:
    """The main process's end: commands that are waited for, and the events so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[dict[str, Any]] = []
        self._process = process
        self._replies: asyncio.Queue[None] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, script: str) -> "Child":
        """Starts a script of this folder."""
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, str(HERE / script)]
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=LONGEST_LINE))

    async def ask(self, command: str, **values: Any) -> None:
        """Sends a command and waits until it is carried out."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command} | values).encode() + b"\n")
        reply = asyncio.create_task(self._replies.get())
        await asyncio.wait([reply, self._reading], return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            reply.cancel()
            raise RuntimeError(f"a process beside this one ended during `{command}`")

    async def stop(self) -> None:
        """Ends the process."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            if "done" in event:
                self._replies.put_nowait(None)
            else:
                self.events.append(event)


def emit(**event: Any) -> None:
    """Prints an event, at once."""
    print(json.dumps(event), flush=True)


async def obey(handlers: dict[str, Callable[..., Awaitable[None]]]) -> None:
    """The other end: carries out commands until there are no more."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        command = json.loads(line)
        await handlers[command.pop("do")](**command)
        emit(done=True)
