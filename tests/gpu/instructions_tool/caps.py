"""The committed caps of every kernel: what must not grow, and the share that must not shrink."""

import pathlib
import tomllib

from .count import Figures

FILE = pathlib.Path(__file__).parents[1] / "instructions.toml"
HEAD = """\
# Caps of the kernels, compared by tests/gpu/instructions: registers, bytes of spills and of static shared memory,
# instructions for each value of the launch in instructions_launches.toml, and the least share of tensor instructions in
# the hot loop, in percent. `tests/gpu/instructions --update` lowers them to what is measured; raising one is an edit by
# hand, with its reason in the commit.
"""
FIELDS = ("registers", "spill", "shared", "per_value", "tensor")
# Figures are exact for one compiler; a cap that is this close to its figure is not worth lowering.
SLACK = 0.01


def key(figures: Figures) -> str:
    """The name of a kernel's entry."""
    return f"{figures.kernel}.sm_{figures.architecture}"


def read() -> dict[str, dict[str, float]]:
    """The committed caps."""
    if not FILE.exists():
        return {}
    kernels = tomllib.loads(FILE.read_text())
    return {f"{kernel}.{arch}": caps for kernel, by_arch in kernels.items() for arch, caps in by_arch.items()}


def compare(found: list[Figures], caps: dict[str, dict[str, float]]) -> tuple[list[str], list[str]]:
    """Figures beyond their caps, and caps that can be lowered."""
    faults, gains = [], []
    for figures in found:
        cap = caps.get(key(figures))
        if cap is None:
            faults.append(f"{key(figures)}: no caps in {FILE.name}; add them with --update")
            continue
        for field in FIELDS:
            value, limit = getattr(figures, field), cap[field]
            better, sign = (value - limit, "below") if field == "tensor" else (limit - value, "above")
            if better < -1e-9:
                faults.append(f"{key(figures)}: {field} {value:g} is {sign} the cap of {limit:g}")
            elif better > SLACK * max(abs(limit), 1e-9):
                gains.append(f"{key(figures)}: {field} {value:g}, cap {limit:g}")
    names = {key(figures) for figures in found}
    faults += [f"{name}: caps for a kernel that does not exist" for name in sorted(caps.keys() - names)]
    return faults, gains


def lowered(found: list[Figures], caps: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Caps of the kernels that exist, none looser than before."""
    result = {}
    for figures in found:
        held = caps.get(key(figures), {})
        entry = {}
        for field in FIELDS:
            value = getattr(figures, field)
            tighter = max if field == "tensor" else min
            entry[field] = tighter(value, held[field]) if field in held else value
        result[key(figures)] = entry
    return result


def write(caps: dict[str, dict[str, float]]) -> None:
    """Writes the file."""
    lines = [
        f"{name} = {{ " + ", ".join(f"{field} = {entry[field]:.10g}" for field in FIELDS) + " }"
        for name, entry in sorted(caps.items())
    ]
    FILE.write_text(HEAD + "\n" + "\n".join(lines) + "\n")
