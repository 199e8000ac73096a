"""Fixtures of all tests in this folder."""

import pytest

import chart


@pytest.fixture(scope="session", params=sorted(chart.VALUES))
def value_set(request: pytest.FixtureRequest) -> str:
    """The name of one set of values after another."""
    return request.param


@pytest.fixture(scope="session")
def objects(value_set: str) -> list[chart.Object]:
    """All objects that the chart renders for that set."""
    return chart.render(chart.VALUES[value_set])
