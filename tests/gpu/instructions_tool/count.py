"""Figures of every kernel: resources, instructions of the reference launch, share of tensor instructions."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib

from . import listing, toolchain, walk
from .reference import family, references

FOLDER = pathlib.Path(__file__).parent
FILES = sorted(file for file in FOLDER.glob("*.py") if not file.name.startswith("test_"))


@dataclasses.dataclass
class Figures:
    """Figures of a kernel for one architecture: instructions in the file (`code`) and in the hot loop
    (`loop_code`), issued by a lane for each value (`per_value`) and in a round of the hot loop (`loop`), and the share
    of tensor instructions of the latter in percent."""

    kernel: str
    architecture: int
    registers: int
    spill: int
    shared: int
    code: int
    per_value: float
    loop: float
    loop_code: int
    tensor: float


def code_digest() -> str:
    """Digest of this tool: another walk may count otherwise."""
    digest = hashlib.sha256()
    for file in FILES:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def figures() -> list[Figures]:
    """Figures of all kernels, compiled and walked where that has not been done before, a file for each core."""
    compiler, tool = toolchain.nvcc(), code_digest()
    toolchain.disassemblers()  # one process fetches them
    pairs = list(itertools.product(toolchain.sources(), toolchain.ARCHITECTURES))
    with concurrent.futures.ProcessPoolExecutor() as pool:
        found = list(pool.map(functools.partial(of_file, compiler, tool), *zip(*pairs)))
    used = {name for names, _ in found for name in names}
    if unused := sorted(references().keys() - used):
        raise toolchain.ToolError(f"instructions_launches.toml has {', '.join(unused)}, which no kernel is called")
    return [each for _, kernels in found for each in kernels]


def of_file(compiler: str, tool: str, source: pathlib.Path, architecture: int) -> tuple[set[str], list[Figures]]:
    """The families and the figures of one file's kernels."""
    known = references()
    text, resources = toolchain.machine_code(source, architecture, compiler)
    names = {family(kernel) for kernel in resources}
    missing = sorted(names - known.keys())
    if missing:
        raise toolchain.ToolError(f"no launch in instructions_launches.toml for {', '.join(missing)}")
    launches = json.dumps([dataclasses.asdict(known[name]) for name in sorted(names)], sort_keys=True)
    key = hashlib.sha256("\n".join([tool, text, launches]).encode()).hexdigest()[:24]
    cache = toolchain.CACHE / f"{source.stem}.{architecture}.{key}.figures.json"
    if not cache.exists():
        toolchain.say(f"walking {source.name} for sm_{architecture}")
        counted = of_listing(text, resources, architecture)
        cache.write_text(json.dumps([dataclasses.asdict(each) for each in counted]))
    return names, [Figures(**each) for each in json.loads(cache.read_text())]


def of_listing(text: str, resources: dict[str, dict[str, int]], architecture: int) -> list[Figures]:
    """The figures of one file's kernels."""
    known = references()
    found = []
    for name, kernel in sorted(listing.parse(text).items()):
        reference = known[family(name)]
        way = walk.Way.of(kernel)
        profile = walk.profile(way, reference.launch, architecture)
        if profile.guessed and not reference.launch.rounds:
            raise toolchain.ToolError(f"{name}: {profile.guessed} loops end by data; give its launch `rounds`")
        loop = walk.hot_loop(way, profile)
        found.append(
            Figures(
                kernel=name,
                architecture=architecture,
                code=sum(item.name != "NOP" for item in kernel.code),
                per_value=round(32 * profile.issued / reference.values, 4),
                loop=round(loop.issued / loop.rounds, 1) if loop else 0.0,
                loop_code=loop.last - loop.first + 1 if loop else 0,
                tensor=round(100 * loop.tensor / loop.issued, 2) if loop else 0.0,
                **resources[name],
            )
        )
    return found
