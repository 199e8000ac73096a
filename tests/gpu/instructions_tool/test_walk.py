"""Tests of the walk: `python3 -m unittest discover -s tests/gpu/instructions_tool -t tests/gpu`."""

import random
import unittest

from . import arithmetic, listing, walk
from .listing import instruction
from .machine import Lane
from .meaning import step_of


def code(*lines: str) -> str:
    """A listing of one kernel; a line that ends with a colon is a label."""
    text, at = [".text.kernel:"], 0
    for line in lines:
        if line.endswith(":"):
            text.append(line)
        else:
            text.append(f"        /*{at:04x}*/                   {line} ;")
            at += listing.BYTES
    return "\n".join(text)


def run(*lines: str, **registers: int) -> Lane:
    """Steps through straight code."""
    lane = Lane({}, {}, walk.Memory({}))
    for name, value in registers.items():
        lane.registers[int(name[1:])] = value
    for line in lines:
        item = instruction(line)
        if item.guard is None or lane.predicates[int(item.guard[1][1:])] != item.guard[0]:
            step_of(item)(lane)
    return lane


# The remainder of an unsigned division as nvcc writes it.
DIVISION = (
    "I2F.U32.RP R3, R9",
    "ISETP.NE.U32.AND P2, PT, RZ, R9, PT",
    "MUFU.RCP R3, R3",
    "IADD3 R4, R3, 0xffffffe, RZ",
    "F2I.FTZ.U32.TRUNC.NTZ R5, R4",
    "IMAD.MOV.U32 R4, RZ, RZ, RZ",
    "IMAD.MOV R7, RZ, RZ, -R5",
    "IMAD R7, R7, R9, RZ",
    "IMAD.HI.U32 R5, R5, R7, R4",
    "IMAD.HI.U32 R11, R5, R2, RZ",
    "IMAD.MOV R5, RZ, RZ, -R11",
    "IMAD R5, R5, R9, R2",
    "ISETP.GE.U32.AND P0, PT, R5, R9, PT",
    "@P0 IADD3 R5, R5, -R9, RZ",
    "@P0 IADD3 R11, R11, 0x1, RZ",
    "ISETP.GE.U32.AND P1, PT, R5, R9, PT",
    "@P1 IADD3 R11, R11, 0x1, RZ",
)


class Arithmetic(unittest.TestCase):
    """Instructions against Python's integers."""

    def test_division(self) -> None:
        """The whole sequence, for many numbers."""
        numbers = random.Random(1)
        for _ in range(500):
            a, b = numbers.getrandbits(numbers.randint(1, 32)), numbers.getrandbits(numbers.randint(1, 20)) or 1
            self.assertEqual(run(*DIVISION, R2=a, R9=b).registers[11], a // b, (a, b))

    def test_sixty_four_bits(self) -> None:
        """Sums with carries, products, comparisons in two steps."""
        numbers = random.Random(2)
        for _ in range(500):
            a, b = numbers.getrandbits(63), numbers.getrandbits(63)
            low, high = {"R2": a & 0xFFFFFFFF, "R4": b & 0xFFFFFFFF}, {"R3": a >> 32, "R5": b >> 32}
            lane = run("IADD3 R6, P0, R2, R4, RZ", "IADD3.X R7, R3, R5, RZ, P0, !PT", **low, **high)
            self.assertEqual(lane.registers[7] << 32 | lane.registers[6], (a + b) % 2**64)
            lane = run("IADD3 R6, P0, R2, -R4, RZ", "IADD3.X R7, R3, ~R5, RZ, P0, !PT", **low, **high)
            self.assertEqual(lane.registers[7] << 32 | lane.registers[6], (a - b) % 2**64)
            lane = run("ISETP.GE.U32.AND P0, PT, R2, R4, PT", "ISETP.GE.AND.EX P1, PT, R3, R5, PT, P0", **low, **high)
            self.assertEqual(lane.predicates[1], a >= b)
            lane = run("IMAD.WIDE.U32 R6, R2, R4, RZ", **low)
            self.assertEqual(lane.registers[7] << 32 | lane.registers[6], low["R2"] * low["R4"])

    def test_bits(self) -> None:
        """Shifts, logic, bytes, minima, packed predicates, constants in halves."""
        for line, value in (
            ("SHF.R.S32.HI R1, RZ, 0x4, R2", -0x123456 >> 4),
            ("SHF.R.U32.HI R1, RZ, 0x4, R2", (-0x123456 & 0xFFFFFFFF) >> 4),
            ("SHF.L.U32 R1, R2, 0x3, RZ", -0x123456 << 3),
            ("SHF.L.U64.HI R1, R2, 0x8, R3", 0x12345678FFEDCBAA << 8 >> 32),
            ("LOP3.LUT R1, R2, R3, RZ, 0x3c, !PT", -0x123456 ^ 0x12345678),
            ("LOP3.LUT R1, R2, 0xf, RZ, 0xc0, !PT", 0xA),
            ("LEA R1, R3, R2, 0x2", (0x12345678 << 2) - 0x123456),
            ("LEA.HI R1, R2, R3, RZ, 0x8", 0x12345678 + 0xFF),
            ("PRMT R1, R2, 0x5410, R3", 0x5678CBAA),
            ("IMNMX R1, R2, R3, PT", -0x123456),
            ("IMNMX.U32 R1, R2, R3, PT", 0x12345678),
            ("HFMA2.MMA R1, -RZ, RZ, 1.875, 0", 0x3F800000),
        ):
            self.assertEqual(run(line, R2=-0x123456 & 0xFFFFFFFF, R3=0x12345678).registers[1], value & 0xFFFFFFFF, line)
        for line, value in (
            ("FADD R1, -R2, 0.5", -1.0),
            ("FMUL R1, R2, -R3", 4.5),
            ("FFMA R1, R2, |R3|, 1", 5.5),
            ("FMNMX R1, RZ, R3, !PT", 0.0),
        ):
            found = run(line, R2=arithmetic.float_bits(1.5), R3=arithmetic.float_bits(-3.0)).registers[1]
            self.assertEqual(found, arithmetic.float_bits(value), line)
        self.assertEqual(run("VIMNMX.RELU R1, R2, 0x7, PT", R2=-6 & 0xFFFFFFFF).registers[1], 0)
        compare = ("ISETP.LT.AND P3, PT, R2, RZ, PT", "ISETP.LT.AND P0, PT, R3, RZ, PT")
        lane = run(*compare, "P2R R1, PR, RZ, 0x8", R2=1 << 31, R3=1)
        self.assertEqual(lane.registers[1], 8)

    def test_unknown(self) -> None:
        """A result that needs data is unknown, unless a mask or a zero decides it."""
        self.assertIsNone(run("IADD3 R1, R2, 0x1, RZ").registers[1])
        self.assertEqual(run("LOP3.LUT R1, R2, RZ, RZ, 0xc0, !PT").registers[1], 0)
        self.assertEqual(run("IMAD R1, R2, RZ, 0x7").registers[1], 7)


LOOP = code(
    "S2R R0, SR_TID.X",
    "MOV R1, RZ",
    ".L_x_1:",
    "FFMA R9, R8, R7, R9",
    "HMMA.16816.F32.BF16 R16, R28, R40, R16",
    "IADD3 R1, R1, 0x1, RZ",
    "ISETP.GE.AND P0, PT, R1, c[0x0][0x210], PT",
    "@!P0 BRA `(.L_x_1)",
    "LDG.E R5, [R2.64]",
    "ISETP.GE.AND P1, PT, R5, RZ, PT",
    "@P1 BRA `(.L_x_2)",
    "CALL.REL.NOINC `(.L_x_3)",
    ".L_x_2:",
    "EXIT",
    ".L_x_3:",
    "RET.REL.NODEC R20 `(kernel)",
)


class Walk(unittest.TestCase):
    """Loops and branches."""

    def profile(self, rounds: int) -> tuple[walk.Way, walk.Profile]:
        """The loop above with an argument."""
        way = walk.Way.of(listing.parse(LOOP)["kernel"])
        return way, walk.profile(way, walk.Launch((10, 1, 1), 64, [("i32", rounds)]), 90)

    def test_loop(self) -> None:
        """A loop runs as often as its argument says, and a slow way is not taken."""
        way, found = self.profile(7)
        self.assertEqual(found.counts[2], 7)
        self.assertEqual(found.issued, 20 * (2 + 7 * 5 + 3 + 1))
        loop = walk.hot_loop(way, found)
        self.assertEqual((loop.rounds, loop.issued / loop.rounds, loop.tensor), (7, 5, 7))

    def test_sizes(self) -> None:
        """Sizes of block and grid, however their offset is written."""
        lane = Lane({0: 256, 0xC: 9}, {}, walk.Memory({}))
        step_of(instruction("LDC R1, c[0x0][RZ]"))(lane)
        step_of(instruction("ULDC UR4, c[0x0][0xc]"))(lane)
        self.assertEqual((lane.registers[1], lane.uniform[4]), (256, 9))

    def test_unsupported(self) -> None:
        """A branch to a computed place is a fault and not a guess."""
        way = walk.Way.of(listing.parse(code("BRX R2 -0x10", "EXIT"))["kernel"])
        with self.assertRaises(walk.Lost):
            walk.profile(way, walk.Launch((1, 1, 1), 32, []), 90)


if __name__ == "__main__":
    unittest.main()
