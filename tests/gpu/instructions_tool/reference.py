"""The committed launches that instructions are counted for."""

import ast
import dataclasses
import operator
import pathlib
import tomllib

from .walk import Launch

FILE = pathlib.Path(__file__).parents[1] / "instructions_launches.toml"
FORMATS = ("f32", "bf16", "f16")
OPERATIONS = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Sub: operator.sub, ast.Div: operator.floordiv}


@dataclasses.dataclass
class Reference:
    """A launch, the values it makes, and what a value is."""

    launch: Launch
    values: int
    value: str


def number(text: str) -> int:
    """An integer expression of products and sums; `/` rounds down."""

    def of(node: ast.AST) -> int:
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.BinOp(left, op, right) if type(op) in OPERATIONS:
                return OPERATIONS[type(op)](of(left), of(right))
        raise ValueError(f"{FILE.name}: `{text}` is not an integer expression")

    return of(ast.parse(text.strip(), mode="eval").body)


def argument(text: str, index: int, memory: dict[int, list[int]]) -> tuple[str, float]:
    """One parameter; a pointer's known words go to `memory`."""
    kind, _, rest = text.partition(":")
    if kind in ("pointer", "null", "f32"):
        return ("f32", 0.0) if kind == "f32" else ("pointer", float(kind == "pointer"))
    if kind == "u32":
        memory[index] = [number(word) for word in rest.split(",")]
        return ("pointer", 1.0)
    if kind in ("i32", "i64"):
        return (kind, number(rest))
    raise ValueError(f"{FILE.name}: `{text}` is no argument; pointer, null, u32:.., i32:.., i64:.. or f32")


def references() -> dict[str, Reference]:
    """All launches by kernel, without the format's suffix."""
    found = {}
    for name, entry in tomllib.loads(FILE.read_text()).items():
        memory: dict[int, list[int]] = {}
        args = [argument(text, i, memory) for i, text in enumerate(entry["args"].split())]
        grid = tuple(number(size) for size in entry["grid"])
        launch = Launch(grid, entry["block"], args, memory, entry.get("rounds", 0))
        found[name] = Reference(launch, number(entry["values"]), entry["value"])
    return found


def family(kernel: str) -> str:
    """A kernel's name without its format."""
    stem, _, suffix = kernel.rpartition("_")
    return stem if suffix in FORMATS else kernel
