"""A ledger's launches walked through the machine code: what each of their warps issues, by pipe."""

import hashlib
import json
import math
import typing

from instructions_tool import count, listing, toolchain, walk
from instructions_tool.listing import Instruction
from instructions_tool.reference import family

ARCHITECTURE = 90
FLOAT = {"FFMA", "FADD", "FMUL", "HFMA2", "HADD2", "HMUL2", "FFMA2", "FADD2"}
SPECIAL = {"MUFU", "I2F", "F2I", "F2F", "I2I", "POPC", "FLO", "BREV", "FRND", "REDUX"}
MEMORY = {"LDG", "STG", "LDS", "STS", "LD", "ST", "LDL", "STL", "LDSM", "STSM", "LDGSTS", "SHFL", "ATOM", "ATOMS",
          "ATOMG", "RED", "REDG", "LDC"}  # fmt: skip
# They go to the uniform pipe or to none.
OTHER = {"BRA", "EXIT", "NOP", "BSSY", "BSYNC", "BAR", "CALL", "RET", "WARPSYNC", "DEPBAR", "LDGDEPBAR", "YIELD", "S2R"}
Walked = dict[str, float]
# Rounds of loops that end by data: bits until the best logits are told apart; maps that win in a warp's pixels.
ROUNDS = {
    "top_k_union": 20,
    "compact_pairs": 1,
    "upsample_argmax": 1,
    "upsample_argmax_ranked": 1,
    "finish": 1,
    "finish_ranked": 1,
}


def pipe(item: Instruction) -> tuple[str | None, float]:
    """The pipe that an instruction occupies, and how many times its usual clocks."""
    name = item.name
    if name in FLOAT:
        return "fma", 1.0
    if name == "IMAD":
        return "fma_integer", 1.0
    if name in SPECIAL:
        return "special", 1.0
    if name in MEMORY:
        if name == "LDC":
            return "memory", 0.25  # a broadcast from the constant cache
        return "memory", 4.0 if "128" in item.parts else 2.0 if "64" in item.parts else 1.0
    if walk.is_tensor(item):
        return "tensor", 1.0
    if name in OTHER or name.startswith("U"):
        return None, 0.0
    return "alu", 1.0


class Kernels:
    """The machine code of all own kernels for one architecture, and what is known of launches already."""

    def __init__(self) -> None:
        compiler = toolchain.nvcc()
        self.ways: dict[str, walk.Way] = {}
        self.resources: dict[str, dict[str, int]] = {}
        self.digests: dict[str, str] = {}
        for source in toolchain.sources():
            text, resources = toolchain.machine_code(source, ARCHITECTURE, compiler)
            for name, kernel in listing.parse(text).items():
                self.ways[name] = walk.Way.of(kernel)
                self.digests[name] = hashlib.sha256(text.encode()).hexdigest()[:24]
            self.resources |= resources
        self.file = toolchain.CACHE / f"launches.{count.code_digest()[:24]}.json"
        self.known: dict[str, Walked] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def walked(self, entry: dict[str, typing.Any]) -> Walked | None:
        """The walk of one launch; `None` for a kernel that is not ours."""
        name = entry["name"]
        if name not in self.ways:
            return None
        seen = [entry["grid"], entry["block"], entry["args"], sorted(contents(entry).items())]
        key = json.dumps([self.digests[name], name, *seen])
        if key not in self.known:
            toolchain.say(f"walking {name} in {entry['grid']} blocks")
            self.known[key] = self.walk(entry)
        return self.known[key] | {
            "registers": self.resources[name]["registers"],
            "static": self.resources[name]["shared"],
        }

    def walk(self, entry: dict[str, typing.Any]) -> Walked:
        """Mean instructions of a warp by pipe, and those of the longest."""
        way = self.ways[entry["name"]]
        threads = entry["block"][0] * entry["block"][1] * entry["block"][2]
        rounds = ROUNDS.get(family(entry["name"]), 0)
        launch = walk.Launch(tuple(entry["grid"]), threads, arguments(entry), contents(entry), rounds)
        profile = walk.profile(way, launch, ARCHITECTURE, 3)
        if profile.guessed and not launch.rounds:
            raise walk.Lost(f"{entry['name']}: {profile.guessed} loops end by data; add it to ROUNDS in launches.py")
        sums: Walked = {"issued": profile.issued / profile.warps, "longest": profile.longest}
        for at, times in profile.counts.items():
            name, weight = pipe(way.kernel.code[at])
            if name:
                sums[name] = sums.get(name, 0.0) + times * weight
        return {name: round(value, 2) for name, value in sums.items()}

    def save(self) -> None:
        """Writes the walked launches to the cache."""
        self.file.write_text(json.dumps(self.known))


def arguments(entry: dict[str, typing.Any]) -> list[tuple[str, float]]:
    """The ledger's arguments as those of a walk."""
    found = []
    for arg in entry["args"]:
        if "pointer" in arg:
            found.append(("pointer", float(arg["pointer"] > 0)))
        elif kind := next((kind for kind in ("i32", "i64", "f32") if kind in arg), None):
            found.append((kind, arg[kind] or 0.0))
        else:
            raise walk.Lost(f"{entry['name']}: an argument {arg} that is no pointer and no number")
    return found


def contents(entry: dict[str, typing.Any]) -> dict[int, list[int]]:
    """Words that decide how long a kernel runs: the pairs of each image, as many for one as for another, and the best
    that are wanted of each. Other kernels' loops depend on their arguments alone."""
    try:
        return contents_of(family(entry["name"]), entry["args"], entry["grid"][1])
    except (KeyError, IndexError) as error:
        raise walk.Lost(f"{entry['name']} takes other arguments than contents_of in launches.py expects") from error


def contents_of(name: str, args: list[dict[str, typing.Any]], images: int) -> dict[int, list[int]]:
    """The rule of each kernel."""
    if name.startswith(("attention_sums", "attention_apply")):
        # Kernels for any depth have it as one more number at the end.
        pixels, channels = [arg["i32"] for arg in args if "i32" in arg][:2]
        pairs = args[0]["pointer"] // (3 * args[0]["element"] * pixels * channels)
        return {1: [0, pairs // images]}
    if name == "finish_scores":
        return {1: [args[0]["pointer"] // (args[0]["element"] * args[5]["i32"])]}
    if name in ("finish", "finish_ranked"):
        rows, columns = args[7]["i32"], args[8]["i32"]
        # As if all pairs that there is room for were left, and all outputs were square.
        pairs = args[0]["pointer"] // (args[0]["element"] * rows * columns)
        size = math.isqrt(args[4]["pointer"] // (2 * images))
        shift = -(-max(size - rows, 0) // (2 * rows))
        record = [size, size, columns, rows, -shift % 8, 0, -1, -1, 0, size * size // 2, int(name != "finish")]
        return {1: [0, pairs // images], 3: record * images}
    if name == "top_k_union":
        pairs = args[0]["pointer"] // (args[0]["element"] * args[7]["i32"])
        return {1: [0, pairs // images], 3: [8]}
    if name == "compact_pairs":
        # As if as many pairs were there before as there is room for behind.
        return {0: [0, args[13]["i32"] // args[10]["i32"]], 3: [8]}
    return {}
