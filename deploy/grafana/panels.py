"""Panels of a Grafana dashboard as plain dictionaries, in the schema of Grafana 11 and 12."""

from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


def query(expr: str, legend: str, **more: Any) -> Json:
    """A query over the shown time. `legend` names its series; `{{label}}` stands for a label's value."""
    return {"expr": expr, "legendFormat": legend, "editorMode": "code", "range": True, "instant": False, **more}


def now(expr: str, **more: Any) -> Json:
    """A query for a table: the last values."""
    return query(expr, "", range=False, instant=True, format="table", **more)


def steps(*bounds: tuple[float | None, str]) -> Json:
    """Colours from bounds on: the first bound is None, for all that is below the second."""
    return {"mode": "absolute", "steps": [{"value": bound, "color": colour} for bound, colour in bounds]}


def coloured(name: str, colour: str) -> Json:
    """A fixed colour for the series of this name."""
    return override({"id": "byName", "options": name}, {"color": {"mode": "fixed", "fixedColor": colour}})


def dashed(pattern: str) -> Json:
    """Series that match are bounds: a dashed line that is neither filled nor stacked."""
    custom = {"lineStyle": {"fill": "dash", "dash": [8, 6]}, "fillOpacity": 0, "stacking": {"mode": "none"}}
    properties = {f"custom.{name}": value for name, value in custom.items()}
    return override({"id": "byRegexp", "options": pattern}, properties)


def override(matcher: Json, properties: Json) -> Json:
    """Other settings for some of the series."""
    return {"matcher": matcher, "properties": [{"id": name, "value": value} for name, value in properties.items()]}


def panel(kind: str, title: str, description: str, queries: list[Json], width: int, height: int) -> Json:
    """The parts that all panels share. A panel without a query shows nothing, so each has at least one."""
    targets = [
        {"refId": chr(ord("A") + number), "datasource": DATASOURCE, **each} for number, each in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
    }


def lines(
    title: str,
    unit: str,
    description: str,
    *queries: Json,
    width: int = 8,
    stacked: bool = False,
    highest: float | None = None,
    overrides: tuple[Json, ...] = (),
) -> Json:
    """Lines over time, or areas on top of each other."""
    made = panel("timeseries", title, description, list(queries), width, 8)
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    defaults: Json = {"unit": unit, "min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    if highest is not None:
        defaults["max"] = highest
    made["fieldConfig"] = {"defaults": defaults, "overrides": list(overrides)}
    made["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def number(
    title: str, unit: str, description: str, each: Json, thresholds: Json, width: int = 3, height: int = 4
) -> Json:
    """One figure, coloured by how good it is, over its course."""
    made = panel("stat", title, description, [each], width, height)
    made["fieldConfig"]["defaults"] = {
        "unit": unit,
        "decimals": 0 if unit == "none" else 2 if unit == "percentunit" else 1,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds,
        "noValue": "none",
    }
    made["options"] = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def heat(title: str, unit: str, description: str, expr: str, width: int = 8) -> Json:
    """A heat map of a histogram's buckets over time; the expression is the increase of each, by `le`."""
    made = panel("heatmap", title, description, [query(expr, "{{le}}", format="heatmap")], width, 8)
    made["fieldConfig"]["defaults"] = {"custom": {"scaleDistribution": {"type": "linear"}}}
    made["options"] = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "none"},
        "color": {"mode": "scheme", "scheme": "Turbo", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return made


def states(title: str, unit: str, description: str, each: Json, mappings: dict[str, tuple[str, str]]) -> Json:
    """A bar for each series that shows in which state it was; states are values with a text and a colour."""
    made = panel("state-timeline", title, description, [each], 12, 8)
    options = {value: {"text": text, "color": colour} for value, (text, colour) in mappings.items()}
    made["fieldConfig"]["defaults"] = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 70, "lineWidth": 0},
        "mappings": [{"type": "value", "options": options}],
    }
    made["options"] = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return made


def table(
    title: str, unit: str, description: str, columns: dict[str, str], *queries: Json, units: dict[str, str]
) -> Json:
    """A row for each series, with these labels and values as columns, in this order, under these headings."""
    made = panel("table", title, description, list(queries), 24, 7)
    made["fieldConfig"]["defaults"] = {"unit": unit, "custom": {"align": "auto", "cellOptions": {"type": "auto"}}}
    made["fieldConfig"]["overrides"] = [
        override({"id": "byName", "options": columns[name]}, {"unit": each}) for name, each in units.items()
    ]
    made["options"] = {"showHeader": True, "cellHeight": "sm"}
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {
                "indexByName": {name: number for number, name in enumerate(columns)},
                "renameByName": columns,
                "excludeByName": {},
            },
        },
    ]
    return made
