"""The committed constants of the card and of the host's work."""

import dataclasses
import pathlib
import tomllib

FOLDER = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass
class Card:
    """Sections of h200.toml, and the host's work by stage in microseconds an image: before the stage's calls, and
    behind them."""

    chip: dict[str, float]
    pipes: dict[str, float]
    latency: dict[str, float]
    tiles: list[list[float]]
    depth_half: float
    host: dict[str, float]
    link: dict[str, float]
    work: dict[str, float]
    work_behind: dict[str, float]


def read(host_work: pathlib.Path = FOLDER / "predict_host.toml") -> Card:
    """Reads both files."""
    table = tomllib.loads((FOLDER / "h200.toml").read_text())
    work: dict[str, float] = {}
    work_behind: dict[str, float] = {}
    for item in tomllib.loads(host_work.read_text()).get("work", []):
        us = item["us"] if "us" in item else item["bytes"] / item["gb_s"] / 1e3
        sums = work_behind if item.get("behind") else work
        sums[item["stage"]] = sums.get(item["stage"], 0.0) + us
    product = table["product"]
    return Card(
        table["chip"], table["pipes"], table["latency"], product["tiles"], product["depth_half"], table["host"],
        table["link"], work, work_behind,
    )  # fmt: skip
