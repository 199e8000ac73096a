"""The configuration file that the chart renders is one that the program takes, and means what the values say."""

import tomllib
from pathlib import Path

import pytest

import chart


def test_the_program_takes_the_rendered_file_as_it_is(objects: list[chart.Object], tmp_path: Path) -> None:
    file = tmp_path / "sed-serve.toml"
    file.write_text(chart.settings_file(objects))
    shown = chart.program("serve", "--print-config", SED_CONFIG=str(file))
    assert shown.returncode == 0, shown.stderr
    means = tomllib.loads(shown.stdout)
    for key, value in chart.settings(objects).items():
        assert means[key] == value, key


def test_values_reach_the_file() -> None:
    objects = chart.render(chart.VALUES["pvc"])
    settings = chart.settings(objects)
    # Helm itself would write 3.4359738368e+10.
    assert "text_cache_dir_bytes = 34359738368" in chart.settings_file(objects).splitlines()
    assert settings["batch_delay_ms"] == 0.5
    assert settings["text_cache_dir"] == "/var/cache/sed-serve/text"
    assert (settings["shutdown_delay_seconds"], settings["shutdown_grace_seconds"]) == (7.5, 20)
    awkward = {"preload_vocabulary": ['with "quotes"', "<&>", "back\\slash"], "grpc_web": True}
    assert chart.settings(chart.render({"settings": awkward})).items() >= awkward.items()


def test_secrets_are_mounted_where_the_settings_point() -> None:
    objects = chart.render(chart.VALUES["everything"])
    settings, volumes, mounts = chart.settings(objects), chart.volumes(objects), chart.mounts(chart.container(objects))
    for key in ("tls_certificate", "tls_key", "tls_client_ca", "tokens"):
        path = Path(settings[key])
        volume = volumes[mounts[str(path.parent)]["name"]]["secret"]
        assert path.name in [item["path"] for item in volume["items"]], key
        # Only whole folders follow a renewed secret, and only the pod's group may read it.
        assert "subPath" not in mounts[str(path.parent)] and mounts[str(path.parent)]["readOnly"]
        assert volume["defaultMode"] == 0o440
    folder = mounts[settings["text_cache_dir"]]
    assert not folder.get("readOnly") and "persistentVolumeClaim" in volumes[folder["name"]]


@pytest.mark.parametrize("name, key", [("tls", "authority.pem"), ("tokens", "callers.toml")])
def test_keys_of_secrets_can_be_chosen(name: str, key: str) -> None:
    volumes = chart.volumes(chart.render(chart.VALUES[name]))
    assert key in [item["key"] for volume in volumes.values() for item in volume.get("secret", {}).get("items", [])]


def test_a_changed_setting_rolls_the_pods_and_nothing_else_does() -> None:
    def checksum(values: chart.Object) -> str:
        template = chart.find(chart.render(values), "Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) == checksum({"replicas": 5, "service": {"port": 443}})
    assert checksum({}) != checksum({"settings": {"default_top_k": 9}})
    assert checksum({}) != checksum({"drain": {"delaySeconds": 6}})


def test_the_environment_is_made_of_real_settings(objects: list[chart.Object]) -> None:
    variables = chart.environment(chart.container(objects))
    known = chart.program("serve", "--help").stdout
    settings = tomllib.loads(chart.program("serve", "--print-config").stdout)
    for name in variables:
        if name.startswith("SED_"):
            assert f"[env: {name}=]" in known or name.removeprefix("SED_").lower() in settings, name
    # The image sets these too; whatever it says, the chart's ports count.
    assert variables["SED_LISTEN"].endswith(":50051") and variables["SED_OPS_LISTEN"].endswith(":9464")


def test_the_program_takes_the_arguments_and_environment(objects: list[chart.Object]) -> None:
    container = chart.container(objects)
    variables = {
        name: value
        for name, value in chart.environment(container).items()
        if name.startswith("SED_") and name not in ("SED_CONFIG", "SED_MODEL", "SED_MODEL_CONFIG")
    }
    shown = chart.program(*container["args"], "--print-config", **variables)
    assert shown.returncode == 0, shown.stderr
    assert tomllib.loads(shown.stdout)["listen"] == variables["SED_LISTEN"]
