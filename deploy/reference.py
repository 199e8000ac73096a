#!/usr/bin/env python3
"""Writes settings.md and errors.md: every flag of the program, every reason of an error.

    deploy/reference.py [--check]     --check changes nothing and fails where a page is stale

Settings come from `sed-serve serve --help` ($SED_SERVE, or target/release/sed-serve), reasons from the comments of
proto/sed/v1/error_reason.proto.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MADE = "Made by `deploy/reference.py`; a test fails when it is stale.\n"


def help_text() -> str:
    """The program's own description of its flags, one paragraph a line."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    program = os.environ.get("SED_SERVE", f"{target}/release/sed-serve")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SED_")}
    shown = subprocess.run([program, "serve", "--help"], check=True, capture_output=True, text=True, env=clean)
    return shown.stdout


def flags(text: str) -> list[tuple[str, list[tuple[str, str, list[str]]]]]:
    """Headings with their flags: name, value, lines of the description."""
    sections: list[tuple[str, list[tuple[str, str, list[str]]]]] = []
    for line in text.splitlines():
        if heading := re.fullmatch(r"(\S.*):", line):
            sections.append((heading[1], []))
        elif flag := re.match(r"\s+(?:-\w, )?--([\w-]+)(?: \[?<(.+?)>\]?)?(?:\.\.\.)?$", line):
            sections[-1][1].append((flag[1], flag[2] or "", []))
        elif sections and sections[-1][1]:
            sections[-1][1][-1][2].append(line.strip())
    return sections


def row(name: str, value: str, lines: list[str], server: bool) -> str:
    """A line of the table."""
    text = " ".join(lines).strip()
    known = re.search(r"\[default: (.+?)\]", text)
    environment = re.search(r"\[env: (\w+)=.*?\]", text)
    # Of a switch, its value already says what is possible.
    text = re.sub(r"\s*\[(default|env|possible values): [^\]]*\]", "", text).replace("|", "\\|")
    text, _, values = re.sub(r"\s+", " ", text).partition(" Possible values: - ")
    text += f". {values.replace(' - ', '; ')}" if values else ""
    variable = environment[1] if environment else (f"SED_{name.upper().replace('-', '_')}" if server else "")
    flag = f"`--{name}`" + (f" {value}".replace("|", "\\|") if value else "")
    return f"| {flag} | {f'`{variable}`' if variable else ''} | {known[1] if known else ''} | {text} |"


def settings() -> str:
    """settings.md."""
    page = ["# Settings of `sed-serve serve`", "", MADE]
    page.append(
        "A flag wins over the environment, the environment over the file of `--config` (TOML; its keys are the flags' names\n"
        "with `_` for `-`). An empty variable, or an empty text in the file, counts as unset. A variable separates the items of a\n"
        "list by commas. A number of BYTES may have a unit: `64MiB`; a switch may be true or false, on or off, yes or no, 1 or\n"
        "0. `sed-serve serve --print-config` shows what the settings amount to; `sed-serve doctor` checks them, and warns of\n"
        "variables that begin with `SED_` and set nothing.\n"
    )
    for heading, found in flags(help_text()):
        server = "SED_<NAME>" in heading or "the same three ways" in heading
        rows = [row(name, value, lines, server) for name, value, lines in found if name != "help"]
        if rows:
            title = heading.split(" (")[0]
            page += [f"## {title}", "", "| flag | environment | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(page).rstrip() + "\n"


def errors() -> str:
    """errors.md."""
    text = (ROOT / "proto/sed/v1/error_reason.proto").read_text()
    page = ["# Reasons of errors", "", MADE]
    page.append(
        "Every error carries a `google.rpc.ErrorInfo` of domain `sed-serve` with one of these reasons; `BadRequest` names the\n"
        "field, the metadata of `ErrorInfo` the limit, `RetryInfo` how long to wait where waiting helps.\n"
    )
    page += ["| reason | code | meaning |", "|---|---|---|"]
    for comment, name in re.findall(r"((?:  //.*\n)+)  ERROR_REASON_(\w+) = [1-9]\d*;", text):
        meaning = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
        code, _, rest = meaning.partition(": ")
        code, _, details = code.partition(", ")
        details = f" ({details})" if details else ""
        page.append(f"| `{name}` | {code}{details} | {rest[:1].upper()}{rest[1:]} |".replace("\n", " "))
    return "\n".join(page) + "\n"


def main() -> None:
    """Writes the pages, or compares them."""
    stale = []
    for name, content in (("settings.md", settings()), ("errors.md", errors())):
        path = ROOT / "deploy" / name
        if path.exists() and path.read_text() == content:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            path.write_text(content)
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(stale)}; run deploy/reference.py")


if __name__ == "__main__":
    main()
