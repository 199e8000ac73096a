"""Access to the pods, and the agreement of selectors, ports and policies."""

import tomllib

import yaml

import chart


def selected(selector: chart.Object, labels: chart.Object) -> bool:
    return selector.items() <= labels.items()


def policy(objects: list[chart.Object]) -> chart.Object:
    """The policy of the pods that serve; that of the Job is in test_prepare.py."""
    name = chart.find(objects, "Deployment")["metadata"]["name"]
    return chart.find(objects, "NetworkPolicy", name)["spec"]


def test_selectors_match_the_pods_of_this_release_only() -> None:
    everything = chart.render(chart.VALUES["everything"])
    monitored = chart.render(chart.VALUES["monitoring"])
    other = chart.find(chart.render({}, release="other"), "Deployment")["spec"]["template"]["metadata"]["labels"]
    for objects in (everything, monitored):
        labels = chart.find(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
        selectors = [item["spec"]["selector"] for item in objects if item["kind"] == "Service"]
        selectors += [
            item["spec"]["selector"]["matchLabels"]
            for item in objects
            if item["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor")
        ]
        selectors.append(policy(objects)["podSelector"]["matchLabels"])
        spread = chart.pod(objects)["topologySpreadConstraints"]
        selectors += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
        assert len(selectors) >= 6
        for selector in selectors:
            assert selected(selector, labels) and not selected(selector, other)


def test_the_service_monitor_finds_one_service() -> None:
    objects = chart.render(chart.VALUES["monitoring"])
    monitor = chart.find(objects, "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"]
    found = [item for item in objects if item["kind"] == "Service" and selected(wanted, item["metadata"]["labels"])]
    (service,) = found
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert monitor["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
    assert chart.find(objects, "ServiceMonitor")["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_monitors_name_their_job_as_the_rules_expect() -> None:
    service = chart.find(chart.render(chart.VALUES["monitoring"]), "ServiceMonitor")["spec"]["endpoints"][0]
    pods = chart.find(chart.render(chart.VALUES["everything"]), "PodMonitor")["spec"]["podMetricsEndpoints"][0]
    assert service["relabelings"] == [{"targetLabel": "job", "replacement": "sed-serve/sed-sed-serve"}]
    assert pods["relabelings"] == [{"targetLabel": "job", "replacement": "sed-serve/segmentation"}]


def test_ports_lead_to_the_container(objects: list[chart.Object]) -> None:
    ports = {port["name"]: port["containerPort"] for port in chart.container(objects)["ports"]}
    services = [item["spec"] for item in objects if item["kind"] == "Service"]
    assert len(services) == 2
    for service in services:
        for port in service["ports"]:
            assert port["targetPort"] in ports
            if service.get("clusterIP") == "None":
                assert port["port"] == ports[port["targetPort"]], "a headless service cannot map ports"
    for monitor in (item["spec"] for item in objects if item["kind"] == "PodMonitor"):
        assert monitor["podMetricsEndpoints"][0]["port"] in ports


def test_gateways_are_told_of_h2c_unless_there_is_tls() -> None:
    def protocols(values: chart.Object) -> set[str | None]:
        services = [item for item in chart.render(values) if item["kind"] == "Service"]
        return {
            port.get("appProtocol") for item in services for port in item["spec"]["ports"] if port["name"] == "grpc"
        }

    assert protocols({}) == {"kubernetes.io/h2c"}
    assert protocols(chart.VALUES["tls"]) == {None}


def test_the_service_can_be_exposed() -> None:
    objects = chart.render(chart.VALUES["tls"])
    service = chart.find(objects, "Service", f"{chart.RELEASE}-sed-serve")
    assert service["spec"]["type"] == "LoadBalancer" and service["spec"]["ports"][0]["port"] == 443
    # Operations stay within the cluster.
    assert [port["name"] for port in service["spec"]["ports"]] == ["grpc"]


def test_a_policy_lets_clients_and_prometheus_in() -> None:
    values = chart.VALUES["monitoring"]
    allowed = policy(chart.render(values))
    assert allowed["policyTypes"] == ["Ingress", "Egress"]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in allowed["ingress"]}
    assert rules == {"grpc": values["networkPolicy"]["clients"], "ops": values["networkPolicy"]["monitoring"]}


def ports_out(allowed: chart.Object) -> set[tuple[int, str]]:
    return {(port["port"], port["protocol"]) for rule in allowed["egress"] for port in rule["ports"]}


def test_a_policy_lets_out_only_what_is_needed() -> None:
    names = {(53, "UDP"), (53, "TCP")}

    def out(name: str) -> set[tuple[int, str]]:
        return ports_out(policy(chart.render(chart.VALUES[name])))

    assert out("monitoring") == names | {(4317, "TCP")}
    assert out("fetch") == names | {(443, "TCP")}
    # A collector by https without a port, a store with one, and the rule of the values.
    assert out("everything") == names | {(443, "TCP"), (8080, "TCP"), (2049, "TCP")}
    closed = policy(chart.render({"networkPolicy": {"enabled": True}}))
    assert closed["egress"] == [] and "Egress" in closed["policyTypes"]
    assert all("from" not in rule for rule in closed["ingress"])


def test_the_example_route_leads_to_the_service_of_a_release_called_sed() -> None:
    route = yaml.safe_load((chart.ROOT / "deploy/gateway/grpcroute.yaml").read_text())
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    service = chart.find(chart.render({}, release="sed"), "Service", backend["name"])
    assert backend["port"] in [port["port"] for port in service["spec"]["ports"]]
    traffic = yaml.safe_load((chart.ROOT / "deploy/gateway/envoy-gateway.yaml").read_text())
    assert traffic["spec"]["targetRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": route["kind"], "name": route["metadata"]["name"]}
    ]


def test_kserve_drains_as_long_as_its_runtime_says() -> None:
    folder = chart.ROOT / "deploy/kserve"
    runtime = yaml.safe_load((folder / "runtime.yaml").read_text())["spec"]
    service = yaml.safe_load((folder / "inference-service.yaml").read_text())["spec"]["predictor"]
    (container,) = runtime["containers"]
    shown = chart.program(*container["args"], "--print-config")
    assert shown.returncode == 0, shown.stderr
    settings = tomllib.loads(shown.stdout)
    drain = settings["shutdown_delay_seconds"] + settings["shutdown_grace_seconds"]
    assert service["terminationGracePeriodSeconds"] > drain
    assert settings["shutdown_grace_seconds"] >= settings["max_timeout_seconds"]
    ports = [port["containerPort"] for port in container["ports"]]
    assert [settings[key].rpartition(":")[2] for key in ("listen", "ops_listen")] == [str(port) for port in ports]
    # KServe routes to the first port, and by its name knows the protocol.
    assert container["ports"][0]["name"] == "h2c" and container["name"] == "kserve-container"
    assert service["model"]["runtime"] == "sed-serve"
    assert service["model"]["modelFormat"]["name"] in [form["name"] for form in runtime["supportedModelFormats"]]
    assert service["model"]["protocolVersion"] in runtime["protocolVersions"]
