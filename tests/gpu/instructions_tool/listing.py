"""The text of a disassembler as instructions."""

import dataclasses
import re

LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
LABEL = re.compile(r"^(\.L_\w+|\$\S+):")
SECTION = re.compile(r"^\.text\.(\S+):")
GUARD = re.compile(r"^@(!?)(U?P[0-9T]+)\s+")
BYTES = 16  # of an instruction, from compute capability 7.0 on


@dataclasses.dataclass
class Instruction:
    """One instruction: `guard` is (negated, predicate), `parts` the mnemonic cut at its dots."""

    guard: tuple[bool, str] | None
    parts: list[str]
    operands: list[str]

    @property
    def name(self) -> str:
        """The mnemonic without modifiers."""
        return self.parts[0]


@dataclasses.dataclass
class Kernel:
    """A kernel's instructions in the order of their addresses, and the positions of its labels."""

    name: str
    code: list[Instruction]
    labels: dict[str, int]


def parse(text: str) -> dict[str, Kernel]:
    """All kernels of a listing."""
    kernels: dict[str, Kernel] = {}
    kernel = None
    for line in text.splitlines():
        if section := SECTION.match(line):
            kernel = kernels.setdefault(section[1], Kernel(section[1], [], {section[1]: 0}))
        elif kernel is None:
            continue
        elif label := LABEL.match(line):
            kernel.labels[label[1]] = len(kernel.code)
        elif found := LINE.match(line):
            if int(found[1], 16) != BYTES * len(kernel.code):
                raise ValueError(f"{kernel.name}: an instruction is missing before {found[1]}")
            kernel.code.append(instruction(found[2]))
    return kernels


def instruction(text: str) -> Instruction:
    """One line's instruction."""
    guard = None
    if found := GUARD.match(text):
        guard = (found[1] == "!", found[2])
        text = text[found.end() :]
    mnemonic, _, rest = text.partition(" ")
    operands = [operand.strip() for operand in rest.split(",")] if rest.strip() else []
    return Instruction(guard, mnemonic.split("."), operands)


def target(item: Instruction, kernel: Kernel) -> int | None:
    """Index of the instruction that a branch or call goes to; `None` for other instructions, and where a register holds
    the address."""
    if item.name not in ("BRA", "CALL") or not item.operands:
        return None
    found = re.search(r"`\((\S+)\)", item.operands[-1])
    return kernel.labels[found[1]] if found else None
