"""One attack's figures, and what is wrong with them."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

HONEST = ("unary", "id", "stream")
# Seconds for a probe. The short run shares its machine with whatever else runs there; --strict wants one of its own.
CEILING, STRICT_CEILING = 1.0, 0.1
STRICT_SLOWER = 2.0
# An attack may last this long, and so many times what honest requests usually take, and still none is answered.
SETTLING, SLOW = 1.0, 4.0


@dataclass
class Row:
    """An attack, or several together, from its first byte until honest requests that began in it were answered."""

    name: str
    attacked: bool
    seconds: float
    stopped: float
    peak: int
    # Of a server that has ended; None while it runs.
    exit_code: int | None
    over_limit: bool
    did: dict[str, int]
    complaints: list[str]
    outcomes: dict[str, int] = field(default_factory=dict)
    answered_within: int = 0
    # Refusals before the answer or the failure, by reason.
    refusals: dict[str, int] = field(default_factory=dict)
    p95: float = 0.0
    probe: float = 0.0
    probes_failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def count(self, begin: float, events: list[dict[str, Any]]) -> None:
        """Fills in the figures of the events that began in it."""
        end = begin + self.seconds
        mine = [event for event in events if begin <= event["at"] <= end]
        honest = [event for event in mine if event["kind"] in HONEST]
        probes = [event for event in mine if event["kind"] == "probe"]
        good = [event for event in honest if event["outcome"] == "ok"]
        self.outcomes = dict(Counter(event["outcome"] for event in honest))
        self.answered_within = sum(event["at"] + event["seconds"] <= end for event in good)
        self.refusals = dict(Counter(reason for event in honest for reason in event["refusals"]))
        self.p95 = percentile([event["seconds"] for event in good], 0.95)
        self.probe = max((event["seconds"] for event in probes), default=0.0)
        self.probes_failed = sum(not event["good"] for event in probes)
        failed = [event for event in honest if event["outcome"] != "ok"]
        self.reasons = dict(Counter(f"{event['kind']}: {event['why']}" for event in failed))

    def faults(self, usual: float, *, strict: bool) -> list[str]:
        """Everything that fails the test; `usual` is the 95th percentile without an attack."""
        if self.over_limit:
            return [f"the server was killed, at {self.peak / 2**20:.0f} MiB"]
        if self.exit_code is not None:
            return [f"the server ended with exit code {self.exit_code}"]
        found = list(self.complaints)
        if self.attacked and not self.did:
            found.append("the attack did nothing")
        if wrong := self.outcomes.get("wrong"):
            found.append(f"{wrong} honest answers were wrong")
        if failed := self.outcomes.get("failed"):
            found.append(f"{failed} honest requests failed: {next(iter(self.reasons))}")
        if self.answered_within == 0 and self.seconds - self.stopped > max(SETTLING, SLOW * usual):
            found.append(f"no honest request was answered in {self.seconds:.1f} s")
        if self.probes_failed:
            found.append(f"{self.probes_failed} probes failed")
        ceiling = (STRICT_CEILING if strict else CEILING) + self.stopped
        if self.probe > ceiling:
            found.append(f"a probe took {self.probe:.2f} s")
        if strict and not self.stopped and self.p95 > STRICT_SLOWER * usual:
            found.append(f"honest requests took {self.p95 * 1e3:.0f} ms instead of {usual * 1e3:.0f} ms")
        return found

    def as_json(self, usual: float, *, strict: bool) -> dict[str, Any]:
        """All of it."""
        return asdict(self) | {"faults": self.faults(usual, strict=strict)}


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


HEAD = ["", "peak MiB", "server", "honest ok", "refused", "wrong", "failed", "p95 ms", "probe ms", "s", "did"]


def cells(row: Row) -> list[str]:
    """A line of the table."""
    counts = [row.outcomes.get("ok", 0), sum(row.refusals.values()), row.outcomes.get("wrong", 0), row.outcomes.get("failed", 0)]
    figures = [f"{row.p95 * 1e3:.0f}", f"{row.probe * 1e3:.0f}", f"{row.seconds:.1f}"]
    did = ", ".join(
        f"{number / 2**20:.1f} MiB" if name == "bytes" else f"{number} {name}" for name, number in row.did.items()
    )
    fate = "killed" if row.over_limit else "ended" if row.exit_code is not None else "survived"
    return [row.name, f"{row.peak / 2**20:.0f}", fate, *map(str, counts), *figures, did]


def table(rows: list[Row]) -> str:
    """All rows, for a person."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = []
    for line in lines:
        middle = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        padded.append("  ".join([line[0].ljust(widths[0]), *middle, line[-1]]))
    return "\n".join(padded)
