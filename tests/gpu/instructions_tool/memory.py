"""The meaning of loads and stores: what the launch describes is known, the stack is kept, the rest is unknown."""

from .arithmetic import Step
from .listing import Instruction
from .machine import Lane, address, double_word, truth, truth_writer, word, writer


def width(item: Instruction) -> int:
    """Words of an access."""
    return 4 if "128" in item.parts else 2 if "64" in item.parts else 1


def access_bytes(item: Instruction) -> int:
    """Bytes that a lane's access moves."""
    if any(part in item.parts for part in ("U8", "S8")):
        return 1
    return 2 if any(part in item.parts for part in ("U16", "S16")) else 4 * width(item)


def load(item: Instruction) -> Step:
    """LDG, LD, LDS, LDL, atomics: known only from described memory and the stack."""
    operands = [operand for operand in item.operands if operand not in ("PT",)]
    to = next((operand for operand in operands if operand.startswith(("R", "UR"))), "RZ")
    writes = [writer(to, part) for part in range(width(item))]
    where = address(next(operand for operand in operands if "[" in operand))
    stack = item.name == "LDL"
    described = item.name in ("LDG", "LD") and not any(part in ("U8", "S8", "U16", "S16") for part in item.parts)

    def step(lane: Lane) -> None:
        at = where(lane) if stack or described else None
        memory = lane.local if stack else lane.memory
        for part, write in enumerate(writes):
            write(lane, None if at is None else memory.get(at + 4 * part))

    return step


def store_local(item: Instruction) -> Step:
    """STL: keeps what is spilt."""
    where, size = address(item.operands[0]), width(item)
    reads = [word(item.operands[1], part) for part in range(size)]

    def step(lane: Lane) -> None:
        at = where(lane)
        if at is None:
            lane.local.clear()
            return
        for part, read in enumerate(reads):
            lane.local[at + 4 * part] = read(lane)

    return step


def constant(item: Instruction) -> Step:
    """LDC, ULDC: parameters and sizes of the launch."""
    source = item.operands[1]
    writes = [writer(item.operands[0], part) for part in range(width(item))]
    reads = [word(source, part) for part in range(width(item))]

    def step(lane: Lane) -> None:
        values = [read(lane) for read in reads]
        for write, value in zip(writes, values, strict=True):
            write(lane, value)

    return step


def special(item: Instruction) -> Step:
    """S2R, S2UR, CS2R: the lane's place."""
    name = item.operands[1]
    pair = item.name == "CS2R" and "32" not in item.parts
    write, write_high = writer(item.operands[0]), writer(item.operands[0], 1)

    def step(lane: Lane) -> None:
        write(lane, lane.special.get(name))
        if pair:
            write_high(lane, 0 if name == "SRZ" else None)

    return step


def move(item: Instruction) -> Step:
    """MOV, UMOV, R2UR and moves of 64 bits."""
    source, write = word(item.operands[1]), writer(item.operands[0])
    if "64" in item.parts:
        pair, write_high = double_word(item.operands[1]), writer(item.operands[0], 1)

        def step(lane: Lane) -> None:
            value = pair(lane)
            write(lane, None if value is None else value & 0xFFFFFFFF)
            write_high(lane, None if value is None else value >> 32)

        return step
    return lambda lane: write(lane, source(lane))


def vote(item: Instruction) -> Step:
    """VOTE of one lane for its warp: what it says, all say."""
    flags = [operand for operand in item.operands if operand.lstrip("!U").startswith("P")]
    registers = [writer(operand) for operand in item.operands if operand.startswith(("R", "UR"))]
    write = truth_writer(flags[0]) if len(flags) > 1 else None
    read = truth(flags[-1])

    def step(lane: Lane) -> None:
        value = read(lane)
        if write:
            write(lane, value)
        for register in registers:
            register(lane, None if value is None else 0xFFFFFFFF if value else 0)

    return step
