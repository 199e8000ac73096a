"""The meaning of integer instructions, as far as they decide where a kernel goes."""

import collections.abc
import math
import struct

from .listing import Instruction
from .machine import (
    MASK,
    Getter,
    Lane,
    Unsupported,
    double_word,
    integer,
    is_predicate,
    negation,
    signed,
    truth,
    truth_writer,
    word,
    writer,
)

Step = collections.abc.Callable[[Lane], None]


def computed(item: Instruction, sources: list[Getter], function: collections.abc.Callable[..., int]) -> Step:
    """Writes a function of known words to the first operand."""
    write = writer(item.operands[0])

    def step(lane: Lane) -> None:
        values = [read(lane) for read in sources]
        write(lane, None if None in values else function(*values) & MASK)

    return step


def split(item: Instruction) -> tuple[list[str], list[str]]:
    """The carries that an instruction writes, and its sources."""
    rest = item.operands[1:]
    outputs = []
    while rest and is_predicate(rest[0]):
        outputs.append(rest.pop(0))
    return outputs, rest


def add(item: Instruction) -> Step:
    """IADD3, VIADD: a + b + c, with carries out and, as `.X`, carries in."""
    outputs, rest = split(item)
    carries = [truth(operand) for operand in rest if is_predicate(operand)]
    terms = [(word(operand), negation(operand)) for operand in rest if not is_predicate(operand)]
    extended = "X" in item.parts
    write, flags = writer(item.operands[0]), [truth_writer(operand) for operand in outputs]

    def step(lane: Lane) -> None:
        total = 0
        for read, sign in terms:
            value = read(lane)
            if value is None:
                break
            total += ~value & MASK if sign else value
            total += 1 if sign == "-" and not extended else 0
        else:
            carried = [read(lane) for read in carries] if extended else []
            if None not in carried:
                total += sum(carried)
                write(lane, total & MASK)
                for level, flag in enumerate(flags):
                    flag(lane, total >> 32 > level)
                return
        write(lane, None)
        for flag in flags:
            flag(lane, None)

    return step


def multiply_add(item: Instruction) -> Step:
    """IMAD in all its forms: low word, `.WIDE`, `.HI`, and with a carry in as `.X`."""
    outputs, rest = split(item)
    wide, high, unsigned = "WIDE" in item.parts, "HI" in item.parts, "U32" in item.parts
    a, b = integer(rest[0]), integer(rest[1])
    c = double_word(rest[2]) if wide or high else integer(rest[2])
    carry = truth(rest[3]) if len(rest) > 3 else None
    write, write_high = writer(item.operands[0]), writer(item.operands[0], 1)
    flags = [truth_writer(operand) for operand in outputs]

    def step(lane: Lane) -> None:
        x, y, z = a(lane), b(lane), c(lane)
        extra = carry(lane) if carry else False
        if x == 0 or y == 0:
            x = y = 0
        if None in (x, y, z, extra):
            write(lane, None)
            if wide:
                write_high(lane, None)
            for flag in flags:
                flag(lane, None)
            return
        if (wide or high) and not unsigned:
            x, y = signed(x), signed(y)
        total = x * y + z + extra
        for flag in flags:
            flag(lane, bool(total >> 64))
        write(lane, (total >> 32 if high else total) & MASK)
        if wide:
            write_high(lane, total >> 32 & MASK)

    return step


def shifted_add(item: Instruction) -> Step:
    """LEA: (a << s) + b, or with `.HI` the high word of the shifted pair (c, a) plus b."""
    outputs, rest = split(item)
    carry = truth(rest.pop()) if is_predicate(rest[-1]) else None
    high, sign = "HI" in item.parts, "SX32" in item.parts
    low, base = integer(rest[0]), integer(rest[1])
    above = integer(rest[2]) if high and not sign else lambda lane: 0
    amount = word(rest[-1])
    write, flags = writer(item.operands[0]), [truth_writer(operand) for operand in outputs]

    def step(lane: Lane) -> None:
        a, b, c, s = low(lane), base(lane), above(lane), amount(lane)
        extra = carry(lane) if carry else False
        if None in (a, b, c, s, extra):
            write(lane, None)
            for flag in flags:
                flag(lane, None)
            return
        if high:
            pair = (signed(a) if sign else c << 32 | a) << s
            total = (pair >> 32 & MASK) + b + extra
        else:
            total = (a << s & MASK) + b + extra
        write(lane, total & MASK)
        for flag in flags:
            flag(lane, bool(total >> 32))

    return step


def shift(item: Instruction) -> Step:
    """SHF: funnel shifts of the pair (third, first source)."""
    left = "L" in item.parts
    kind = next((part for part in item.parts if part in ("U32", "S32", "U64", "S64")), "U32")
    high = "HI" in item.parts
    wide = kind.endswith("64")

    def function(low: int, amount: int, above: int) -> int:
        amount = amount & 31 if "W" in item.parts else min(amount, 64 if wide else 32)
        pair = above << 32 | low
        if left:
            if not wide and not high:
                return low << amount
            return (pair << amount) >> (32 if high else 0)
        if high and not wide:
            pair = above
            return (signed(pair) if kind == "S32" else pair) >> amount
        return (signed(pair, 64) if kind == "S64" else pair) >> (amount + (32 if high else 0))

    return computed(item, [integer(operand) for operand in item.operands[1:4]], function)


def logic(item: Instruction) -> Step:
    """LOP3: any function of three bits, and whether something is left."""
    operands = list(item.operands)
    flag = truth_writer(operands.pop(0)) if is_predicate(operands[0]) else None
    write, table = writer(operands[0]), int(operands[4], 16)
    sources = [integer(operand) for operand in operands[1:4]]

    def step(lane: Lane) -> None:
        values = [read(lane) for read in sources]
        result: int | None = 0
        if None in values:
            # Bits that a known zero or one decides stay known: a mask often does.
            low = high = 0
            for bits in range(8):
                possible = MASK
                for value, on in zip(values, (bits & 4, bits & 2, bits & 1), strict=True):
                    if value is not None:
                        possible &= value if on else ~value & MASK
                if table >> bits & 1:
                    high |= possible
                else:
                    low |= possible
            result = high if not high & low else None
        else:
            a, b, c = values
            for bits in range(8):
                if table >> bits & 1:
                    result |= (a if bits & 4 else ~a) & (b if bits & 2 else ~b) & (c if bits & 1 else ~c) & MASK
        write(lane, result)
        if flag:
            flag(lane, None if result is None else result != 0)

    return step


def compare(item: Instruction) -> Step:
    """ISETP: a comparison joined with a predicate; `.EX` compares high words after the low ones."""
    first, second, left, right, *predicates = item.operands
    relation = item.parts[1]
    unsigned, extended = "U32" in item.parts, "EX" in item.parts
    join = next(part for part in item.parts[2:] if part in ("AND", "OR", "XOR"))
    a, b = integer(left), integer(right)
    other = truth(predicates[0]) if predicates else (lambda lane: True)
    low = truth(predicates[1]) if extended and len(predicates) > 1 else (lambda lane: True)
    write, write_other = truth_writer(first), truth_writer(second)

    def joined(value: bool | None, with_: bool | None) -> bool | None:
        if join == "AND":
            return False if value is False or with_ is False else None if None in (value, with_) else True
        if join == "OR":
            return True if value is True or with_ is True else None if None in (value, with_) else False
        return None if None in (value, with_) else value != with_

    def step(lane: Lane) -> None:
        x, y, below = a(lane), b(lane), low(lane) if extended else True
        result = None
        if relation in ("T", "F"):
            result = relation == "T"
        elif x is not None and y is not None:
            if not unsigned:
                x, y = signed(x), signed(y)
            if extended and x == y:
                result = below
            elif extended:
                result = {"EQ": False, "NE": True, "LT": x < y, "LE": x < y, "GT": x > y, "GE": x > y}[relation]
            else:
                result = {"EQ": x == y, "NE": x != y, "LT": x < y, "LE": x <= y, "GT": x > y, "GE": x >= y}[relation]
        with_ = other(lane)
        write(lane, joined(result, with_))
        write_other(lane, joined(None if result is None else not result, with_))

    return step


def combine(item: Instruction) -> Step:
    """PLOP3: any function of three predicates."""
    first, second, *sources, table, second_table = item.operands
    reads = [truth(operand) for operand in sources]
    write, write_second = truth_writer(first), truth_writer(second)
    tables = int(table, 16), int(second_table, 16)

    def step(lane: Lane) -> None:
        values = [read(lane) for read in reads]
        rows = [
            row
            for row in range(8)
            if all(v is None or v == bool(row >> (2 - i) & 1) for i, v in enumerate(values))
        ]
        for to, bits in zip((write, write_second), tables, strict=True):
            found = {bits >> row & 1 for row in rows}
            to(lane, bool(found.pop()) if len(found) == 1 else None)

    return step


def choose(item: Instruction) -> Step:
    """SEL and the minimum or maximum of two, the latter also of a sum."""
    *sources, predicate = item.operands[1:]
    pick, reads, write = truth(predicate), [integer(operand) for operand in sources], writer(item.operands[0])
    selects, unsigned = item.name.endswith("SEL"), "U32" in item.parts

    def step(lane: Lane) -> None:
        flag, values = pick(lane), [read(lane) for read in reads]
        if selects:
            same = values[0] if values[0] == values[1] else None
            write(lane, same if flag is None else values[0 if flag else 1])
            return
        if flag is None or None in values:
            write(lane, None)
            return
        if len(values) == 3:
            values = [(values[0] + values[1]) & MASK, values[2]]
        order = [value if unsigned else signed(value) for value in values]
        chosen = min(order) if flag else max(order)
        write(lane, (max(chosen, 0) if "RELU" in item.parts else chosen) & MASK)

    return step


def permute(item: Instruction) -> Step:
    """PRMT: bytes of two words."""

    def function(low: int, selector: int, high: int) -> int:
        pool = (high << 32 | low).to_bytes(8, "little")
        result = 0
        for i in range(4):
            nibble = selector >> 4 * i & 15
            byte = pool[nibble & 7]
            result |= ((0xFF if byte >> 7 else 0) if nibble & 8 else byte) << 8 * i
        return result

    return computed(item, [integer(operand) for operand in item.operands[1:4]], function)


def as_float(bits: int) -> float:
    """The value of the bits of a float."""
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def float_bits(value: float) -> int:
    """The bits of the nearest float."""
    return struct.unpack("<I", struct.pack("<f", value))[0]


def convert(item: Instruction) -> Step:
    """I2F, F2I and the reciprocal between them, of which divisions of integers are made."""
    name, parts, text = item.name, item.parts, item.operands[-1]
    sixty_four = "U64" in parts or "S64" in parts
    source = double_word(text) if name == "I2F" and sixty_four else integer(text)
    write, write_high = writer(item.operands[0]), writer(item.operands[0], 1)

    def value(bits: int) -> int:
        if name.startswith("I2F"):
            plain = "U32" in parts or "U64" in parts or name.endswith("U32")
            return float_bits(float(bits if plain else signed(bits, 64 if sixty_four else 32)))
        number = as_float(bits)
        if name == "MUFU":
            return float_bits(1.0 / number) if number else 0x7F800000
        return max(0, math.trunc(number)) if "U32" in parts or "U64" in parts else math.trunc(number)

    def step(lane: Lane) -> None:
        bits = source(lane)
        result = None if bits is None else value(bits)
        write(lane, None if result is None else result & MASK)
        if name == "F2I" and sixty_four:
            write_high(lane, None if result is None else result >> 32 & MASK)

    return step


def half_constant(item: Instruction) -> Step | None:
    """HFMA2 of zero times zero plus two constants: a move of 32 bits."""
    operands = item.operands
    if len(operands) != 5 or not all(operand.lstrip("-") == "RZ" for operand in operands[1:3]):
        return None
    try:
        high, low = (struct.unpack("<H", struct.pack("<e", float(operand)))[0] for operand in operands[3:])
    except (ValueError, OverflowError):
        return None
    write, value = writer(operands[0]), high << 16 | low
    return lambda lane: write(lane, value)


def absolute(item: Instruction) -> Step:
    """IABS."""
    return computed(item, [integer(item.operands[1])], lambda v: abs(signed(v)))


def packed_predicates(item: Instruction) -> Step:
    """P2R, UP2UR: predicates as bits of a register."""
    read, mask, write = integer(item.operands[2]), int(item.operands[3], 16), writer(item.operands[0])

    def step(lane: Lane) -> None:
        rest = read(lane)
        predicates = lane.uniform_predicates if item.name == "UP2UR" else lane.predicates
        flags = [predicates[i] for i in range(7) if mask >> i & 1]
        if rest is None or None in flags:
            write(lane, None)
            return
        bits = sum(1 << i for i in range(7) if predicates[i])
        write(lane, bits & mask | rest & ~mask & MASK)

    return step


def unpacked_predicates(item: Instruction) -> Step:
    """R2P: bits of a register as predicates."""
    text = next(operand for operand in item.operands if operand.startswith("R"))
    read, mask = integer(text), int(item.operands[-1], 16)

    def step(lane: Lane) -> None:
        bits = read(lane)
        for i in range(7):
            if mask >> i & 1:
                lane.predicates[i] = None if bits is None else bool(bits >> i & 1)

    return step


def unsupported(item: Instruction) -> Step:
    """Fails at once for what must be known."""
    raise Unsupported(".".join(item.parts))
