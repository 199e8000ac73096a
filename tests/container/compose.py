"""The compose files: read by Docker Compose itself, every mounted path there, and what is mounted fits together.

python compose.py FOLDER_OF_DOCKER_COMPOSE WORK
"""

import json
import pathlib
import subprocess
import sys

import yaml

from context import REPOSITORY

DEPLOY = REPOSITORY / "deploy"


def read(compose: str, *files: str) -> dict:
    """The project as Docker Compose understands it."""
    flags = [word for name in files for word in ("-f", str(DEPLOY / name))]
    return json.loads(subprocess.check_output([compose, *flags, "config", "--format", "json"], text=True))


def source(service: dict, target: str) -> pathlib.Path:
    """The file or folder of this repository that a service sees at `target`."""
    return next(pathlib.Path(mount["source"]) for mount in service["volumes"] if mount["target"] == target)


def check_service(name: str, service: dict, volumes: dict) -> None:
    """Nothing that a container on a laptop need not have."""
    assert service["read_only"] and service["cap_drop"] == ["ALL"], f"{name} may write or has rights"
    assert service["security_opt"] == ["no-new-privileges:true"], name
    assert service["healthcheck"]["test"][0] == "CMD", f"{name} has no health check, or one that needs a shell"
    tag = service["image"].rpartition(":")[2]
    assert tag in ("cpu", "cuda") or tag.count(".") == 2, f"{name}: {service['image']} is not pinned"
    assert int(service["deploy"]["resources"]["limits"]["memory"]) > 0, name
    assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"]), f"{name} is open to the network"
    for mount in service["volumes"]:
        if mount["type"] == "bind":
            assert pathlib.Path(mount["source"]).exists(), f"{name} mounts {mount['source']}, which is not there"
            assert mount["read_only"], f"{name} can write to {mount['source']}"
        else:
            assert mount["source"] in volumes, f"{name}: no volume {mount['source']}"


def check_prometheus(service: dict, work: pathlib.Path) -> None:
    """promtool reads the configuration with the rules that are mounted."""
    path = source(service, "/etc/prometheus/prometheus.yml")
    settings = yaml.safe_load(path.read_text())
    settings["rule_files"] = [str(source(service, rules)) for rules in settings["rule_files"]]
    targets = [found for job in settings["scrape_configs"] for found in job.get("dns_sd_configs", [])]
    assert [(t["names"], t["port"]) for t in targets] == [(["sed-serve"], 9464)], targets
    here = work / "prometheus.yml"
    here.write_text(yaml.safe_dump(settings))
    subprocess.run(["promtool", "check", "config", here], check=True, stdout=subprocess.DEVNULL)


def check_grafana(service: dict) -> None:
    """The provisioned dashboard lies where its provider looks, and the data source is the service beside it."""
    folder = source(service, "/etc/grafana/provisioning/dashboards")
    providers = [p for file in folder.iterdir() for p in yaml.safe_load(file.read_text())["providers"]]
    dashboard = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert [p["options"]["path"] for p in providers] == [str(pathlib.PurePath(dashboard).parent)], providers
    assert json.loads(source(service, dashboard).read_text())["panels"]
    folder = source(service, "/etc/grafana/provisioning/datasources")
    origins = [d for file in folder.iterdir() for d in yaml.safe_load(file.read_text())["datasources"]]
    assert [(d["type"], d["url"]) for d in origins] == [("prometheus", "http://prometheus:9090")], origins


def main() -> None:
    compose, work = sys.argv[1], pathlib.Path(sys.argv[2])
    project = read(compose, "compose.yaml")
    services = project["services"]
    for name, service in services.items():
        check_service(name, service, project["volumes"])
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in services[needed]
    assert services["sed-serve"]["healthcheck"]["test"][1:] == ["/usr/local/bin/sed-serve", "health"]
    check_prometheus(services["prometheus"], work)
    check_grafana(services["grafana"])
    server = read(compose, "compose.yaml", "compose/gpu.yaml")["services"]["sed-serve"]
    assert (server["image"], server["build"]["target"]) == ("sed-serve:cuda", "cuda"), server
    assert server["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert server["environment"]["SED_TEXT_CACHE_DIR"], "the second file has replaced settings of the first"
    print(f"  {', '.join(services)}: read by Docker Compose, every mounted path is there, Prometheus' tool agrees")


if __name__ == "__main__":
    main()
