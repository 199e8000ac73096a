"""Every object of every set of values is one that the API server accepts, unknown fields counting as errors."""

import copy
from typing import Any

import pytest
import yaml

import chart
import schemas


def test_kubernetes_own_objects_are_valid(value_set: str, objects: list[chart.Object]) -> None:
    oldest = schemas.IMAGE_VOLUMES if value_set == "image" else schemas.OLDEST
    for item in filter(schemas.is_core, objects):
        for version in (schemas.NEWEST, oldest):
            assert schemas.core_problems(item, version) == [], (version, item["kind"])


def test_custom_resources_are_valid(objects: list[chart.Object]) -> None:
    custom = [item for item in objects if not schemas.is_core(item)]
    for item, problems in zip(custom, schemas.custom_problems(custom), strict=True):
        assert problems == [], item["kind"]


def test_sets_together_make_every_kind() -> None:
    made = {item["kind"] for values in chart.VALUES.values() for item in chart.render(values)}
    assert made == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Job", "NetworkPolicy", "PersistentVolumeClaim",
        "PodDisruptionBudget", "PodMonitor", "PrometheusRule", "ScaledObject", "Service", "ServiceAccount",
        "ServiceMonitor",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["grpcroute.yaml", "envoy-gateway.yaml"])
def test_gateway_manifests_are_valid(name: str) -> None:
    items = list(yaml.safe_load_all((chart.ROOT / "deploy/gateway" / name).read_text()))
    assert schemas.custom_problems(items) == [[]] * len(items)


@pytest.mark.parametrize("name", ["runtime.yaml", "inference-service.yaml"])
def test_kserve_manifests_are_valid(name: str) -> None:
    for item in yaml.safe_load_all((chart.ROOT / "deploy/kserve" / name).read_text()):
        assert schemas.kserve_problems(item) == []


def broken(item: chart.Object, *path: str | int, value: object) -> chart.Object:
    """A copy with something wrong in it."""
    item = copy.deepcopy(item)
    inner: Any = item
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return item


def test_the_checks_themselves_notice_what_is_wrong() -> None:
    made = chart.render(chart.VALUES["everything"])
    deployment = chart.find(made, "Deployment")
    assert "replica" in schemas.core_problems(broken(deployment, "spec", "replica", value=1), schemas.OLDEST)[0]
    assert schemas.core_problems(broken(deployment, "spec", "replicas", value="3"), schemas.NEWEST)
    image = chart.find(chart.render(chart.VALUES["image"]), "Deployment")
    assert schemas.core_problems(image, schemas.OLDEST), "image volumes came with 1.31"

    scaled = chart.find(made, "ScaledObject")
    monitor = chart.find(made, "PodMonitor")
    route = yaml.safe_load((chart.ROOT / "deploy/gateway/grpcroute.yaml").read_text())
    policy = yaml.safe_load((chart.ROOT / "deploy/gateway/envoy-gateway.yaml").read_text())
    wrong = [
        broken(scaled, "spec", "minReplicas", value=1),
        broken(scaled, "spec", "triggers", value=None),
        broken(monitor, "spec", "podMetricsEndpoints", 0, "interval", value=15),
        broken(monitor, "spec", "podMetricsEndpoints", 0, "pathname", value="/metrics"),
        broken(route, "spec", "rules", 0, "backendRefs", 0, "port", value="grpc"),
        broken(policy, "spec", "loadBalancer", "type", value="FewestRequests"),
        broken(policy, "spec", "timeout", "http", "requestTimeouts", value="0s"),
    ]
    assert all(schemas.custom_problems(wrong))

    runtime = yaml.safe_load((chart.ROOT / "deploy/kserve/runtime.yaml").read_text())
    assert schemas.kserve_problems(broken(runtime, "spec", "protocolVersion", value=["grpc-v2"]))
    assert schemas.kserve_problems(broken(runtime, "spec", "containers", 0, "ports", 0, "containerPort", value="h2c"))
    assert schemas.kserve_problems(broken(runtime, "spec", "multiModel", value="no"))
