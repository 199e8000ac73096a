"""Every instruction as a step of the walk."""

from . import arithmetic, floats, memory
from .arithmetic import Step
from .listing import Instruction
from .machine import Lane, is_predicate, register_index, truth_writer, writer

# Barriers, reconvergence, waits and stores change nothing that the walk follows.
NOTHING = {
    "NOP", "BSSY", "BSYNC", "WARPSYNC", "BAR", "YIELD", "DEPBAR", "LDGDEPBAR", "ENDCOLLECTIVE", "BREAK", "STG", "STS",
    "ST", "RED", "REDG", "LDGSTS", "MEMBAR", "ERRBAR", "CCTL", "FENCE", "NANOSLEEP", "WARPGROUP", "SYNCS", "ARRIVES",
    "PREEXIT", "ACQBULK", "UTMALDG", "CGAERRBAR", "UCGABAR_ARV", "UCGABAR_WAIT", "DEPBAR",
}  # fmt: skip
KNOWN = {
    "IADD3": arithmetic.add, "UIADD3": arithmetic.add, "VIADD": arithmetic.add,
    "IMAD": arithmetic.multiply_add, "UIMAD": arithmetic.multiply_add,
    "LEA": arithmetic.shifted_add, "ULEA": arithmetic.shifted_add,
    "SHF": arithmetic.shift, "USHF": arithmetic.shift,
    "LOP3": arithmetic.logic, "ULOP3": arithmetic.logic,
    "ISETP": arithmetic.compare, "UISETP": arithmetic.compare,
    "PLOP3": arithmetic.combine, "UPLOP3": arithmetic.combine,
    "SEL": arithmetic.choose, "USEL": arithmetic.choose, "IMNMX": arithmetic.choose, "VIMNMX": arithmetic.choose,
    "VIADDMNMX": arithmetic.choose, "UIMNMX": arithmetic.choose,
    "PRMT": arithmetic.permute, "UPRMT": arithmetic.permute,
    "IABS": arithmetic.absolute, "P2R": arithmetic.packed_predicates, "UP2UR": arithmetic.packed_predicates, "R2P": arithmetic.unpacked_predicates,
    "I2F": arithmetic.convert, "I2FP": arithmetic.convert, "F2I": arithmetic.convert,
    "FADD": floats.add, "FMUL": floats.multiply, "FFMA": floats.multiply_add, "FMNMX": floats.choose,
    "FCHK": floats.check,
    "LDC": memory.constant, "ULDC": memory.constant, "LDG": memory.load, "LD": memory.load, "LDS": memory.load,
    "LDL": memory.load, "STL": memory.store_local,
    "S2R": memory.special, "S2UR": memory.special, "CS2R": memory.special,
    "MOV": memory.move, "UMOV": memory.move, "R2UR": memory.move, "VOTE": memory.vote, "VOTEU": memory.vote,
}  # fmt: skip
# Destinations of more than one register.
WORDS = {"HMMA": 4, "LDSM": 4, "DADD": 2, "DMUL": 2, "DFMA": 2, "WGMMA": 0, "HGMMA": 0}


def step_of(item: Instruction) -> Step:
    """Effect of an instruction on a lane; a result that needs data is unknown."""
    name = item.name
    if name in NOTHING:
        return lambda lane: None
    if name in KNOWN:
        return KNOWN[name](item)
    if name == "HFMA2" and (step := arithmetic.half_constant(item)):
        return step
    if name == "MUFU" and "RCP" in item.parts:
        return arithmetic.convert(item)
    return forget(item)


def forget(item: Instruction) -> Step:
    """Makes unknown what an instruction writes: registers and predicates that come first."""
    writes = []
    operands = list(item.operands)
    while operands and is_predicate(operands[0]):
        writes.append(truth_writer(operands.pop(0)))
    if operands and register_index(operands[0]):
        parts = WORDS.get(item.name, 2 if "64" in item.parts else 1)
        writes += [writer(operands[0], part) for part in range(parts)]
        writes += [truth_writer(operand) for operand in operands[1:2] if is_predicate(operand)]

    def step(lane: Lane) -> None:
        for write in writes:
            write(lane, None)

    return step
