"""The chart as these tests see it: rendered by Helm's own library into objects."""

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/sed-serve"
VALUES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "tests/deploy/values").glob("*.yaml"))}
VALUES["default"] = {}
RELEASE, NAMESPACE = "sed", "vision"

Object = dict[str, Any]


def render(values: Object, chart: Path = CHART, release: str = RELEASE) -> list[Object]:
    """All objects of a release. Raises where Helm would refuse the values."""
    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        files = loaded.render(values, name=release, namespace=NAMESPACE)
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [item for text in texts for item in yaml.safe_load_all(text) if item]


def notes(values: Object) -> str:
    """The notes that `helm install` prints at its end."""
    with helm_python.Chart.load(CHART) as loaded:
        return loaded.render(values, name=RELEASE, namespace=NAMESPACE)["sed-serve/templates/NOTES.txt"]


def find(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of this kind (and name)."""
    found = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod(objects: list[Object]) -> Object:
    return find(objects, "Deployment")["spec"]["template"]["spec"]


def job(objects: list[Object]) -> Object:
    """The Job that fills the shared volume."""
    return find(objects, "Job")


def pods(objects: list[Object]) -> list[Object]:
    """The pods of everything that makes some."""
    return [item["spec"]["template"]["spec"] for item in objects if item["kind"] in ("Deployment", "Job")]


def container(objects: list[Object]) -> Object:
    (only,) = pod(objects)["containers"]
    return only


def environment(of: Object) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in of["env"]}


def mounts(of: Object) -> dict[str, Object]:
    return {mount["mountPath"]: mount for mount in of["volumeMounts"]}


def volumes(objects: list[Object]) -> dict[str, Object]:
    return volumes_of(pod(objects))


def volumes_of(spec: Object) -> dict[str, Object]:
    return {volume["name"]: volume for volume in spec["volumes"]}


def settings_file(objects: list[Object]) -> str:
    """The rendered configuration file."""
    (text,) = [item["data"]["sed-serve.toml"] for item in objects if "sed-serve.toml" in item.get("data", {})]
    return text


def settings(objects: list[Object]) -> Object:
    """The settings in the rendered configuration file."""
    return tomllib.loads(settings_file(objects))


def program_path() -> str:
    """The path of the built program."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return os.environ.get("SED_SERVE", f"{target}/release/sed-serve")


def clean_environment() -> dict[str, str]:
    """This environment without settings of the program."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SED_")}


def program(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return subprocess.run(
        [program_path(), *arguments], capture_output=True, text=True, env=clean_environment() | variables
    )
