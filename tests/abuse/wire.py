"""An HTTP/2 client that does only what it is told: it can stop in the middle of anything, and its courtesies (reading,
answering pings, keeping to flow control windows) can be turned off."""

import asyncio
import socket
import struct
from collections import Counter, defaultdict
from types import TracebackType
from typing import Self

import hpack

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW_SIZE = 4
CANCEL = 8
LARGEST_WINDOW = (1 << 31) - 1
FRAME = 16384  # bytes; servers accept so much without being asked
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Closed(ConnectionError):
    """The server has ended the stream or the connection."""


class Answer:
    """The answer on one stream, as far as it has come."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.data = bytearray()
        self.bytes = 0
        self.reset = False
        self.ended = asyncio.Event()

    @property
    def status(self) -> int | None:
        """The gRPC status; None where there is none."""
        status = self.headers.get("grpc-status")
        return None if status is None else int(status)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def prefixed(message: bytes, announced: int | None = None, compressed: bool = False) -> bytes:
    """A gRPC message behind its length, or behind a length that is announced and never reached."""
    return struct.pack(">BI", compressed, len(message) if announced is None else announced) + message


class Connection:
    """One connection. `window` is how much of an answer the server may send unasked."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, did: Counter[str], *, pings: bool, keep: bool
    ) -> None:
        self.answers: defaultdict[int, Answer] = defaultdict(Answer)
        self.closed = asyncio.Event()
        self._reader, self._writer, self._did = reader, writer, did
        self._answers_pings, self._keep = pings, keep
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._next, self._window, self._stream_window = 1, 65535, 65535
        self._windows: dict[int, int] = {}
        self._block = bytearray()
        self._moved = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls,
        address: tuple[str, int],
        did: Counter[str],
        *,
        window: int = LARGEST_WINDOW,
        pings: bool = True,
        keep: bool = False,
    ) -> Self:
        """Connects and sends the first SETTINGS. `keep`: the bytes of answers are kept, not only counted."""
        reader, writer = await asyncio.open_connection(*address, limit=1 << 20)
        did["connections"] += 1
        self = cls(reader, writer, did, pings=pings, keep=keep)
        writer.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))
        if window > 65535:
            writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65535)))
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.abort()
        await asyncio.gather(self._reading, return_exceptions=True)

    def abort(self) -> None:
        """Closes at once."""
        self._reading.cancel()
        self._writer.transport.abort()

    def reset_by_tcp(self) -> None:
        """Closes with a TCP RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def half_close(self) -> None:
        """Sends a FIN and goes on reading."""
        self._writer.write_eof()

    async def call(self, path: str, *, end: bool = False, **headers: str) -> int:
        """Sends the headers of a gRPC call; the number of its stream."""
        stream, self._next = self._next, self._next + 2
        fields = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "sed-serve"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._windows[stream] = self._stream_window
        self._did["calls"] += 1
        flags = END_HEADERS | (END_STREAM if end else 0)
        await self.write(frame(HEADERS, flags, stream, self._encoder.encode(fields, huffman=False)))
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends bytes of a body as fast as the server's windows allow."""
        position = 0
        while position < len(data):
            if self.closed.is_set() or self.answers[stream].ended.is_set():
                raise Closed
            room = min(self._window, self._windows[stream], len(data) - position, 1 << 20)
            if room <= 0:
                self._moved.clear()
                await self._moved.wait()
                continue
            self._window -= room
            self._windows[stream] -= room
            frames = []
            for start in range(position, position + room, FRAME):
                chunk = data[start : min(start + FRAME, position + room)]
                last = end and start + len(chunk) == len(data)
                frames.append(frame(DATA, END_STREAM if last else 0, stream, chunk))
            position += room
            self._did["bytes"] += room
            await self.write(b"".join(frames))

    async def unary(self, path: str, message: bytes, *, compressed: bool = False, **headers: str) -> Answer:
        """A whole call: request, answer, status."""
        stream = await self.call(path, **headers)
        await self.send(stream, prefixed(message, compressed=compressed), end=True)
        return await self.answer(stream)

    async def answer(self, stream: int) -> Answer:
        """Waits until the stream ends."""
        answer = self.answers[stream]
        if not self.closed.is_set():
            await answer.ended.wait()
        if answer.status is None:
            raise Closed
        self._did["answers"] += 1
        return answer

    async def reset(self, stream: int) -> None:
        """Cancels a stream."""
        self.answers[stream].ended.set()
        await self.write(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    async def write(self, data: bytes) -> None:
        """Sends raw bytes."""
        if self.closed.is_set():
            raise Closed
        self._writer.write(data)
        await self._writer.drain()

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
                self._take(head[3], head[4], int.from_bytes(head[5:]) & LARGEST_WINDOW, payload)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.closed.set()
            self._moved.set()
            for answer in self.answers.values():
                answer.ended.set()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW_SIZE:
                    grown, self._stream_window = value - self._stream_window, value
                    self._windows = {number: window + grown for number, window in self._windows.items()}
            self._writer.write(frame(SETTINGS, ACK, 0))
            self._moved.set()
        elif kind == PING and not flags & ACK and self._answers_pings:
            self._writer.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            grown = int.from_bytes(payload) & LARGEST_WINDOW
            if stream == 0:
                self._window += grown
            elif stream in self._windows:
                self._windows[stream] += grown
            self._moved.set()
        elif kind in (HEADERS, CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                self.answers[stream].headers |= {
                    str(name): str(value) for name, value in self._decoder.decode(bytes(self._block))
                }
                self._block.clear()
        elif kind == DATA:
            self.answers[stream].bytes += len(payload)
            if self._keep:
                self.answers[stream].data += payload
        elif kind == RST_STREAM:
            self.answers[stream].reset = True
        if kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
            self.answers[stream].ended.set()
            self._moved.set()
