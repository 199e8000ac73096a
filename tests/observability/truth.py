"""Do the numbers tell the truth? What Prometheus says of a load, beside what the load counted of itself."""

import math
from dataclasses import dataclass

from ledger import Ledger
from prometheus import Prometheus


@dataclass(frozen=True)
class Row:
    """One comparison: by the client, by the counter's values before and after, and by increase()."""

    selector: str
    counted: float
    differs: float
    increase: float

    def holds(self, seconds: int) -> bool:
        """The counter agrees exactly (sums of times to their rounding); increase() extrapolates to whole windows,
        which adds at most a scrape at each end."""
        exact = math.isclose(self.counted, self.differs, rel_tol=1e-6, abs_tol=1e-6)
        near = math.isclose(self.increase, self.differs, rel_tol=2 / (seconds - 2), abs_tol=1e-6)
        return exact and near


def compared(prometheus: Prometheus, ledger: Ledger, before: float, after: float) -> tuple[list[Row], int]:
    """Everything that the ledger holds, between two scrapes."""
    seconds = math.ceil(after - before) + 1
    rows = []
    for selector, counted in sorted(ledger.counts.items()):
        values = [prometheus.value(f"sum({selector})", moment) for moment in (before, after)]
        increase = prometheus.value(f"sum(increase({selector}[{seconds}s]))", after)
        rows.append(Row(selector, counted, values[1] - values[0], increase))
    return rows, seconds


def tell(title: str, rows: list[Row], seconds: int) -> int:
    """Prints the table; gives how many rows do not hold."""
    print(f"\n{title}, {seconds} s\n{'counted':>14} {'Prometheus':>14} {'increase()':>14}")
    for row in rows:
        mark = "" if row.holds(seconds) else "   <-- differs"
        print(f"{row.counted:14.10g} {row.differs:14.10g} {row.increase:14.6g}  {row.selector}{mark}")
    return sum(not row.holds(seconds) for row in rows)
