"""Other people's schemas: Kubernetes' own, and those of custom resources."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate.utils import schema_contents

from chart import ROOT, Object
from kserve_models import Models

NEWEST = kubernetes_validate.latest_version()
# The chart's kubeVersion begins here.
OLDEST = "1.29"
# The first version with image volumes.
IMAGE_VOLUMES = "1.31"


def is_core(item: Object) -> bool:
    """Reports whether Kubernetes itself defines the object's type."""
    return item["apiVersion"].partition("/")[0] not in ("monitoring.coreos.com", "keda.sh", "gateway.networking.k8s.io")


def core_problems(item: Object, version: str) -> list[str]:
    """The faults for which a Kubernetes of this version would refuse an object, unknown fields included."""
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message}"]
    return []


def custom_problems(items: list[Object]) -> list[list[str]]:
    """The faults of each custom resource, by the schema of its project."""
    run = subprocess.run(
        ["node", str(ROOT / "tests/deploy/crds.mjs")], input=json.dumps(items), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def core_type_problems(kind: str, value: Any) -> list[str]:
    """The faults of a value of one of Kubernetes' own types, named as KServe's package names it."""
    folder = f"kubernetes-json-schema/v{NEWEST}-local-strict"
    types = schema_contents(f"{folder}/_definitions.json", NEWEST)["$defs"]
    short = re.sub(r"^(V1|K8sIoApiAppsV1)", "", kind)
    names = [name for name in types if re.search(rf"(core|apps|meta)\.v1\.{short}$", name)]
    assert len(names) == 1, f"Kubernetes has {len(names)} types called {short}"
    schema = {"$ref": f"#/$defs/{names[0]}", "$defs": types}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


def kserve_problems(item: Object) -> list[str]:
    """The faults of an object of KServe."""
    version = {"serving.kserve.io/v1alpha1": "V1alpha1", "serving.kserve.io/v1beta1": "V1beta1"}[item["apiVersion"]]
    return Models(Path(os.environ["KSERVE_WHEEL"]), core_type_problems).problems(version + item["kind"], item)
