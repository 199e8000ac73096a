"""Does every query of dashboard and rules answer, with what its reader expects?"""

import math
import re
from collections.abc import Iterator
from typing import Any

import documents
import static
from prometheus import Prometheus

# Panels that show nothing but zeros while nothing is wrong.
ZERO_WITHOUT_FAULTS = {
    "Damaged files",
    "Launches that failed",
    "Restarts and panics",
    "Run again in parts",
    "Transfers ended",
}
# Launches of whole requests, which only a GPU has.
ZERO_WITHOUT_GPU = {"Submissions"}
# What is served only where there is TLS: promtool sees it with data in rules/availability.yaml.
EMPTY_WITHOUT_TLS = {"Certificate ends in"}
# Rules in which nothing is recorded, or whose series are missing, for the same reason.
SERIES_WITHOUT_TLS = {"sed_tls_certificate_expiry_timestamp_seconds"}


def values(series: list[dict[str, Any]]) -> list[float]:
    return [float(value) for each in series for _, value in each["values"]]


def panel_faults(prometheus: Prometheus, panel: dict, start: float, end: float) -> Iterator[str]:
    """Each query of a panel has values; one of them at least is more than a zero."""
    title, highest = panel["title"], 0.0
    for query, target in zip(documents.panel_queries(panel), panel["targets"], strict=True):
        series = prometheus.over(documents.substituted(query.expr, round(end - start)), start, end)
        known = [value for value in values(series) if not math.isnan(value)]
        if not known and title not in EMPTY_WITHOUT_TLS:
            yield f"{query.where}: no value; {query.expr}"
        if any(math.isinf(value) for value in known):
            yield f"{query.where}: an infinite value; {query.expr}"
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            # Only Kubernetes knows of pods.
            if label != "pod" and any(label not in each["metric"] for each in series):
                yield f"{query.where}: the legend names {label}, which the series lack"
        highest = max([highest, *known])
    if (highest == 0) != (title in ZERO_WITHOUT_FAULTS | ZERO_WITHOUT_GPU | EMPTY_WITHOUT_TLS):
        yield f"panel {title}: its largest value is {highest}"


def rule_faults(prometheus: Prometheus, start: float, end: float) -> Iterator[str]:
    """Each rule is well; what is recorded has values; what an alert looks at has series."""
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if len(rules) != len(documents.rules()):
        yield f"prometheus has {len(rules)} rules of {len(documents.rules())}"
    for rule in rules:
        name = rule["name"]
        if rule["health"] != "ok" or rule.get("lastError"):
            yield f"rule {name}: {rule['health']} {rule.get('lastError', '')}"
        prometheus.over(rule["query"], start, end)
        if rule["type"] == "recording" and not prometheus.over(name, start, end):
            yield f"rule {name}: nothing is recorded"
        for selector in static.selectors(rule["query"]):
            if selector.name not in SERIES_WITHOUT_TLS and not prometheus.over(series_of(selector), start, end):
                yield f"rule {name}: no series for {series_of(selector)}"
        for alert in rule.get("alerts", []):
            notes = " ".join(alert["annotations"].values())
            if "<no value>" in notes or "error expanding" in notes:
                yield f"alert {name}: {notes}"


def series_of(selector) -> str:
    """The selector by itself, without the range that may stand behind it."""
    return selector.prettify()


def variable_faults(prometheus: Prometheus) -> Iterator[str]:
    """Each variable of the dashboard has something to choose; namespaces are Kubernetes' own."""
    for variable in documents.variables():
        if variable["type"] != "query" or variable["name"] == "namespace":
            continue
        query = documents.substituted(variable["query"]["query"], 60)
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        if not prometheus.get(f"label/{label}/values", **{"match[]": series}):
            yield f"variable {variable['name']}: nothing to choose from"
