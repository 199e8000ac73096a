"""Uploads that never end, end badly, or never begin."""

import asyncio
import functools
from contextlib import AsyncExitStack

from attacks.base import (
    CREATE,
    HEALTH,
    INFO,
    LIVE,
    SEGMENT,
    STREAM,
    ZEROS,
    Attack,
    Target,
    insist,
    request_bytes,
    send_unfinished,
    together,
    until_closed,
)
from limits import MIB
from wire import Connection, prefixed


class UnfinishedBodies(Attack):
    """Messages of which the last byte never comes."""

    memory = True

    def __init__(self, name: str, path: str, calls: int, size: int, connections: int = 1) -> None:
        self.name, self.path = name, path
        self.calls, self.size, self.connections = calls, size, connections
        self.goal = ("bytes", calls * (size - 1))

    async def strike(self, target: Target) -> None:
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(await target.connect()) for _ in range(self.connections)]
            await together(
                insist(opened[number % len(opened)], lambda to: send_unfinished(to, self.path, self.size))
                for number in range(self.calls)
            )


class UnfinishedWebBodies(Attack):
    """The same by gRPC-Web over HTTP/1.1, a connection each."""

    name = "unfinished health checks, gRPC-Web"
    memory = True
    calls, size = 150, 4 * MIB - 64
    goal = ("bytes", calls * (size - 1))

    async def strike(self, target: Target) -> None:
        await together(self._one(target) for _ in range(self.calls))

    async def _one(self, target: Target) -> None:
        reader, writer = await asyncio.open_connection(*target.server.address)
        try:
            target.did["connections"] += 1
            head = f"POST {HEALTH} HTTP/1.1\r\nhost: sed-serve\r\ncontent-type: application/grpc-web+proto\r\n"
            writer.write(f"{head}content-length: {self.size + 5}\r\n\r\n".encode())
            writer.write(prefixed(b"", announced=self.size))
            for start in range(0, self.size - 1, MIB // 4):
                chunk = ZEROS[: min(MIB // 4, self.size - 1 - start)]
                writer.write(chunk)
                target.did["bytes"] += len(chunk)
                await writer.drain()
            await reader.read()  # until the server answers or closes
        finally:
            writer.transport.abort()


class Trickle(Attack):
    """64 uploads of one byte a second."""

    name = "uploads of 1 byte/s"
    seconds = 2.5
    path, uploads, pause = SEGMENT, 64, 1.0

    async def strike(self, target: Target) -> None:
        async with await target.connect() as connection:
            message = prefixed(request_bytes())

            async def upload(connection: Connection) -> int:
                stream = await connection.call(self.path)
                for byte in message:
                    await connection.send(stream, bytes([byte]))
                    await asyncio.sleep(self.pause)
                return stream

            await together(insist(connection, upload) for _ in range(self.uploads))


class HeadersOnly(Attack):
    """Nothing but headers: 64 calls without a byte of body, or with an end in its place."""

    seconds = 2.0
    calls = 64

    def __init__(self, name: str, path: str, *, end: bool) -> None:
        self.name, self.path, self.end = name, path, end

    async def strike(self, target: Target) -> None:
        async with await target.connect() as connection:
            call = functools.partial(Connection.call, path=self.path, end=self.end)
            await together(insist(connection, call) for _ in range(self.calls))


class HalfClosed(Attack):
    """Requests behind which the client closes its half of the connection, in the middle or at the end."""

    name = "half-closed connections"

    async def strike(self, target: Target) -> None:
        whole = prefixed(request_bytes())
        await together(self._one(target, whole[: len(whole) // part]) for part in (1, 2) for _ in range(4))

    async def _one(self, target: Target, data: bytes) -> None:
        async with await target.connect() as connection:
            await connection.send(await connection.call(SEGMENT), data)
            connection.half_close()
            await until_closed(connection)


class Dying(Attack):
    """Clients that die in their upload: by a reset of the stream, a FIN, a TCP reset."""

    name = "dying in the upload"
    verified_in_mixes = False
    ways = ("reset", "fin", "tcp reset")

    async def prepare(self, target: Target) -> None:
        self.before = await asyncio.to_thread(target.server.counted, "UNKNOWN", "INTERNAL", "INVALID_ARGUMENT")

    async def strike(self, target: Target) -> None:
        await together(self._one(target, way, path) for way in self.ways for path in (SEGMENT, STREAM))

    async def _one(self, target: Target, way: str, path: str) -> None:
        async with await target.connect() as connection:
            stream = await connection.call(path)
            await connection.send(stream, prefixed(b"", announced=4 * MIB))
            await connection.send(stream, ZEROS)
            await asyncio.sleep(0.05)
            if way == "reset":
                await connection.reset(stream)
                await asyncio.sleep(0.05)
            elif way == "fin":
                connection.half_close()
                await asyncio.sleep(0.05)
            else:
                connection.reset_by_tcp()

    async def verify(self, target: Target) -> list[str]:
        await asyncio.sleep(0.3)
        now = await asyncio.to_thread(target.server.counted, "UNKNOWN", "INTERNAL", "INVALID_ARGUMENT")
        if now > self.before:
            return [f"{now - self.before:.0f} clients that died are counted as UNKNOWN, INTERNAL or INVALID_ARGUMENT"]
        return []


ATTACKS: list[Attack] = [
    UnfinishedBodies("unfinished health checks", HEALTH, 200, 4 * MIB - 64, connections=2),
    UnfinishedWebBodies(),
    UnfinishedBodies("unfinished stream messages", STREAM, 24, 31 * MIB),
    UnfinishedBodies("unfinished vocabularies", CREATE, 24, 31 * MIB),
    UnfinishedBodies("unfinished server info", INFO, 24, 31 * MIB),
    UnfinishedBodies("unfinished liveness (OIP)", LIVE, 24, 31 * MIB),
    Trickle(),
    HeadersOnly("headers only", SEGMENT, end=False),
    HeadersOnly("headers only, streams", STREAM, end=False),
    HeadersOnly("headers and end", SEGMENT, end=True),
    HalfClosed(),
    Dying(),
]
