"""The pod: its rights, its probes, its end, its model and its GPUs."""

import math

import pytest

import chart


def test_no_container_has_more_rights_than_it_needs(objects: list[chart.Object]) -> None:
    for spec in chart.pods(objects):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert {spec["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {65532}
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, container["name"]
            assert container["resources"]["limits"]["memory"], container["name"]
    for account in (item for item in objects if item["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_every_mount_has_a_volume_and_every_volume_a_mount(objects: list[chart.Object]) -> None:
    for spec in chart.pods(objects):
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted == chart.volumes_of(spec).keys()


@pytest.mark.parametrize(
    "values, seconds",
    [
        ({}, 70),
        ({"drain": {"delaySeconds": 0, "marginSeconds": 0}}, 60),
        ({"drain": {"delaySeconds": 2.5, "graceSeconds": 60.2}}, 3 + 61 + 5),
        ({"drain": {"graceSeconds": 20}, "settings": {"max_timeout_seconds": 20}}, 30),
    ],
)
def test_the_kubelet_waits_for_the_drain(values: chart.Object, seconds: int) -> None:
    objects = chart.render(values)
    assert chart.pod(objects)["terminationGracePeriodSeconds"] == seconds
    settings = chart.settings(objects)
    assert seconds >= math.ceil(settings["shutdown_delay_seconds"]) + math.ceil(settings["shutdown_grace_seconds"])
    assert settings["shutdown_grace_seconds"] >= values.get("settings", {}).get("max_timeout_seconds", 60)
    # The image has no shell to run a hook with; test_process.py shows that the program needs none.
    assert "lifecycle" not in chart.container(objects)


def test_probes_ask_the_operations_port() -> None:
    container = chart.container(chart.render({}))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "ops"}
    assert ports == {"grpc": 50051, "ops": 9464}
    startup = container["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == 300


def test_probes_can_ask_grpc_health() -> None:
    container = chart.container(chart.render(chart.VALUES["hpa"]))
    proto = (chart.ROOT / "proto/sed/v1/segmentation_service.proto").read_text()
    assert "package sed.v1;" in proto and "service SegmentationService {" in proto
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["grpc"] == {"port": 50051, "service": "sed.v1.SegmentationService"}
    assert container["livenessProbe"]["grpc"] == {"port": 50051, "service": ""}


def test_gpus_bring_resources_device_image_and_placement() -> None:
    objects = chart.render(chart.VALUES["gpu"])
    spec, container = chart.pod(objects), chart.container(objects)
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "24Gi", "nvidia.com/gpu": "2"},
    }
    variables = chart.environment(container)
    assert variables["SED_DEVICE"] == "cuda:0,cuda:1" and variables["SED_DTYPE"] == "bf16"
    # The root is read-only: what the driver compiles goes where the pod may write.
    assert "/tmp" in chart.mounts(container) and variables["CUDA_CACHE_PATH"].startswith("/tmp/")
    assert container["image"] == "sed-serve:cuda"
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"].keys() == {"kubernetes.io/arch", "nvidia.com/gpu.product"}
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["dedicated", "nvidia.com/gpu"]


def test_without_gpus_nothing_of_them_is_left() -> None:
    objects = chart.render({"gpu": {"nodeSelector": {"a": "b"}, "runtimeClassName": "nvidia"}})
    spec, container = chart.pod(objects), chart.container(objects)
    assert container["image"] == "sed-serve:cpu"
    assert chart.environment(container)["SED_DEVICE"] == "cpu"
    assert not {"runtimeClassName", "nodeSelector", "tolerations"} & spec.keys()
    assert "nvidia.com/gpu" not in str(container["resources"])


@pytest.mark.parametrize("name, source", [("pvc", "persistentVolumeClaim"), ("image", "image"), ("fetch", "emptyDir")])
def test_models_come_from_a_volume(name: str, source: str) -> None:
    objects = chart.render(chart.VALUES[name])
    container = chart.container(objects)
    mount = chart.mounts(container)["/models"]
    assert mount["readOnly"] and source in chart.volumes(objects)[mount["name"]]
    assert chart.environment(container)["SED_MODEL"] == f"/models/{chart.VALUES[name]['model']['file']}"
    assert ("initContainers" in chart.pod(objects)) == (name == "fetch")


def test_the_embedded_model_needs_nothing() -> None:
    objects = chart.render({})
    assert "SED_MODEL" not in chart.environment(chart.container(objects))
    assert "model" not in chart.volumes(objects)


def test_images_are_named_in_full() -> None:
    image = chart.container(chart.render(chart.VALUES["image"]))["image"]
    digest = chart.VALUES["image"]["image"]["digest"]
    assert image == f"registry.example.org/sed-serve:0.1.0@{digest}"


def test_traces_name_their_pod() -> None:
    variables = chart.environment(chart.container(chart.render(chart.VALUES["monitoring"])))
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.observability:4317"
    assert (variables["OTEL_TRACES_SAMPLER"], variables["OTEL_TRACES_SAMPLER_ARG"]) == (
        "parentbased_traceidratio",
        "0.1",
    )
    assert variables["OTEL_RESOURCE_ATTRIBUTES"] == f"k8s.namespace.name={chart.NAMESPACE},k8s.pod.name=$(POD_NAME)"
    assert list(variables).index("POD_NAME") < list(variables).index("OTEL_RESOURCE_ATTRIBUTES")
    assert not any(name.startswith("OTEL_") for name in chart.environment(chart.container(chart.render({}))))


def test_extras_are_added() -> None:
    objects = chart.render(chart.VALUES["everything"])
    container = chart.container(objects)
    assert container["args"] == ["serve", "--max-categories", "2000"]
    assert chart.environment(container)["RUST_BACKTRACE"] == "1"
    assert "/scratch" in chart.mounts(container)
    template = chart.find(objects, "Deployment")["spec"]["template"]["metadata"]
    assert template["labels"]["team"] == "vision" and template["annotations"]["example.org/note"] == "yes"
