"""A warp's way through a kernel, and how often it issues each instruction.

One lane stands for its warp. Its integers are computed, so loops, edges and divisions take the turns that they take
on a GPU; what depends on data is unknown, and so are then the values made of it. Where a branch depends on data, the
walk goes where there is more to do: into the body of an `if`, but not into the slow ways of divisions and roots
(calls), and out of loops after `rounds` rounds.
"""

import collections
import dataclasses

from .listing import Instruction, Kernel, target
from .machine import MASK, Lane, Truth, truth, word
from .meaning import forget, step_of

# The first parameter in constant bank 0.
PARAMETERS = {80: 0x160, 86: 0x160, 89: 0x160, 90: 0x210}
CALL_DISTANCE = 48  # instructions that are looked through for a call
MOST = 20_000_000


class Lost(Exception):
    """A walk that cannot go on."""


@dataclasses.dataclass
class Launch:
    """A launch: `args` are (kind, value) with kind "pointer", "i32", "i64" or "f32" and a pointer's value 0 or 1;
    `memory` holds the words behind some pointers, by argument: beyond the last, each is larger by the last difference
    (of one word: the same). Loops that end by data run `rounds` times (0: once, and nothing says that it is right)."""

    grid: tuple[int, int, int]
    block: int
    args: list[tuple[str, float]]
    memory: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    rounds: int = 0


@dataclasses.dataclass
class Way:
    """A kernel made ready to be walked."""

    kernel: Kernel
    steps: list
    guards: list[Truth | None]
    targets: list[int | None]

    @classmethod
    def of(cls, kernel: Kernel) -> "Way":
        """Prepares every instruction once."""
        guards = []
        for item in kernel.code:
            read = truth(item.guard[1]) if item.guard else None
            guards.append(read and (negated(read) if item.guard[0] else read))
        return cls(kernel, [step_of(item) for item in kernel.code], guards, [target(i, kernel) for i in kernel.code])


def negated(read: Truth) -> Truth:
    """The opposite."""
    return lambda lane: None if (value := read(lane)) is None else not value


def base_of(index: int) -> int:
    """Address where the memory of an argument begins: far from all others'."""
    return 0x7F0000000000 + (index << 36)


def constants(launch: Launch, architecture: int) -> dict[int, int | None]:
    """Bank 0: sizes of block and grid, the stack, the parameters."""
    bank: dict[int, int | None] = {0: launch.block, 4: 1, 8: 1, 0x28: 0xFFFC00}
    bank |= {0xC + 4 * i: size for i, size in enumerate(launch.grid)}
    at = PARAMETERS[architecture]
    for index, (kind, value) in enumerate(launch.args):
        size = 4 if kind in ("i32", "f32") else 8
        at = (at + size - 1) // size * size
        if kind == "pointer":
            bits = base_of(index) if value else 0
        else:
            bits = int(value)
        # No branch depends on the value of a float.
        bank[at] = None if kind == "f32" else bits & MASK
        if size == 8:
            bank[at + 4] = bits >> 32 & MASK
        at += size
    return bank


@dataclasses.dataclass
class Memory:
    """The words that a launch describes."""

    words: dict[int, list[int]]

    def get(self, address: int) -> int | None:
        """The word at an address, if it is known."""
        index, offset = address - base_of(0) >> 36, (address & (1 << 36) - 1) // 4
        known = self.words.get(index)
        if not known:
            return None
        if offset < len(known):
            return known[offset] & MASK
        step = known[-1] - known[-2] if len(known) > 1 else 0
        return known[-1] + step * (offset - len(known) + 1) & MASK


def calls_within(way: Way, first: int, end: int) -> bool:
    """Reports whether there is a call among the instructions from `first` to `end`."""
    return any(item.name == "CALL" for item in way.kernel.code[first : min(end, first + CALL_DISTANCE)])


def follow(way: Way, lane: Lane, rounds: int) -> tuple[collections.Counter[int], set[int]]:
    """Number of times that each instruction is issued, and the branches back that depend on data."""
    counts: collections.Counter[int] = collections.Counter()
    issued = [0] * len(way.kernel.code)
    code, steps, guards, targets = way.kernel.code, way.steps, way.guards, way.targets
    turns: collections.Counter[int] = collections.Counter()
    at, total = 0, 0
    while True:
        total += 1
        if total > MOST:
            raise Lost(f"{way.kernel.name}: no end after {MOST} instructions")
        item = code[at]
        issued[at] += 1
        guard = guards[at](lane) if guards[at] else True
        name = item.name
        if name == "EXIT":
            if guard:
                break
            at += 1
        elif name in ("BRA", "CALL"):
            at = branch(way, lane, at, guard, rounds, turns)
        elif name == "RET":
            back = word(item.operands[0].split()[0])(lane)
            if back is None:
                raise Lost(f"{way.kernel.name}: a return to an unknown place")
            at = back // 16
        elif name in ("BRX", "BRXU", "JMP", "JMX"):
            raise Lost(f"{way.kernel.name}: {name}, a branch to a computed place, is not supported")
        else:
            if guard:
                steps[at](lane)
            elif guard is None:
                forget(item)(lane)
            at += 1
    counts.update({i: n for i, n in enumerate(issued) if n})
    return counts, set(turns)


def branch(
    way: Way, lane: Lane, at: int, guard: bool | None, rounds: int, turns: collections.Counter[int]
) -> int:
    """Index of the instruction that follows a branch or call."""
    item, to = way.kernel.code[at], way.targets[at]
    if to is None:
        raise Lost(f"{way.kernel.name}: a branch without a target")
    if "DIV" in item.parts or "CONV" in item.parts:
        return to if "CONV" in item.parts else at + 1  # lanes are together
    conditions = [truth(operand)(lane) for operand in item.operands[:-1] if operand.lstrip("!").startswith(("P", "UP"))]
    taken = False if False in (guard, *conditions) else None if None in (guard, *conditions) else True
    if taken is not None:
        return to if taken else at + 1
    if item.name == "CALL":
        return at + 1
    if to <= at:
        turns[at] += 1
        return to if turns[at] % max(rounds, 1) else at + 1
    if ends_loop(way, at):
        turns[at] += 1
        return at + 1 if turns[at] % max(rounds, 1) else to
    return to if calls_within(way, at + 1, to) else at + 1


def ends_loop(way: Way, at: int) -> bool:
    """Reports whether a branch leads out of a loop whose way back is the next instruction."""
    behind, back = way.kernel.code[at + 1], way.targets[at + 1]
    return behind.name == "BRA" and behind.guard is None and len(behind.operands) == 1 and (back or at) < at


def places(size: int, count: int, offset: float) -> list[int]:
    """Some of `size` indices, spread evenly with their fraction shifted."""
    return [int(((i + 0.5) / count + offset) % 1.0 * size) for i in range(count)]


@dataclasses.dataclass
class Profile:
    """Mean times that a warp of the launch issues each instruction, the launch's warps, and what the warp issues that
    issues most: a block lasts as long as that one. `guessed` loops end by data, after as many rounds as were given."""

    counts: dict[int, float]
    warps: int
    longest: float
    guessed: int

    @property
    def issued(self) -> float:
        """Instructions that the whole launch issues."""
        return sum(self.counts.values()) * self.warps


def profile(way: Way, launch: Launch, architecture: int, blocks: int = 5) -> Profile:
    """Walks some warps of some blocks: the first and last of a block and one between, blocks spread over the grid."""
    bank, memory = constants(launch, architecture), Memory(launch.memory)
    warps = max(launch.block // 32, 1)
    chosen = {0: 1} if warps == 1 else {0: 1, warps - 1: 1}
    if warps > 2:
        chosen[warps // 2] = warps - 2
    count = min(blocks, launch.grid[0] * launch.grid[1] * launch.grid[2])
    spread = [places(size, count, offset) for size, offset in zip(launch.grid, (0.0, 0.382, 0.618), strict=True)]
    sums: dict[int, float] = collections.defaultdict(float)
    longest, guessed = 0, set()
    for x, y, z in zip(*spread, strict=True):
        for warp, weight in chosen.items():
            special = {
                "SR_TID.X": 32 * warp, "SR_TID.Y": 0, "SR_TID.Z": 0, "SR_LANEID": 0, "SRZ": 0, "SR_CgaCtaId": 0,
                "SR_CTAID.X": x, "SR_CTAID.Y": y, "SR_CTAID.Z": z, "SR_EQMASK": 1, "SR_LTMASK": 0, "SR_LEMASK": 1,
            }  # fmt: skip
            lane = Lane(bank, special, memory)
            counts, backs = follow(way, lane, launch.rounds)
            guessed |= backs
            longest = max(longest, counts.total())
            for at, times in counts.items():
                sums[at] += times * weight
    everything = warps * launch.grid[0] * launch.grid[1] * launch.grid[2]
    return Profile({at: times / (count * warps) for at, times in sums.items()}, everything, longest, len(guessed))


@dataclasses.dataclass
class Loop:
    """A loop by its first and last instruction: `rounds` a warp, and what it issues in each."""

    first: int
    last: int
    rounds: float
    issued: float
    tensor: float


def hot_loop(way: Way, found: Profile) -> Loop | None:
    """The innermost loop that issues most; of loops with tensor instructions, if there are any."""
    edges = {
        (to, at)
        for at, to in enumerate(way.targets)
        if to is not None and to <= at and way.kernel.code[at].name == "BRA" and found.counts.get(to, 0) > 0
        and found.counts.get(at, 0) > 0
    }  # fmt: skip
    loops = []
    for first, last in edges:
        inside = {at: found.counts.get(at, 0.0) for at in range(first, last + 1)}
        rounds = max(found.counts.get(first, 0.0), 1e-9)
        tensor = sum(times for at, times in inside.items() if is_tensor(way.kernel.code[at]))
        loops.append(Loop(first, last, rounds, sum(inside.values()), tensor))
    if any(loop.tensor for loop in loops):
        loops = [loop for loop in loops if loop.tensor]
    innermost = [
        loop
        for loop in loops
        if not any(other is not loop and loop.first <= other.first and other.last <= loop.last for other in loops)
    ]
    return max(innermost, key=lambda loop: loop.issued, default=None)


def is_tensor(item: Instruction) -> bool:
    """Reports whether an instruction is a product of tiles."""
    return item.name in ("HMMA", "IMMA", "QMMA", "HGMMA", "QGMMA", "IGMMA", "DMMA")
