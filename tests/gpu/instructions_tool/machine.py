"""The state of one lane: registers, predicates, constants, and operands that read them.

Values are 32-bit integers, or `None` where they depend on memory that is not described: the walk needs those only that
decide which instruction comes next.
"""

import collections.abc
import dataclasses
import re
import struct
import typing

MASK = 0xFFFFFFFF
ZERO = 255  # RZ
UNIFORM_ZERO = 63  # URZ
REGISTER = re.compile(r"^([-~|]*)(U?)R(Z|\d+)((?:\.\w+)*)\|?(?:\.reuse)?$")
PREDICATE = re.compile(r"^(!?)(U?)P(T|\d)$")
CONSTANT = re.compile(r"^([-~|]*)c\[(0x[0-9a-f]+)\]\[(?:(U?R(?:Z|\d+))\+?)?(-?0x[0-9a-f]+)?\]((?:\.\w+)*)\|?$")
ADDRESS = re.compile(r"\[(?:(U?R(?:Z|\d+))((?:\.\w+)*))?\+?(?:(UR\d+)\+?)?(-?0x[0-9a-f]+)?\]$")

Value = int | None


class Known(typing.Protocol):
    """Memory whose words are known, or not."""

    def get(self, address: int) -> Value:
        """The word at an address."""


@dataclasses.dataclass
class Lane:
    """Registers start unknown; `constants` are words of bank 0 by offset, `local` the stack, `memory` what is known."""

    constants: dict[int, Value]
    special: dict[str, Value]
    memory: Known
    registers: list[Value] = dataclasses.field(default_factory=lambda: [None] * 255 + [0, 0, 0, 0])
    uniform: list[Value] = dataclasses.field(default_factory=lambda: [None] * 63 + [0, 0])
    predicates: list[bool | None] = dataclasses.field(default_factory=lambda: [None] * 7 + [True])
    uniform_predicates: list[bool | None] = dataclasses.field(default_factory=lambda: [None] * 7 + [True])
    local: dict[int, Value] = dataclasses.field(default_factory=dict)


Getter = collections.abc.Callable[[Lane], Value]
Setter = collections.abc.Callable[[Lane, Value], None]
Truth = collections.abc.Callable[[Lane], bool | None]


class Unsupported(Exception):
    """An instruction or operand whose meaning the walk would have to know."""


def signed(value: int, bits: int = 32) -> int:
    """Two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def immediate(text: str) -> Value:
    """An integer in hexadecimal, or the bits of a float."""
    if found := re.match(r"^(-?)(0x[0-9a-f]+)$", text):
        value = int(found[2], 16)
        return (-value if found[1] else value) & MASK
    special = {"+INF": 0x7F800000, "-INF": 0xFF800000, "+QNAN": 0x7FFFFFFF, "-QNAN": 0xFFFFFFFF}
    if text in special:
        return special[text]
    try:
        return struct.unpack("<I", struct.pack("<f", float(text)))[0]
    except (ValueError, OverflowError):
        return None


def register_index(text: str) -> tuple[bool, int] | None:
    """A register as (is uniform, number); `None` for other operands."""
    found = REGISTER.match(text)
    if not found:
        return None
    uniform = found[2] == "U"
    zero = UNIFORM_ZERO if uniform else ZERO
    return uniform, zero if found[3] == "Z" else int(found[3])


def word(text: str, part: int = 0) -> Getter:
    """Reads a 32-bit operand without its sign (or the next word of a pair, `part` 1)."""
    if place := register_index(text):
        uniform, index = place
        if index != (UNIFORM_ZERO if uniform else ZERO):
            index += part
        return (lambda lane: lane.uniform[index]) if uniform else (lambda lane: lane.registers[index])
    if found := CONSTANT.match(text):
        bank, offset = int(found[2], 16), int(found[4] or "0", 16) + 4 * part
        if bank != 0:
            return lambda lane: None
        if found[3]:
            base = word(found[3])

            def indexed(lane: Lane) -> Value:
                at = base(lane)
                return None if at is None else lane.constants.get(offset + at)

            return indexed
        return lambda lane: lane.constants.get(offset)
    value = immediate(text)
    if value is None:
        raise Unsupported(f"operand {text}")
    high = MASK if value >> 31 else 0
    return (lambda lane: high) if part else (lambda lane: value)


def negation(text: str) -> str:
    """The sign of an operand: "-", "~" or nothing. Immediates have theirs in their value."""
    found = REGISTER.match(text) or CONSTANT.match(text)
    return found[1].replace("|", "") if found else ""


def integer(text: str) -> Getter:
    """Reads a 32-bit integer operand with its sign."""
    read, sign = word(text), negation(text)
    if sign == "-":
        return lambda lane: None if (value := read(lane)) is None else -value & MASK
    if sign == "~":
        return lambda lane: None if (value := read(lane)) is None else ~value & MASK
    return read


def double_word(text: str) -> Getter:
    """Reads a 64-bit operand."""
    low, high = word(text), word(text, 1)

    def read(lane: Lane) -> Value:
        a, b = low(lane), high(lane)
        return None if a is None or b is None else b << 32 | a

    return read


def writer(text: str, part: int = 0) -> Setter:
    """Writes a register; what goes to RZ is lost."""
    place = register_index(text)
    if not place:
        raise Unsupported(f"destination {text}")
    uniform, index = place
    if index == (UNIFORM_ZERO if uniform else ZERO):
        return lambda lane, value: None
    index += part
    if uniform:
        return lambda lane, value: lane.uniform.__setitem__(index, value)
    return lambda lane, value: lane.registers.__setitem__(index, value)


def is_predicate(text: str) -> bool:
    """Reports whether an operand is a predicate."""
    return PREDICATE.match(text) is not None


def truth(text: str) -> Truth:
    """Reads a predicate."""
    found = PREDICATE.match(text)
    if not found:
        raise Unsupported(f"predicate {text}")
    negated, index = found[1] == "!", 7 if found[3] == "T" else int(found[3])
    uniform = found[2] == "U"

    def read(lane: Lane) -> bool | None:
        value = (lane.uniform_predicates if uniform else lane.predicates)[index]
        return value if value is None or not negated else not value

    return read


def truth_writer(text: str) -> collections.abc.Callable[[Lane, bool | None], None]:
    """Writes a predicate; what goes to PT is lost."""
    found = PREDICATE.match(text)
    if not found:
        raise Unsupported(f"predicate {text}")
    if found[3] == "T":
        return lambda lane, value: None
    index, uniform = int(found[3]), found[2] == "U"
    if uniform:
        return lambda lane, value: lane.uniform_predicates.__setitem__(index, value)
    return lambda lane, value: lane.predicates.__setitem__(index, value)


def address(text: str) -> Getter:
    """Reads the address of a memory operand."""
    found = ADDRESS.search(text)
    if not found:
        raise Unsupported(f"address {text}")
    offset = int(found[4] or "0", 16)
    wide = ".64" in (found[2] or "")
    base = (double_word if wide else word)(found[1]) if found[1] else lambda lane: 0
    more = (double_word if wide else word)(found[3]) if found[3] else lambda lane: 0
    mask = (1 << 64) - 1 if wide else MASK

    def read(lane: Lane) -> Value:
        a, b = base(lane), more(lane)
        return None if a is None or b is None else (a + b + offset) & mask

    return read
