"""Documents of the repository: metrics, panels, rules and runbooks."""

import json
import pathlib
import re
from dataclasses import dataclass
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "sed-serve.json"
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
RUNBOOKS = ROOT / "deploy" / "prometheus" / "RUNBOOKS.md"
METRICS = ROOT / "deploy" / "METRICS.md"


@dataclass(frozen=True)
class Metric:
    """A row of METRICS.md. A label without values may have any."""

    kind: str
    labels: dict[str, list[str]]
    buckets: list[float]


@dataclass(frozen=True)
class Query:
    """A query and where it stands."""

    where: str
    expr: str


def metrics() -> dict[str, Metric]:
    """The series that a server serves, by name; those of a histogram under their three names."""
    found: dict[str, Metric] = {}
    for line in METRICS.read_text().splitlines():
        if not line.startswith("| `sed_"):
            continue
        name, kind, labels, buckets = [cell.strip() for cell in line.split("|")[1:5]]
        values: dict[str, list[str]] = {}
        for label, text in re.findall(r"`(\w+)`: ([^;]+)", labels):
            values[label] = [] if text == "free" else text.split(", ")
        metric = Metric(kind, values, [float(bound) for bound in buckets.split(", ")] if buckets else [])
        for end in ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]:
            found[name.strip("`") + end] = metric
    return found


def rules() -> list[dict[str, Any]]:
    """All recording and alerting rules."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def panel_queries(panel: dict[str, Any]) -> list[Query]:
    return [Query(f"panel {panel['title']}, {target['refId']}", target["expr"]) for target in panel["targets"]]


def annotations() -> list[Query]:
    made = json.loads(DASHBOARD.read_text())["annotations"]["list"]
    return [Query(f"annotation {each['name']}", each["target"]["expr"]) for each in made]


def variables() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["templating"]["list"]


def for_autoscalers() -> set[str]:
    """Recorded series that no panel and no alert needs: deploy/README.md offers them to autoscalers."""
    return {"job:sed_queue_wait_seconds:p95_rate5m", "job:sed_queue_depth:sum", "instance:sed_device_busy:ratio_rate5m"}


def substituted(expr: str, seconds: int, rate_interval: str = "4s") -> str:
    """The query that Grafana would send, with everything chosen, a scrape every second, and `seconds` of time on show.

    $__rate_interval is the larger of four scrapes and a step and a scrape.
    """
    values = {"namespace": ".*", "job": ".+", "instance": ".+", "model": ".+"}
    values |= {"__rate_interval": rate_interval, "__interval": "1s", "__range": f"{seconds}s"}
    return re.sub(r"\$(\w+)", lambda variable: values[variable[1]], expr)
