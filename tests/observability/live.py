"""Loads a server that a real Prometheus scrapes, and asks it everything that dashboard and rules ask.

python live.py HOST:PORT OPS_HOST:OPS_PORT SED_SERVE
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import clean
import client as api
import documents
import faults
import prometheus as prometheus_server
import shown
import truth
from ledger import Ledger
from prometheus import Prometheus


def bench(sed_serve: str, address: str, ledger: Ledger) -> None:
    """The load generator of the program itself; it tells its counts as JSON."""
    command = [
        sed_serve,
        "--json",
        "bench",
        "load",
        "--server",
        f"http://{address}",
        "--requests",
        "80",
        "--clients",
        "4",
    ]
    command += ["--warm-up", "0", "--cold", "--vocabulary", "pascal-voc-20", "--vocabulary", "pascal-context-59"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    counts, texts = told["result"]["counts"], told["result"]["text_cache"]
    assert counts["attempted"] == counts["succeeded"] == 80, counts
    ledger.add('sed_requests_total{method="Segment", code=~"OK"}', counts["succeeded"])
    ledger.add('sed_requests_total{method="Segment", code!="OK"}', counts["failed"])
    ledger.add("sed_text_cache_hits_total", texts["hits"])
    ledger.add("sed_text_cache_misses_total", texts["misses"])


def phase(prometheus: Prometheus, title: str, ledger: Ledger, load: Callable[[], None]) -> int:
    """A load between two quiet moments; gives how many of its numbers Prometheus tells otherwise."""
    before = prometheus.quiet_since(time.time() - 1)
    load()
    after = prometheus.quiet_since(time.time())
    if ledger.unsure:
        ledger.keep_calls()
    rows, seconds = truth.compared(prometheus, ledger, before, after)
    return truth.tell(title, rows, seconds)


def main() -> None:
    address, ops_address, sed_serve = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        with prometheus_server.running(ops_address, documents.RULES, pathlib.Path(folder)) as prometheus:
            check(prometheus, address, sed_serve)


def check(prometheus: Prometheus, address: str, sed_serve: str) -> None:
    start = time.time()
    book, own, bad = Ledger(), Ledger(), Ledger(("OK", "CANCELLED", "DEADLINE_EXCEEDED"))
    differ = phase(prometheus, "mixed load", book, lambda: clean.run(api.Client(address, book)))
    differ += phase(prometheus, "sed-serve bench load", own, lambda: bench(sed_serve, address, own))
    differ += phase(
        prometheus, "refusals, deadlines, cancelled calls", bad, lambda: faults.run(api.Client(address, bad))
    )
    end = time.time()
    panels = documents.panels()
    found = [fault for panel in panels for fault in shown.panel_faults(prometheus, panel, start, end)]
    found += shown.rule_faults(prometheus, start, end)
    found += shown.variable_faults(prometheus)
    for query in documents.annotations():
        prometheus.over(documents.substituted(query.expr, 60), start, end)
    # A tenth of a month's budget went within the last minute.
    if not prometheus.at('ALERTS{alertname="SedAvailabilityBurnsSlowly", alertstate="firing"}', end):
        found.append("alert SedAvailabilityBurnsSlowly does not fire although calls were refused")
    queries = sum(len(documents.panel_queries(panel)) for panel in panels)
    print(
        f"\n{queries} queries of {len(panels)} panels and {len(documents.rules())} rules asked over {end - start:.0f} s"
    )
    if found or differ:
        sys.exit("\n".join([*found, f"{differ} numbers differ"]))
    print("each has values, and every number is the one that was counted")


if __name__ == "__main__":
    main()
