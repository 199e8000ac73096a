"""Number of pods: the queries to Prometheus, the meaning of their results, and the pods that maintenance may remove."""

import json
import re
import subprocess
from pathlib import Path

import yaml

import chart

METRICS = (chart.ROOT / "deploy/METRICS.md").read_text()


def triggers(name: str) -> dict[str, chart.Object]:
    scaled = chart.find(chart.render(chart.VALUES[name]), "ScaledObject")
    return {trigger["name"]: trigger for trigger in scaled["spec"]["triggers"]}


def evaluate(tmp_path: Path, series: dict[str, int], wanted: dict[str, float]) -> None:
    """Lets Prometheus itself evaluate queries on series; fails where a value is not the wanted one."""
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": []}))
    test = {
        "rule_files": ["rules.yaml"],
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": f"{value}x4"} for name, value in series.items()],
                "promql_expr_test": [
                    {"expr": query, "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": value}]}
                    for query, value in wanted.items()
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(json.dumps(test))
    run = subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_keda_counts_this_release_and_nobody_else(tmp_path: Path) -> None:
    found = triggers("keda")
    of = 'namespace="vision", pod="{}"'
    ours, theirs = of.format("sed-sed-serve-6d4cf56db6-x7k2p"), of.format("sed-sed-serve-canary-6d4cf56db6-x7k2p")
    second = of.format("sed-sed-serve-6d4cf56db6-9mq4z")
    elsewhere = ours.replace("vision", "staging")
    series = {
        f"sed_requests_in_flight{{{ours}}}": 5,
        f"sed_stream_requests_in_flight{{{ours}}}": 7,
        f'sed_queue_depth{{{ours}, priority="normal"}}': 2,
        f'sed_queue_depth{{{ours}, priority="high"}}': 1,
        f"sed_requests_in_flight{{{second}}}": 3,
        f"sed_stream_requests_in_flight{{{second}}}": 0,
        f'sed_queue_depth{{{second}, priority="low"}}': 4,
    }
    for stranger in (theirs, elsewhere):
        series[f"sed_requests_in_flight{{{stranger}}}"] = 1000
        series[f"sed_stream_requests_in_flight{{{stranger}}}"] = 1000
        series[f'sed_queue_depth{{{stranger}, priority="high"}}'] = 1000
    queries = {name: trigger["metadata"]["query"] for name, trigger in found.items()}
    evaluate(tmp_path, series, {queries["in-flight"]: 15, queries["queued"]: 7})


def test_keda_scales_by_what_a_pod_may_hold() -> None:
    found = triggers("keda")
    assert {name: trigger["metadata"]["threshold"] for name, trigger in found.items()} == {
        "in-flight": "16",
        "queued": "6",
    }
    for trigger in found.values():
        assert trigger["type"] == "prometheus" and trigger["metricType"] == "AverageValue"
        assert trigger["metadata"]["serverAddress"] == "http://prometheus-operated.monitoring:9090"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert trigger["authenticationRef"] == {"name": "prometheus"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes strings only"
    objects = chart.render(chart.VALUES["keda"])
    spec = chart.find(objects, "ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["name"] == chart.find(objects, "Deployment")["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 12)
    # Without Prometheus the pods that run stay: a fixed number would take twelve to three under load.
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 3, "behavior": "currentReplicasIfHigher"}
    keda = {"prometheusAddress": "http://prometheus:9090", "fallbackReplicas": 3, "fallbackBehavior": "static"}
    chosen = chart.find(chart.render({"autoscaling": {"kind": "keda", "keda": keda}}), "ScaledObject")["spec"]
    assert chosen["fallback"]["behavior"] == "static"
    without = chart.find(chart.render(chart.VALUES["everything"]), "ScaledObject")["spec"]
    assert "fallback" not in without


def test_the_selector_of_the_series_can_be_replaced() -> None:
    for trigger in triggers("everything").values():
        assert re.findall(r"\{(.*?)\}", trigger["metadata"]["query"])[0] == 'job="sed"'


def test_hpa_and_adapter_agree(tmp_path: Path) -> None:
    objects = chart.render(chart.VALUES["hpa"])
    spec = chart.find(objects, "HorizontalPodAutoscaler")["spec"]
    wanted = {metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"] for metric in spec["metrics"]}
    assert wanted == {"sed_pod_requests_in_flight": "8", "sed_pod_requests_queued": "4"}
    assert spec["scaleTargetRef"]["name"] == chart.find(objects, "Deployment")["metadata"]["name"]
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600

    rules = yaml.safe_load((chart.ROOT / "deploy/helm/prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert {rule["name"]["as"] for rule in rules} == wanted.keys()
    pod = 'namespace="vision", pod="sed-sed-serve-6d4cf56db6-x7k2p"'
    series = {
        f"sed_requests_in_flight{{{pod}}}": 5,
        f"sed_stream_requests_in_flight{{{pod}}}": 7,
        f'sed_queue_depth{{{pod}, priority="low"}}': 2,
        f'sed_queue_depth{{{pod}, priority="high"}}': 1,
    }
    # As the adapter fills in its templates; the sum drops the labels, so that a number can be compared.
    queries = [
        "sum("
        + rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="vision"').replace("<<.GroupBy>>", "pod")
        + ")"
        for rule in rules
    ]
    evaluate(tmp_path, series, dict(zip(queries, (12, 3), strict=True)))


def test_every_metric_that_is_asked_for_exists() -> None:
    adapter = (chart.ROOT / "deploy/helm/prometheus-adapter.yaml").read_text()
    asked = [trigger["metadata"]["query"] for trigger in triggers("keda").values()] + [adapter]
    names = {name for text in asked for name in re.findall(r"\b(sed_\w+)\{", text)}
    assert names == {"sed_requests_in_flight", "sed_stream_requests_in_flight", "sed_queue_depth"}
    for name in names:
        assert f"| `{name}` | gauge |" in METRICS


def test_an_autoscaler_alone_says_how_many_pods_run(objects: list[chart.Object], value_set: str) -> None:
    scaled = chart.VALUES[value_set].get("autoscaling", {}).get("kind", "none") != "none"
    assert ("replicas" in chart.find(objects, "Deployment")["spec"]) != scaled
    made = [item["kind"] for item in objects if item["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]
    assert len(made) == int(scaled)


def test_maintenance_takes_pods_one_by_one() -> None:
    budget = chart.find(chart.render({}), "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget
    half = chart.find(chart.render(chart.VALUES["keda"]), "PodDisruptionBudget")["spec"]
    assert half["minAvailable"] == "50%" and "maxUnavailable" not in half
    none = {"podDisruptionBudget": {"minAvailable": 0, "maxUnavailable": ""}}
    assert chart.find(chart.render(none), "PodDisruptionBudget")["spec"]["minAvailable"] == 0
    assert "PodDisruptionBudget" not in [item["kind"] for item in chart.render(chart.VALUES["hpa"])]


def test_the_shared_text_cache_is_made_or_taken() -> None:
    made = chart.render(chart.VALUES["everything"])
    claim = chart.find(made, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"] and claim["spec"]["storageClassName"] == "nfs"
    assert claim["spec"]["resources"]["requests"]["storage"] == "16Gi"
    name = claim["metadata"]["name"]
    assert chart.volumes(made)["text-cache"]["persistentVolumeClaim"]["claimName"] == name
    taken = chart.render(chart.VALUES["pvc"])
    assert "PersistentVolumeClaim" not in [item["kind"] for item in taken]
    assert chart.volumes(taken)["text-cache"]["persistentVolumeClaim"]["claimName"] == "embeddings"
