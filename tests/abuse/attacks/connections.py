"""Connections that do nothing, and frames that mean nothing."""

import asyncio
import os
import struct
from contextlib import AsyncExitStack

from attacks.base import INFO, Attack, Target, forever
from wire import ACK, PING, SETTINGS, WINDOW_UPDATE, frame

IN_A_BURST = 500


class IdleConnections(Attack):
    """Open connections that answer pings and call nothing."""

    seconds = 2.0

    def __init__(self, name: str, connections: int) -> None:
        self.name, self.connections = name, connections
        self.goal = ("connections", connections)

    async def strike(self, target: Target) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(self.connections):
                await stack.enter_async_context(await target.connect())
            await forever()


class Flood(Attack):
    """Frames as fast as they go."""

    seconds = 1.2

    async def strike(self, target: Target) -> None:
        async with await target.connect() as connection:
            while True:
                await connection.write(b"".join(self.frame() for _ in range(IN_A_BURST)))
                target.did["frames"] += IN_A_BURST
                await asyncio.sleep(0)

    def frame(self) -> bytes:
        """One of them."""
        raise NotImplementedError


class Pings(Flood):
    """Pings."""

    name = "flood of pings"

    def frame(self) -> bytes:
        return frame(PING, 0, 0, os.urandom(8))


class Settings(Flood):
    """Settings, each of which wants an answer, and answers to settings that were never sent."""

    name = "flood of settings"

    def frame(self) -> bytes:
        return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) + frame(SETTINGS, ACK, 0)


class Windows(Flood):
    """Windows that open by one byte each."""

    name = "flood of window updates"

    def frame(self) -> bytes:
        return frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))


class Resets(Attack):
    """Calls that are cancelled as soon as they are made."""

    name = "flood of resets"
    seconds = 1.5

    async def strike(self, target: Target) -> None:
        async with await target.connect() as connection:
            while True:
                await connection.reset(await connection.call(INFO, end=True))


ATTACKS: list[Attack] = [
    # More than a soft limit of 1024 descriptors lets in, as it is where nothing raises it.
    IdleConnections("1100 idle connections", 1100),
    # Many more than the memory of this configuration accepts.
    IdleConnections("every connection taken", 1400),
    Pings(),
    Settings(),
    Windows(),
    Resets(),
]
