"""Vocabularies that pods prepare, and the Job that fills the shared volume."""

import tomllib

import pytest

import chart

WORDS = [{"name": "ade20k-847"}, {"name": "pascal-voc-20", "when": "beforeReadiness"}]
SHARED = {"vocabularies": WORDS, "sharedTextCache": {"enabled": True}, "prepareJob": {"enabled": True}}
# The Job has the pod's own values of these, or neither has any.
AS_THE_POD = [
    "affinity", "imagePullSecrets", "initContainers", "nodeSelector", "priorityClassName", "runtimeClassName",
    "securityContext", "serviceAccountName", "tolerations",
]  # fmt: skip


def job_container(objects: list[chart.Object]) -> chart.Object:
    """The container of the Job that prepares."""
    (only,) = chart.job(objects)["spec"]["template"]["spec"]["containers"]
    return only


@pytest.fixture(params=["prepare", "everything"])
def with_job(request: pytest.FixtureRequest) -> list[chart.Object]:
    """Objects among which is the Job."""
    return chart.render(chart.VALUES[request.param])


def test_vocabularies_become_settings() -> None:
    settings = chart.settings(chart.render({"vocabularies": WORDS}))
    assert settings["preload_vocabulary"] == ["pascal-voc-20"]
    assert settings["prepare_vocabulary"] == ["ade20k-847"]
    assert not {"preload_vocabulary", "prepare_vocabulary"} & chart.settings(chart.render({})).keys()
    alone = {"settings": {"preload_vocabulary": ["ade20k-150"]}}
    assert chart.settings(chart.render(alone))["preload_vocabulary"] == ["ade20k-150"]


def test_the_job_is_the_pod_with_another_command(with_job: list[chart.Object]) -> None:
    serves, prepares = chart.container(with_job), job_container(with_job)
    pod, job = chart.pod(with_job), chart.job(with_job)["spec"]["template"]["spec"]
    assert {key: job.get(key) for key in AS_THE_POD} == {key: pod.get(key) for key in AS_THE_POD}
    for key in ("image", "imagePullPolicy", "securityContext"):
        assert prepares[key] == serves[key]
    variables, servers = chart.environment(prepares), chart.environment(serves)
    assert variables.items() <= servers.items()
    assert {"SED_MODEL", "SED_DEVICE", "SED_DTYPE", "SED_THREADS"} <= variables.keys()
    # Its embeddings are those that the pods look for: of the same model, in the same folder.
    folder = chart.settings(with_job)["text_cache_dir"]
    for path in ("/models", folder):
        mount = chart.mounts(prepares)[path]
        assert mount == chart.mounts(serves)[path]
        assert chart.volumes_of(job)[mount["name"]] == chart.volumes(with_job)[mount["name"]]
    assert prepares["args"][prepares["args"].index("--text-cache-dir") + 1] == folder
    assert "nvidia.com/gpu" in prepares["resources"]["limits"]


def test_the_job_holds_no_secret_and_no_configuration(with_job: list[chart.Object]) -> None:
    volumes = chart.volumes_of(chart.job(with_job)["spec"]["template"]["spec"])
    assert volumes.keys() == {"tmp", "model", "text-cache"}


def test_the_job_names_every_vocabulary() -> None:
    names = ["ade20k-847", "pascal-voc-20"]
    assert job_container(chart.render(SHARED))["args"][:-2] == ["vocabulary", "prepare", *names]


def test_the_job_may_have_resources_of_its_own() -> None:
    own = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "3Gi"}}
    shared = SHARED | {"prepareJob": {"enabled": True, "resources": own}}
    assert job_container(chart.render(shared))["resources"] == own
    objects = chart.render(SHARED)
    assert job_container(objects)["resources"] == chart.container(objects)["resources"]


def test_the_job_uses_one_gpu() -> None:
    objects = chart.render(SHARED | {"gpu": {"count": 4}})
    assert chart.environment(chart.container(objects))["SED_DEVICE"] == "cuda:0,cuda:1,cuda:2,cuda:3"
    container = job_container(objects)
    assert chart.environment(container)["SED_DEVICE"] == "cuda:0"
    assert {container["resources"][part]["nvidia.com/gpu"] for part in ("requests", "limits")} == {"1"}
    assert "nvidia.com/gpu" not in str(job_container(chart.render(SHARED))["resources"])


def test_nothing_takes_the_job_for_a_pod_that_serves(with_job: list[chart.Object]) -> None:
    template = chart.job(with_job)["spec"]["template"]
    labels = template["metadata"]["labels"]
    selectors = [item["spec"]["selector"] for item in with_job if item["kind"] == "Service"]
    selectors += [
        item["spec"]["selector"]["matchLabels"]
        for item in with_job
        if item["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor")
    ]
    assert len(selectors) >= 4
    assert not [selector for selector in selectors if selector.items() <= labels.items()]
    assert template["spec"]["restartPolicy"] == "Never"


def test_the_network_policy_holds_for_the_job_too() -> None:
    for name, ports in (("prepare", []), ("everything", [53, 53, 8080, 2049])):
        objects = chart.render(chart.VALUES[name])
        labels = chart.job(objects)["spec"]["template"]["metadata"]["labels"]
        policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
        (own,) = [spec for spec in policies if spec["podSelector"]["matchLabels"].items() <= labels.items()]
        assert len(policies) == 2 and own["policyTypes"] == ["Ingress", "Egress"] and own["ingress"] == []
        assert [port["port"] for rule in own["egress"] for port in rule["ports"]] == ports


def test_another_pod_is_another_job() -> None:
    def name(**values: object) -> str:
        return chart.job(chart.render(SHARED | values))["metadata"]["name"]

    assert name() == name(replicas=3, drain={"delaySeconds": 7}, settings={"default_top_k": 4})
    others = [
        {"vocabularies": WORDS[:1]},
        {"image": {"tag": "2"}},
        {"dtype": "bf16"},
        {"gpu": {"count": 1}},
        {"model": {"source": "pvc", "file": "a.pth", "pvc": {"claimName": "b"}}},
    ]
    assert len({name(), *(name(**values) for values in others)}) == 1 + len(others)
    long = [chart.render(SHARED, release="r" * 52 + end) for end in "ab"]
    names = [chart.job(objects)["metadata"]["name"] for objects in long]
    assert len(set(names)) == 2 and all(len(each) <= 63 for each in names)


def test_the_notes_say_what_is_prepared() -> None:
    said = " ".join(chart.notes(SHARED).split())
    assert "once it has the words of pascal-voc-20" in said
    assert "prepares the words of ade20k-847 behind its requests" in said
    assert f"job/{chart.job(chart.render(SHARED))['metadata']['name']}" in said
    assert "words of" not in chart.notes({})


def test_the_program_takes_the_arguments_of_the_job(with_job: list[chart.Object]) -> None:
    shown = chart.program("vocabulary", "prepare", "--help").stdout
    settings = tomllib.loads(chart.program("serve", "--print-config").stdout)
    for argument in job_container(with_job)["args"]:
        assert not argument.startswith("--") or argument in shown, argument
    for name in chart.environment(job_container(with_job)):
        known = f"[env: {name}=" in shown or name.removeprefix("SED_").lower() in settings
        assert known or not name.startswith("SED_"), name
