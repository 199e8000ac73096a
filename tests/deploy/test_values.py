"""Values: what is refused, what is documented, and what the chart holds a copy of."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import helm_python
import pytest
import yaml

import chart

# Values that are wrong, and what the refusal must say.
REFUSED = [
    ({"replica": 2}, "replica"),
    ({"replicas": "two"}, "replicas"),
    ({"settings": {"max_categorys": 10}}, "max_categorys"),
    ({"settings": {"max_categories": "10"}}, "max_categories"),
    ({"settings": {"max_categories": 1.5}}, "max_categories"),
    ({"settings": {"listen": "0.0.0.0:1"}}, "set listenAddress instead"),
    ({"settings": {"ops_listen": "off"}}, "set listenAddress instead"),
    ({"settings": {"shutdown_delay_seconds": 1}}, "set drain.delaySeconds instead"),
    ({"settings": {"shutdown_grace_seconds": 1}}, "set drain.graceSeconds instead"),
    ({"settings": {"text_cache_dir": "/x"}}, "set sharedTextCache.enabled instead"),
    ({"settings": {"tls_certificate": "/x"}}, "set tls.secretName instead"),
    ({"settings": {"tls_key": "/x"}}, "set tls.secretName instead"),
    ({"settings": {"tls_client_ca": "/x"}}, "set tls.clientCa.secretName instead"),
    ({"settings": {"tokens": "/x"}}, "set tokens.secretName instead"),
    ({"settings": {"max_timeout_seconds": 300}}, "drain.graceSeconds (60) is shorter than the longest request"),
    ({"drain": {"graceSeconds": 10}}, "drain.graceSeconds (10) is shorter than the longest request"),
    ({"drain": {"delaySeconds": -1}}, "delaySeconds"),
    ({"model": {"source": "s3"}}, "source"),
    ({"model": {"file": "a.pth"}}, "model.source is embedded"),
    ({"model": {"source": "pvc", "pvc": {"claimName": "a"}}}, "name the checkpoint within the volume in model.file"),
    ({"model": {"source": "pvc", "file": "a.pth"}}, "set model.pvc.claimName"),
    ({"model": {"source": "pvc", "file": "/a.pth", "pvc": {"claimName": "a"}}}, "file"),
    ({"model": {"source": "image", "file": "a.pth"}}, "set model.image.reference"),
    ({"model": {"source": "fetch", "file": "a.pth", "fetch": {"url": "https://a/b"}}}, "model.fetch.sha256"),
    ({"model": {"source": "fetch", "file": "a.pth", "fetch": {"sha256": "12"}}}, "sha256"),
    ({"vocabularies": ["ade20k-150"]}, "vocabularies"),
    ({"vocabularies": [{"when": "background"}]}, "name"),
    ({"vocabularies": [{"name": "ade20k-150", "when": "later"}]}, "when"),
    ({"vocabularies": [{"name": "a"}, {"name": "a", "when": "beforeReadiness"}]}, "vocabularies has a twice"),
    (
        {"vocabularies": [{"name": "a"}], "settings": {"preload_vocabulary": ["b"]}},
        "settings.preload_vocabulary and vocabularies say the same",
    ),
    (
        {"vocabularies": [{"name": "a"}], "settings": {"prepare_vocabulary": ["b"]}},
        "settings.prepare_vocabulary and vocabularies say the same",
    ),
    ({"prepareJob": {"enabled": True}, "vocabularies": [{"name": "a"}]}, "set sharedTextCache.enabled"),
    ({"prepareJob": {"enabled": True}, "sharedTextCache": {"enabled": True}}, "list names in vocabularies"),
    ({"device": "gpu"}, "device"),
    ({"dtype": "f16"}, "dtype f16 is for GPUs only"),
    ({"dtype": "int8"}, "dtype"),
    ({"gpu": {"count": -1}}, "count"),
    ({"tls": {"clientCa": {"secretName": "a"}}}, "set tls.secretName"),
    ({"probes": {"type": "grpc"}, "tls": {"secretName": "a"}}, "the kubelet speaks no TLS"),
    (
        {"probes": {"type": "grpc"}, "tokens": {"secretName": "a"}, "settings": {"health_needs_token": True}},
        "the kubelet has no token",
    ),
    ({"autoscaling": {"kind": "both"}}, "kind"),
    ({"autoscaling": {"kind": "keda"}}, "set autoscaling.keda.prometheusAddress"),
    ({"autoscaling": {"kind": "hpa", "minReplicas": 9}}, "autoscaling.minReplicas (9) is above"),
    ({"autoscaling": {"minReplicas": 0}}, "minReplicas"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "exactly one of minAvailable and maxUnavailable"),
    ({"podDisruptionBudget": {"maxUnavailable": ""}}, "exactly one of minAvailable and maxUnavailable"),
    ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "enable one of them"),
    ({"service": {"port": 70000}}, "port"),
    ({"service": {"type": "ExternalName"}}, "type"),
    ({"tracing": {"endpoint": "collector:4317"}}, "endpoint"),
]


@pytest.mark.parametrize(
    "values, message", REFUSED, ids=lambda value: value if isinstance(value, str) else json.dumps(value)
)
def test_wrong_values_are_refused(values: chart.Object, message: str) -> None:
    with pytest.raises(helm_python.HelmError) as refusal:
        chart.render(values)
    assert message in str(refusal.value)


def paths(values: chart.Object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of values, those of inner maps included."""
    found = []
    for key, value in values.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += paths(value, (*prefix, key))
    return found


def holding(value: object, path: tuple[str, ...], base: chart.Object) -> chart.Object:
    """The values of `base`, with `value` at a path."""
    key, *rest = path
    inner = base.get(key)
    return base | {key: holding(value, tuple(rest), inner if isinstance(inner, dict) else {}) if rest else value}


def free_form() -> set[tuple[str, ...]]:
    """Maps whose inner keys are Kubernetes' own: what is left empty there is taken away, as everywhere in Helm."""
    documented = json.loads((chart.CHART / "files/defaults.json").read_text())
    return {tuple(name.split(".")) for name in documented}


def test_a_key_that_is_left_empty_is_as_if_it_was_not_there() -> None:
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    leaves = free_form()
    checked = 0
    for name in ("default", "everything"):
        base = chart.VALUES[name]
        objects, given = chart.render(base), paths(base)
        for path in paths(defaults):
            within = any(path[: len(leaf)] == leaf and path != leaf for leaf in leaves)
            if not within and path not in given:
                assert chart.render(holding(None, path, base)) == objects, f"{name}: {'.'.join(path)}"
                checked += 1
    assert checked > 200


def test_empty_settings_and_parts_of_kubernetes_own_objects() -> None:
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    every_setting = dict.fromkeys(schema["properties"]["settings"]["properties"])
    assert chart.settings(chart.render({"settings": every_setting})) == chart.settings(chart.render({}))
    # There, an empty key takes the default away: the way to let OpenShift choose the user.
    pod = chart.pod(chart.render({"podSecurityContext": {"runAsUser": None}}))
    assert "runAsUser" not in pod["securityContext"] and pod["securityContext"]["runAsNonRoot"]
    recreate = chart.render({"strategy": {"type": "Recreate", "rollingUpdate": None}})
    assert chart.find(recreate, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert chart.notes({"gpu": None, "service": None}) == chart.notes({})


@pytest.mark.parametrize("kind, file", [("prometheusRule", "rules.yaml"), ("grafanaDashboard", "sed-serve.json")])
def test_rules_and_dashboard_are_never_left_out_silently(tmp_path: Path, kind: str, file: str) -> None:
    without = Path(shutil.copytree(chart.CHART, tmp_path / "chart"))
    (without / "files" / file).unlink()
    with pytest.raises(helm_python.HelmError, match=f"without files/{file}: run deploy/helm/sync"):
        chart.render({kind: {"enabled": True}}, without)
    assert chart.render({kind: {"enabled": True}})


def test_defaults_are_never_left_out_silently(tmp_path: Path) -> None:
    without = Path(shutil.copytree(chart.CHART, tmp_path / "chart"))
    (without / "files/defaults.json").unlink()
    with pytest.raises(helm_python.HelmError, match="without files/defaults.json: run deploy/helm/sync"):
        chart.render({}, without)


def test_rules_and_dashboard_arrive_as_they_are() -> None:
    objects = chart.render(chart.VALUES["monitoring"])
    rule = chart.find(objects, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((chart.CHART / "files/rules.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    dashboard = chart.find(objects, "ConfigMap", f"{chart.RELEASE}-sed-serve-dashboard")
    assert json.loads(dashboard["data"]["sed-serve.json"]) == json.loads(
        (chart.CHART / "files/sed-serve.json").read_text()
    )
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["metadata"]["annotations"] == {"grafana_folder": "Inference"}


def test_copies_schema_and_table_are_fresh() -> None:
    check = subprocess.run(
        [sys.executable, chart.ROOT / "deploy/helm/sync.py", "--check"], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr


def test_schema_and_defaults_have_the_same_values() -> None:
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    # Optional parts of a map that has no default of its own.
    free = {"settings", "resources", "startup", "readiness", "liveness"}

    def compare(values: chart.Object, part: chart.Object, path: str) -> None:
        part = schema["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        assert {"type", "enum"} & part.keys(), path
        if not isinstance(values, dict) or "properties" not in part:
            return
        assert part["additionalProperties"] is False, path
        listed = part["properties"].keys() - {"global"}
        assert listed == values.keys() or path.rpartition(".")[2] in free, path
        for key, value in values.items():
            compare(value, part["properties"][key], f"{path}.{key}")

    compare(defaults, schema, "")


def test_every_value_is_documented() -> None:
    lines = (chart.CHART / "README.md").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `") and line.count(" | ") >= 2]
    table = {row[0].strip("|` "): row[-1].strip(" |") for row in rows}
    assert all(table.values()), [name for name, meaning in table.items() if not meaning]

    def documented(values: object, path: str) -> None:
        if path not in table:
            assert isinstance(values, dict) and values, path
            for key, value in values.items():
                documented(value, f"{path}.{key}" if path else key)

    documented(yaml.safe_load((chart.CHART / "values.yaml").read_text()), "")


def test_helm_lints_every_set(value_set: str) -> None:
    report = helm_python.lint(chart.CHART, chart.VALUES[value_set], strict=True)
    assert report["errors"] == []
    # An icon is for catalogues of charts.
    assert [message for message in report["messages"] if "icon is recommended" not in message["error"]] == []


def test_a_packaged_chart_renders_the_same(tmp_path: Path) -> None:
    archive = Path(helm_python.package(chart.CHART, destination=tmp_path))
    with tarfile.open(archive) as package:
        assert not [member.name for member in package if not member.isreg() and not member.isdir()]
        files = {f"sed-serve/files/{name}" for name in ("defaults.json", "rules.yaml", "sed-serve.json")}
        assert files <= set(package.getnames())
    assert chart.render(chart.VALUES["everything"], archive) == chart.render(chart.VALUES["everything"])


def test_the_version_is_that_of_the_program() -> None:
    described = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert chart.program("--version").stdout.split()[-1] == described["appVersion"]


def test_names_stay_short_enough_for_kubernetes() -> None:
    objects = chart.render({}, release="r" * 53)
    assert all(len(item["metadata"]["name"]) <= 63 for item in objects)
    assert len({(item["kind"], item["metadata"]["name"]) for item in objects}) == len(objects)
    assert chart.find(chart.render({}, release="sed-serve"), "Deployment")["metadata"]["name"] == "sed-serve"


def test_notes_tell_how_to_reach_it() -> None:
    said = chart.notes({})
    assert "port-forward service/sed-sed-serve 50051:50051" in said and "One pod runs" in said
    tls = {"secretName": "a", "clientCa": {"secretName": "b"}}
    secured = chart.notes({"tls": tls, "tokens": {"secretName": "c"}, "replicas": 2})
    assert "It asks for TLS with a certificate of the client and a bearer token." in secured
    assert "One pod" not in secured
    assert "without TLS" in chart.notes({"service": {"type": "LoadBalancer"}})
    assert "without TLS" not in chart.notes({"service": {"type": "LoadBalancer"}, "tls": {"secretName": "a"}})
