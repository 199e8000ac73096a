"""What every test of this folder can ask for."""

from pathlib import Path

import pytest

import chart


@pytest.fixture(scope="session")
def full_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with rules and dashboard."""
    return chart.copied(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="session", params=sorted(chart.VALUES))
def value_set(request: pytest.FixtureRequest) -> str:
    """The name of one set of values after another."""
    return request.param


@pytest.fixture(scope="session")
def objects(value_set: str, full_chart: Path) -> list[chart.Object]:
    """All objects of that set."""
    return chart.render(chart.VALUES[value_set], full_chart)
