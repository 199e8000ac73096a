"""The meaning of float instructions: a kernel may choose its way by a coordinate of a picture."""

import collections.abc
import math

from .arithmetic import Step, as_float, float_bits
from .listing import Instruction
from .machine import CONSTANT, REGISTER, Getter, Lane, truth, truth_writer, word, writer

SIGN, MAGNITUDE = 1 << 31, (1 << 31) - 1


def signed_float(text: str) -> Getter:
    """Reads the bits of a float operand with its sign, or without one between bars."""
    read = word(text)
    found = REGISTER.match(text) or CONSTANT.match(text)
    marks = found[1] if found else ""

    def value(lane: Lane) -> int | None:
        bits = read(lane)
        if bits is None:
            return None
        bits &= MAGNITUDE if "|" in marks else MAGNITUDE | SIGN
        return bits ^ SIGN if "-" in marks else bits

    return value


def rounded(value: float) -> int:
    """The bits of the nearest float; beyond the largest, of infinity."""
    try:
        return float_bits(value)
    except OverflowError:
        return float_bits(math.copysign(math.inf, value))


def of_values(item: Instruction, function: collections.abc.Callable[..., float]) -> Step:
    """Writes a function of known floats. Products and sums of two are exact in Python's, so they are rounded once."""
    reads = [signed_float(operand) for operand in item.operands[1:]]
    write = writer(item.operands[0])

    def step(lane: Lane) -> None:
        bits = [read(lane) for read in reads]
        write(lane, None if None in bits else rounded(function(*map(as_float, bits))))

    return step


def add(item: Instruction) -> Step:
    """FADD."""
    return of_values(item, lambda a, b: a + b)


def multiply(item: Instruction) -> Step:
    """FMUL."""
    return of_values(item, lambda a, b: a * b)


def multiply_add(item: Instruction) -> Step:
    """FFMA."""
    return of_values(item, lambda a, b, c: a * b + c)


def choose(item: Instruction) -> Step:
    """FMNMX: the smaller of two, or the larger where its predicate is false."""
    first, second = (signed_float(operand) for operand in item.operands[1:3])
    pick, write = truth(item.operands[3]), writer(item.operands[0])

    def step(lane: Lane) -> None:
        flag, a, b = pick(lane), first(lane), second(lane)
        if flag is None or a is None or b is None:
            write(lane, None)
        else:
            write(lane, (min if flag else max)(a, b, key=as_float))

    return step


def check(item: Instruction) -> Step:
    """FCHK, whether a division needs its slow way: unknown, as no walk goes there."""
    write = truth_writer(item.operands[0])
    return lambda lane: write(lane, None)
