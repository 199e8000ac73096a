"""The figures, for a person."""

from typing import NamedTuple

from load import Load


class Row(NamedTuple):
    """One scenario; a figure that cannot be counted is empty."""

    title: str
    load: Load
    retried: str
    redispatched: str
    shares: list[int]
    restarts: int
    told: str


HEAD = ["scenario", "requests", "answered", "retries", "redispatched", "lost", "shares", "restarts", "done"]


def show(rows: list[Row]) -> None:
    """Prints the table, and below it what was lost."""
    lines = [HEAD]
    for row in rows:
        lost = sum(row.load.lost.values())
        figures = [row.load.requests, row.load.answered, row.retried, row.redispatched, lost]
        shares = "/".join(map(str, row.shares))
        lines.append([row.title, *map(str, figures), shares, str(row.restarts), row.told])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        print(line[0].ljust(widths[0]), *padded, line[-1], sep="  ")
    for row in rows:
        for failure, count in row.load.lost.items():
            print(f"lost in `{row.title}`: {count} x {failure}")
