"""Panels as matplotlib draws them, in the places and roughly the colours that Grafana gives them."""

import io
import math
import re

import matplotlib

matplotlib.use("Agg")
import numpy as np  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.colors import PowerNorm  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: E402

WIDTH, UNIT = 1680, 35  # pixels of the page, and of one step of the grid downwards
HEAD = 50
COLOURS = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a"]
NAMED = {"green": "#73bf69", "yellow": "#f2cc0c", "red": "#f2495c", "blue": "#5794f2"}
PAGE, PANEL, EDGE, TEXT, DIM = "#111217", "#181b1f", "#2d2f34", "#ccccdc", "#8e8e9b"

Queries = list[tuple[dict, list[dict]]]


def shown(value: float, unit: str) -> str:
    """A value as Grafana would write it."""
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    letter = {"reqps": " req/s", "ops": " ops/s", "Bps": "B/s"}.get(unit, "")
    for bound, prefix in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if abs(value) >= bound:
            return f"{value / bound:.3g} {prefix}{letter.strip()}"
    return f"{value:.3g}{letter}"


def name_of(legend: str, metric: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: metric.get(label[1], ""), legend).strip()


def points(series: dict) -> tuple[np.ndarray, np.ndarray]:
    times, values = np.array(series["values"], dtype=float).T
    return times, values


class Page:
    """A page with all panels."""

    def __init__(self, panels: list[dict], note: str) -> None:
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        self.height = rows * UNIT + HEAD
        self.figure = plt.figure(figsize=(WIDTH / 100, self.height / 100), dpi=100, facecolor=PAGE)
        self.text(12, 18, "sed-serve", 15, weight="bold")
        self.text(150, 21, note, 9.5, DIM)
        for panel in panels:
            if panel["type"] == "row":
                self.text(12, panel["gridPos"]["y"] * UNIT + HEAD + 10, "⌄ " + panel["title"], 11, weight="bold")

    def text(self, x: float, y: float, text: str, size: float, colour: str = TEXT, **more) -> None:
        """Text whose upper left corner is at these pixels."""
        self.figure.text(x / WIDTH, 1 - y / self.height, text, fontsize=size, color=colour, va="top", **more)

    def axes(self, left: float, top: float, width: float, height: float):
        return self.figure.add_axes(
            (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        )

    def draw(self, panel: dict, queries: Queries) -> None:
        place = panel["gridPos"]
        left, top = place["x"] * WIDTH / 24 + 4, place["y"] * UNIT + HEAD + 4
        width, height = place["w"] * WIDTH / 24 - 8, place["h"] * UNIT - 8
        frame = self.axes(left, top, width, height)
        frame.set(xticks=[], yticks=[], facecolor=PANEL)
        frame.spines[:].set_color(EDGE)
        self.text(left + 10, top + 9, panel["title"], 9, weight="bold")
        draw = getattr(self, panel["type"].replace("-", "_"))
        draw(panel, queries, (left + 10, top + 28, width - 22, height - 34))

    def png(self) -> bytes:
        written = io.BytesIO()
        self.figure.savefig(written, format="png", facecolor=PAGE)
        return written.getvalue()

    def plot(self, box: tuple[float, ...], unit: str, below: float, aside: float = 62):
        left, top, width, height = box
        axes = self.axes(left + aside, top, width - aside, height - below)
        axes.set_facecolor(PANEL)
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=DIM, labelsize=7.5, length=0)
        axes.grid(color=EDGE, linewidth=0.6)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
        axes.xaxis.set_major_locator(MaxNLocator(max(2, int(width / 110))))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{int(second) // 60}:{int(second) % 60:02}"))
        return axes

    def timeseries(self, panel: dict, queries: Queries, box: tuple[float, ...]) -> None:
        defaults = panel["fieldConfig"]["defaults"]
        found = [
            (name_of(target["legendFormat"], each["metric"]), *points(each)) for target, all in queries for each in all
        ]
        columns = max(1, int(box[2] / (26 + 6 * max(len(name) for name, _, _ in found))))
        axes = self.plot(box, defaults["unit"], 24 + 14 * math.ceil(len(found) / columns))
        moments = np.unique(np.concatenate([times for _, times, _ in found]))
        base, drawn = np.zeros(len(moments)), []
        for name, times, values in found:
            colour, bound = self.looks(panel, name, len(drawn))
            if bound or defaults["custom"]["stacking"]["mode"] == "none":
                (line,) = axes.plot(times - moments[0], values, color=colour, lw=1.1, ls="--" if bound else "-")
            else:
                under, base = base, base + np.interp(moments, times, np.nan_to_num(values), left=0, right=0)
                line = axes.fill_between(moments - moments[0], under, base, color=colour, alpha=0.55, lw=0.8)
            drawn.append((line, name))
        top = axes.get_ylim()[1]
        axes.set_ylim(0, defaults.get("max", top if top > 0 else 1))
        down = -20 / (axes.bbox.height or 1)
        axes.legend(
            *zip(*drawn, strict=True), loc="upper left", bbox_to_anchor=(-62 / (box[2] - 62), down), ncol=columns,
            fontsize=7, frameon=False, labelcolor=DIM, handlelength=1, columnspacing=1, handletextpad=0.4, borderpad=0,
            labelspacing=0.25,
        )  # fmt: skip

    def looks(self, panel: dict, name: str, number: int) -> tuple[str, bool]:
        """The colour of a series, and whether it is a bound."""
        colour, bound = COLOURS[number % len(COLOURS)], False
        for override in panel["fieldConfig"]["overrides"]:
            if re.fullmatch(str(override["matcher"]["options"]), name):
                for change in override["properties"]:
                    if change["id"] == "color":
                        colour = NAMED[change["value"]["fixedColor"]]
                    bound = bound or change["id"] == "custom.lineStyle"
        return colour, bound

    def stat(self, panel: dict, queries: Queries, box: tuple[float, ...]) -> None:
        left, top, width, height = box
        defaults = panel["fieldConfig"]["defaults"]
        series = queries[0][1]
        if not series:
            self.text(left + width / 2, top + height * 0.3, defaults["noValue"], 20, DIM, ha="center")
            return
        times, values = points(series[0])
        known = values[~np.isnan(values)]
        last = known[-1] if len(known) else math.nan
        steps = defaults["thresholds"]["steps"]
        colour = [NAMED[s["color"]] for s in steps if s["value"] is None or last >= s["value"]][-1]
        axes = self.axes(left, top + height * 0.6, width, height * 0.4)
        axes.axis("off")
        axes.fill_between(times, np.nan_to_num(values), color=colour, alpha=0.25)
        axes.set_ylim(0, max(1e-9, np.nanmax(values) * 1.1))
        self.text(
            left + width / 2, top + height * 0.08, shown(last, defaults["unit"]), 21, colour, ha="center", weight="bold"
        )

    def heatmap(self, panel: dict, queries: Queries, box: tuple[float, ...]) -> None:
        found = [series for series in queries[0][1] if series["metric"]["le"] != "+Inf"]
        found.sort(key=lambda series: float(series["metric"]["le"]))
        bounds = [float(series["metric"]["le"]) for series in found]
        counts = np.diff(np.array([points(series)[1] for series in found]), axis=0, prepend=0)
        used = np.nonzero(counts.sum(axis=1) > 0)[0]
        first, last = max(0, used[0] - 1), min(len(bounds), used[-1] + 2)
        axes = self.plot(box, "none", 18)
        counts = np.where(counts > 0, counts, np.nan)[first:last]
        axes.pcolormesh(
            np.arange(counts.shape[1] + 1), np.arange(len(counts) + 1), counts, cmap="turbo", norm=PowerNorm(0.5)
        )
        every = max(1, len(counts) // 8)
        unit = panel["options"]["yAxis"]["unit"]
        axes.set_yticks(
            np.arange(1, len(counts) + 1)[::every], [shown(each, unit) for each in bounds[first:last][::every]]
        )
        axes.grid(False)

    def state_timeline(self, panel: dict, queries: Queries, box: tuple[float, ...]) -> None:
        found = queries[0][1]
        aside = 230 if len(found) > 2 else 110
        axes = self.plot(box, "none", 18, aside)
        options = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        begin = min(float(series["values"][0][0]) for series in found)
        for row, series in enumerate(found):
            for value in {value for _, value in series["values"]}:
                spans = [(float(moment) - begin, 1) for moment, each in series["values"] if each == value]
                colour = NAMED[options[f"{float(value):g}"]["color"]]
                axes.broken_barh(spans, (row + 0.12, 0.76), color=colour, lw=0, antialiased=False)
        names = [name_of(queries[0][0]["legendFormat"], series["metric"]) for series in found]
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_ylim(0, len(names))
        axes.grid(False)

    def table(self, panel: dict, queries: Queries, box: tuple[float, ...]) -> None:
        left, top, width, _ = box
        columns = panel["transformations"][2]["options"]["renameByName"]
        units = {
            change["matcher"]["options"]: change["properties"][0]["value"]
            for change in panel["fieldConfig"]["overrides"]
        }
        rows: dict[str, dict[str, str]] = {}
        for number, (_, found) in enumerate(queries):
            for series in found:
                row = rows.setdefault(series["metric"]["instance"], {})
                row |= series["metric"]
                key = f"Value #{chr(ord('A') + number)}"
                row[key] = shown(float(series["value"][1]), units.get(columns[key], "none"))
        for number, (name, heading) in enumerate(columns.items()):
            x = left + number * width / len(columns)
            self.text(x, top + 6, heading, 9, "#6e9fff", weight="bold")
            for line, row in enumerate(rows.values()):
                text = row.get(name, "")
                self.text(x, top + 32 + 22 * line, text if len(text) < 20 else text[:17] + "…", 9)
