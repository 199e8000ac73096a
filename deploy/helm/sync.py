"""Renews what the chart holds a copy of; with --check it changes nothing and fails where something is stale.

A chart can only read files of its own folder, and links do not survive packaging: so rules and dashboard are copied, and
the defaults of values.yaml, by which a template tells a value that was left empty.
The schema of `settings` comes from the program itself, the table of values from the comments of values.yaml.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/sed-serve"
COPIES = {
    "deploy/prometheus/rules.yaml": "files/rules.yaml",
    "deploy/grafana/sed-serve.json": "files/sed-serve.json",
}
START, END = "<!-- values: made by deploy/helm/sync -->", "<!-- end of values -->"


def program() -> str:
    """The built program; its settings are the chart's."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    path = os.environ.get("SED_SERVE", f"{target}/release/sed-serve")
    if not Path(path).exists():
        sys.exit(f"no program at {path}: build it, or set SED_SERVE")
    return path


def settings() -> dict[str, Any]:
    """Every setting of --config, with its default."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SED_")}
    shown = subprocess.run([program(), "serve", "--print-config"], check=True, capture_output=True, env=clean)
    return tomllib.loads(shown.stdout.decode())


def setting_schema(default: Any) -> dict[str, Any]:
    """Returns the schema of a setting, derived from its default; one that is left empty is not set."""
    match default:
        case bool():
            return {"type": ["boolean", "null"]}
        case int():
            return {"type": ["integer", "null"], "minimum": 0}
        case float():
            return {"type": ["number", "null"], "minimum": 0}
        case str():
            return {"type": ["string", "null"]}
        case list():
            return {"type": ["array", "null"], "items": {"type": "string"}}
    raise TypeError(f"no schema for a setting like {default!r}")


def schema() -> str:
    """values.schema.json with today's settings."""
    written = json.loads((CHART / "values.schema.json").read_text())
    known = settings()
    written["properties"]["settings"]["properties"] = {name: setting_schema(known[name]) for name in sorted(known)}
    return dump(written) + "\n"


def dump(value: Any, indent: str = "") -> str:
    """JSON in which what fits a line stands on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 118 or not isinstance(value, dict):
        return flat
    inner = indent + "  "
    items = [f"{inner}{json.dumps(key)}: {dump(item, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(items) + "\n" + indent + "}"


def comment(key: yaml.ScalarNode, lines: list[str]) -> str:
    """The comment right above a key."""
    found: list[str] = []
    above = key.start_mark.line - 1
    while above >= 0 and lines[above].lstrip().startswith("#"):
        found.insert(0, lines[above].lstrip("# ").rstrip())
        above -= 1
    return " ".join(found)


def has_comments(node: yaml.Node, lines: list[str]) -> bool:
    """Reports whether any key within a map has a comment of its own."""
    return isinstance(node, yaml.MappingNode) and any(
        comment(key, lines) or has_comments(value, lines) for key, value in node.value
    )


def rows(node: yaml.MappingNode, lines: list[str], prefix: str = "") -> list[tuple[str, str, str]]:
    """Name, default and comment of every value; a map without comments inside is one value."""
    found = []
    for key, value in node.value:
        name = prefix + key.value
        if has_comments(value, lines):
            found += rows(value, lines, f"{name}.")
        else:
            default = yaml.SafeLoader("").construct_document(value)
            found.append((name, json.dumps(default, ensure_ascii=False), comment(key, lines)))
    return found


def readme() -> str:
    """README.md with today's values."""
    text = (CHART / "values.yaml").read_text()
    _, _, body = text.partition("\n\n")
    lines = body.splitlines()
    table = ["| value | default | meaning |", "|---|---|---|"]
    values = yaml.compose(body)
    assert isinstance(values, yaml.MappingNode)
    for name, default, meaning in rows(values, lines):
        table.append(f"| `{name}` | `{default}` | {meaning} |")
    written = (CHART / "README.md").read_text()
    before, _, rest = written.partition(START)
    _, _, after = rest.partition(END)
    return before + START + "\n" + "\n".join(table) + "\n" + END + after


def defaults() -> str:
    """files/defaults.json: every value of the table with its default, because a chart cannot read its own values.yaml."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.compose(text)
    assert isinstance(values, yaml.MappingNode)
    found = {name: json.loads(default) for name, default, _ in rows(values, text.splitlines())}
    return dump(found) + "\n"


def main() -> None:
    wanted = {CHART / "values.schema.json": schema(), CHART / "README.md": readme()}
    wanted[CHART / "files/defaults.json"] = defaults()
    for source, copy in COPIES.items():
        wanted[CHART / copy] = (ROOT / source).read_text()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"stale: {names}; run deploy/helm/sync")
        return
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path])
        print(f"renewed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
