"""Compares the prediction of a committed trace with the figures of the review that the model was calibrated on."""

import json
import pathlib
import typing

FOLDER = pathlib.Path(__file__).parent
TABLE = FOLDER / "table_2b.json"
TRACE = FOLDER / "trace_2b.jsonl.gz"
HOST_WORK = FOLDER / "host_2b.toml"


def rows(report: dict[str, typing.Any], table: dict[str, typing.Any]) -> list[tuple[str, float, float]]:
    """The figures to compare: name, prediction, figure of the table."""
    found = []
    stages = {(stage["stage"], stage["batch"]): stage for stage in report["stages"]}
    for kind, field in (("elapsed", "ms_per_image"), ("device", "device_ms_per_image")):
        for name, by_batch in table[f"{kind}_ms_per_image"].items():
            for batch, figure in by_batch.items():
                found.append((f"{name}, batch of {batch}, {kind}", stages[name, int(batch)][field], figure))
    for batch, figure in table["all_on_the_device_ms_per_image"].items():
        end = "ms" if batch == "1" else "ms_per_image"
        predicted = report["h200"][f"batch_{batch}_device_{end}"]
        found.append((f"all, batch of {batch}, on the device", predicted, figure))
    return found


def check(report: dict[str, typing.Any]) -> bool:
    """Prints the comparison, and reports whether all times are within the tolerance."""
    table = json.loads(TABLE.read_text())
    print(f"origin of the table: {table['origin']}")
    good = True
    for name, predicted, figure in rows(report, table):
        off = predicted / figure - 1
        within = abs(off) <= table["tolerance"]
        good = good and within
        mark = "" if within else "  beyond"
        print(f"{name:40} predicted {predicted:7.3f} ms, table {figure:6.3f} ms {off:+7.1%}{mark}")
    for name, figure in table["counts_of_one_picture"].items():
        counted, expected = report["ledger"]["batch_1"][name], table["counted_of_one_picture"][name]
        good = good and counted == expected
        mark = "" if counted == expected else f"  expected {expected}"
        print(f"{name:40} ledger {counted}, table {figure}{mark}")
    return good
