#!/usr/bin/env python3
"""Writes sed-serve.json, the dashboard, beside this file. Needs nothing but Python 3.11.

python3 generate.py            writes it
python3 generate.py --check    only says whether what is written is what this program writes

service.py and engine.py define the panels, panels.py their look.
"""

import json
import pathlib
import sys

import engine
import service
from panels import DATASOURCE, Json
from promql import CHOSEN

FILE = pathlib.Path(__file__).with_name("sed-serve.json")
WIDTH = 24  # of Grafana's grid
ROWS = {
    "How it goes": service.overview,
    "Traffic": service.traffic,
    "Latency": service.latency,
    "Objectives (need deploy/prometheus/rules.yaml)": service.objectives,
    "Queue": service.queue,
    "Batches": engine.batches,
    "Stages": engine.stages,
    "Rejection": engine.rejection,
    "Caches": engine.caches,
    "Device": engine.device,
    "Replicas and versions": engine.replicas,
}


def variable(name: str, label: str, values: str, **more: object) -> Json:
    """A choice among the values of a label, with All as the usual."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": values, "refId": name},
        "refresh": 2,  # when the shown time changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        **more,
    }


def variables() -> list[Json]:
    """Data source, then ever narrower: a chosen model leaves only the servers that hold it."""
    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"},
        variable("namespace", "Namespace", "label_values(sed_build_info, namespace)", allValue=".*"),
        variable("job", "Job", 'label_values(sed_build_info{namespace=~"$namespace"}, job)'),
        variable("model", "Model", 'label_values(sed_model_info{namespace=~"$namespace", job=~"$job"}, name)'),
        variable(
            "instance",
            "Server",
            'label_values(sed_model_info{namespace=~"$namespace", job=~"$job", name=~"$model"}, instance)',
        ),
    ]


def annotation(name: str, colour: str, expr: str, text: str) -> Json:
    """Marks in all panels, wherever the expression has a value."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": colour,
        "target": {"refId": "Anno", "expr": expr, "interval": "60s"},
        "titleFormat": name,
        "textFormat": text,
    }


def annotations() -> list[Json]:
    """Marks for new versions, new models, and times without a ready model."""

    def appears(info: str, label: str) -> str:
        return f"group by ({label}) ({info}{{{CHOSEN}}}) unless group by ({label}) ({info}{{{CHOSEN}}} offset 5m)"

    return [
        annotation("New version", "blue", appears("sed_build_info", "version"), "sed-serve {{version}}"),
        annotation("New model", "purple", appears("sed_model_info", "name, digest"), "{{name}} {{digest}}"),
        annotation("Not ready", "red", f"sed_model_ready{{{CHOSEN}}} == 0", "{{instance}}"),
    ]


def laid_out() -> list[Json]:
    """All rows, their panels from left to right and line by line."""
    panels: list[Json] = []
    top = 0
    for title, make in ROWS.items():
        panels.append(
            {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place(0, top, WIDTH, 1)}
        )
        top, left, height = top + 1, 0, 0
        for panel in make():
            size = panel["gridPos"]
            if left + size["w"] > WIDTH:
                top, left, height = top + height, 0, 0
            panel["gridPos"] = place(left, top, size["w"], size["h"])
            left, height = left + size["w"], max(height, size["h"])
            panels.append(panel)
        top += height
    return [{"id": number, **panel} for number, panel in enumerate(panels, 1)]


def place(left: int, top: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def dashboard() -> Json:
    return {
        "uid": "sed-serve",
        "title": "sed-serve",
        "description": "Open-vocabulary segmentation: traffic, latency, queue, batches, rejection, caches, device.",
        "tags": ["sed-serve", "grpc", "inference"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "templating": {"list": variables()},
        "annotations": {"list": annotations()},
        "links": [],
        "panels": laid_out(),
    }


def main() -> None:
    text = json.dumps(dashboard(), indent=2) + "\n"
    if sys.argv[1:] == ["--check"]:
        if not FILE.exists() or FILE.read_text() != text:
            sys.exit(f"{FILE.name} is stale; run python3 {FILE.with_name('generate.py').name} beside it")
        return
    FILE.write_text(text)


if __name__ == "__main__":
    main()
