"""Checks objects of KServe against the models of its Python package.

The package brings no schema, but a class for every type with the names and types of all fields. They are read from its
wheel without importing it, because it needs half of an inference stack. Types of Kubernetes itself (V1Container) are
checked against Kubernetes' own schema. The models do not say which fields are required: that is not checked.
"""

import ast
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCALARS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": (int, float),
    "object": object,
}


class Models:
    """The classes of one wheel. `core` checks a value against a type of Kubernetes."""

    def __init__(self, wheel: Path, core: Callable[[str, Any], list[str]]) -> None:
        self.core = core
        self.fields: dict[str, dict[str, str]] = {}
        with zipfile.ZipFile(wheel) as files:
            for name in files.namelist():
                if re.fullmatch(r"kserve/models/v1\w+\.py", name):
                    self.read(files.read(name).decode())

    def read(self, source: str) -> None:
        """Learns the field names and types of the classes of one file."""
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                tables = {
                    target.id: ast.literal_eval(item.value)
                    for item in node.body
                    if isinstance(item, ast.Assign)
                    for target in item.targets
                    if isinstance(target, ast.Name) and target.id in ("openapi_types", "attribute_map")
                }
                names = tables["attribute_map"]
                self.fields[node.name] = {names[key]: kind for key, kind in tables["openapi_types"].items()}

    def problems(self, kind: str, value: Any, path: str = "") -> list[str]:
        """The faults of a value of this type."""
        if inner := re.fullmatch(r"list\[(.+)\]", kind):
            if not isinstance(value, list):
                return [f"{path} must be a list"]
            return [text for at, item in enumerate(value) for text in self.problems(inner[1], item, f"{path}/{at}")]
        if inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
            if not isinstance(value, dict):
                return [f"{path} must be a map"]
            return [text for key, item in value.items() for text in self.problems(inner[1], item, f"{path}/{key}")]
        if kind in SCALARS:
            # Python counts a bool as a number.
            right = isinstance(value, SCALARS[kind]) and (kind in ("bool", "object") or not isinstance(value, bool))
            return [] if right else [f"{path} must be {kind}"]
        if kind not in self.fields:
            return [f"{path}: {text}" for text in self.core(kind, value)]
        if not isinstance(value, dict):
            return [f"{path} must be a {kind}"]
        unknown = [f"unknown field {path}/{key}" for key in value.keys() - self.fields[kind].keys()]
        known = [(key, value[key]) for key in value.keys() & self.fields[kind].keys()]
        return unknown + [
            text for key, item in known for text in self.problems(self.fields[kind][key], item, f"{path}/{key}")
        ]
