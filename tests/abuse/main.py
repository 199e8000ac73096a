"""Attacks, alone and mixed, and what became of the server and of its honest clients."""

import argparse
import asyncio
import json
import logging
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from attacks import EVERY, MEMORY, STALLED
from attacks.base import Attack, Target
from attacks.words import UNREADABLE
from house import House
from limits import MIB
from lines import Child
from row import HEAD, Row, cells, table
from server import Server

QUIET = 4.0  # seconds without an attack, for comparison
QUICK, MOST_STRETCH = 0.25, 4.0  # seconds that honest requests take at most on a machine with time to spare
TOGETHER = 15.0
MIXED = 6.0
IN_A_MIX = (2, 4)


class Run:
    """The plan of one run, and its rows so far."""

    def __init__(self, house: House, options: argparse.Namespace) -> None:
        self.house, self.options = house, options
        self.rows: list[Row] = []
        self.faults: list[str] = []
        self.usual = 0.0

    async def all(self) -> None:
        """Everything that was asked for."""
        end = time.monotonic() + 60 * self.options.minutes
        quiet = await self.house.quiet(TOGETHER if self.options.together else QUIET)
        self.usual = quiet.p95
        self._keep(quiet)
        if self.options.together:
            await self._play("all memory attacks", MEMORY, TOGETHER)
            await self._play("stalled, unread, idle", STALLED, TOGETHER)
            return
        if not self.options.mixes:
            for attack in self._chosen():
                await self._play(attack.name, [attack], attack.seconds)
        if not self.options.only:
            await self._play("stalled, unread, idle", STALLED, MIXED)
            await self._mixes(end)

    def _chosen(self) -> list[Attack]:
        only = self.options.only
        return [attack for attack in EVERY if not only or any(part in attack.name for part in only)]

    async def _mixes(self, end: float) -> None:
        chance = random.Random(self.options.seed)
        while time.monotonic() + MIXED < end:
            attacks = chance.sample(EVERY, chance.randint(*IN_A_MIX))
            if sum(attack.stopped > 0 for attack in attacks) < 2:
                await self._play("mix: " + " + ".join(attack.name for attack in attacks), attacks, MIXED)

    async def _play(self, name: str, attacks: list[Attack], seconds: float) -> None:
        # On a machine that is busy with something else, everything takes longer, attacks too.
        stretch = min(max(self.usual / QUICK, 1.0), MOST_STRETCH)
        row = await self.house.play(name, attacks, seconds * stretch)
        if not self._keep(row):
            print(self.house.server.log_tail(5), file=sys.stderr, flush=True)
            # A fresh server: damage by this attack is not held against the next one.
            await self.house.fresh()

    def _keep(self, row: Row) -> bool:
        self.rows.append(row)
        faults = row.faults(self.usual, strict=self.options.strict)
        self.faults += [f"{row.name}: {fault}" for fault in faults]
        print("  ".join(f"{title} {cell}".strip() for title, cell in zip(HEAD, cells(row), strict=True)))
        for fault in faults:
            print(f"    FAULT {fault}")
        sys.stdout.flush()
        return not faults

    def report(self) -> None:
        """The table, and the figures for programs."""
        slowest = max(self.rows[1:], key=lambda row: row.p95, default=self.rows[0])
        print("", table(self.rows), sep="\n")
        print(
            f"\nlimit {self.house.server.limit.size / MIB:.0f} MiB ({self.house.server.limit.kind}), "
            f"starts of the server {self.house.server.starts}, seed {self.options.seed}; p95 of honest requests "
            f"{self.usual * 1e3:.0f} ms without an attack, at most {slowest.p95 * 1e3:.0f} ms ({slowest.name})"
        )
        if self.options.json:
            server, strict = self.house.server, self.options.strict
            figures = {
                "limit": {"bytes": server.limit.size, "kind": server.limit.kind, "doctor_bytes": server.worst},
                "flags": server.flags,
                "seed": self.options.seed,
                "rows": [row.as_json(self.usual, strict=strict) for row in self.rows],
            }
            self.options.json.write_text(json.dumps(figures, indent=1))


async def prepare(server: Server, target: Target, honest: Child) -> None:
    """Before the limit: the answers to compare with, and files of the text folder that cannot be read."""
    await server.start(limited=False)
    await honest.ask("learn", target="{}:{}".format(*server.address))
    for attack in UNREADABLE:
        await attack.plant(target)
    await server.stop()


async def main(options: argparse.Namespace, folder: Path) -> list[str]:
    """The run; what was wrong."""
    server = Server(folder, options.limit_mib)
    target = Target(server, options.seed)
    honest, outside = await Child.start("honest.py"), await Child.start("outside.py")
    print(f"limit {server.limit.size / MIB:.0f} MiB by {server.limit.kind}; doctor: {server.worst / MIB:.0f} MiB")
    try:
        await prepare(server, target, honest)
        await server.start()
        run = Run(House(server, target, honest, outside, strict=options.strict), options)
        await run.all()
        run.report()
        return run.faults
    finally:
        await server.stop()
        await honest.stop()
        await outside.stop()
        server.limit.remove()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests/abuse/run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2, help="attacks alone come first, mixes fill the rest")
    parser.add_argument("--hour", action="store_const", const=60, dest="minutes", help="the same as --minutes 60")
    parser.add_argument("--seed", type=int, default=1, help="of the mixes and the words")
    parser.add_argument("--only", action="append", metavar="NAME", help="attacks with this in their name, alone")
    parser.add_argument("--mixes", action="store_true", help="mixes without the attacks alone")
    parser.add_argument("--together", action="store_true", help="all memory attacks at once, then the stalled ones")
    parser.add_argument("--strict", action="store_true", help="judge latencies as well: for a machine of its own")
    parser.add_argument("--limit-mib", type=int, metavar="N", help="instead of what doctor states, and a tenth more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--list", action="store_true", help="print the names of the attacks")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = arguments()
    for part in chosen.only or []:
        if not any(part in attack.name for attack in EVERY):
            sys.exit(f"no attack has `{part}` in its name; --list prints them")
    if chosen.list:
        print(*(attack.name for attack in EVERY), sep="\n")
        sys.exit()
    if not os.access(os.environ["SED_SERVE"], os.X_OK):
        sys.exit(f"no program at {os.environ['SED_SERVE']}: build it, or name another in SED_SERVE")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of every write to a server that was killed
    # Idle connections need descriptors here, too.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="sed-abuse-") as temporary:
        found = asyncio.run(main(chosen, Path(temporary)))
    if found:
        sys.exit("\n".join(["", f"{len(found)} faults:", *found]))
