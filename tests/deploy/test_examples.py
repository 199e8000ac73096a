"""The examples of the documentation are rendered by the chart."""

import re
from pathlib import Path

import helm_python
import pytest
import yaml

import chart

PAGES = [chart.ROOT / "deploy/README.md", chart.CHART / "README.md"]
BLOCKS = [yaml.safe_load(text) for page in PAGES for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)]


@pytest.mark.parametrize("values", BLOCKS, ids=lambda values: ",".join(values))
def test_example_values_render(values: chart.Object) -> None:
    rendered = chart.render(values)
    plain = chart.render({})
    assert rendered != plain, "the example changes nothing"


def test_the_first_command_brings_monitoring() -> None:
    text = PAGES[0].read_text()
    command = re.search(r"helm install sed .*?(?=\nkubectl)", text, re.S)
    assert command
    values = helm_python.parse_set_string(",".join(re.findall(r"--set (\S+)", command[0])))
    objects = chart.render(values, release=command[0].split()[2])
    assert {"ServiceMonitor", "PrometheusRule"} <= {item["kind"] for item in objects}
    assert f"rollout status deployment/{chart.find(objects, 'Deployment')['metadata']['name']}\n" in text
    services = [item["metadata"]["name"] for item in objects if item["kind"] == "Service"]
    assert re.findall(r"-n vision port-forward service/(\S+)", text) == [services[0]]


@pytest.mark.parametrize(
    "page", [*PAGES, *(chart.ROOT / "deploy").glob("*/README.md")], ids=lambda page: page.parent.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link
