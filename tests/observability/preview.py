"""Draws the dashboard's panels with matplotlib, from a load that a real Prometheus has scraped. It is not Grafana's own
picture: it shows what the queries give, where the panels stand, and what a reader will see.

python preview.py HOST:PORT OPS_HOST:OPS_PORT PICTURE.png
"""

import io
import json
import pathlib
import sys
import tempfile
import time

import clean
import client as api
import documents
import drawing
import faults
import prometheus as prometheus_server
from ledger import Ledger
from PIL import Image
from prometheus import Prometheus

NOTE = (
    "The dashboard's queries, drawn by matplotlib (not by Grafana): sed-tiny on two shared CPU cores, {seconds:.0f} s"
)


def load(address: str) -> None:
    """Quiet, busy, faulty, quiet."""
    client = api.Client(address, Ledger())
    clean.run(client, workers=2, calls=40)
    clean.run(client, workers=7, calls=100)
    faults.run(client)
    clean.run(client, workers=3, calls=100)


def data(prometheus: Prometheus, panel: dict, start: float, end: float) -> list[tuple[dict, list[dict]]]:
    """The series of each of a panel's queries."""
    found = []
    for target in panel["targets"]:
        expr = documents.substituted(target["expr"], round(end - start), "15s")
        found.append((target, prometheus.at(expr, end) if target["instant"] else prometheus.over(expr, start, end)))
    return found


def main() -> None:
    address, ops_address, picture = sys.argv[1:]
    panels = json.loads(documents.DASHBOARD.read_text())["panels"]
    with tempfile.TemporaryDirectory() as folder:
        with prometheus_server.running(ops_address, documents.RULES, pathlib.Path(folder)) as prometheus:
            start = time.time()
            load(address)
            end = time.time()
            page = drawing.Page(panels, NOTE.format(seconds=end - start))
            for panel in panels:
                if panel["type"] != "row":
                    page.draw(panel, data(prometheus, panel, start + 15, end))
    image = Image.open(io.BytesIO(page.png())).convert("RGB")
    image.quantize(192, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"{picture}: {image.width}x{image.height}")


if __name__ == "__main__":
    main()
