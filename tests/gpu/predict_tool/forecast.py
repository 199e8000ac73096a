"""Counts and times of all batches and stages of a ledger."""

import dataclasses
import typing

from . import ledger, times
from .card import Card
from .launches import Kernels
from .ledger import Entry

Report = dict[str, typing.Any]


def with_instructions(entries: list[Entry]) -> None:
    """Adds to every launch of an own kernel what its warps issue; nothing to those of others."""
    nodes = [node for entry in entries for node in entry.get("work", [entry])]
    launches = [entry for entry in nodes if entry["op"] == "kernel" and "walked" not in entry]
    if not launches:
        return
    kernels = Kernels()
    for entry in launches:
        entry["walked"] = kernels.walked(entry)
    kernels.save()


def forecast(card: Card, entries: list[Entry]) -> Report:
    """The report: totals and stages of each batch."""
    report: Report = {"h200": {}, "ledger": {}, "stages": []}
    for batch, stages in ledger.batches(entries).items():
        with_instructions([entry for stage in stages.values() for entry in stage])
        timeline, total, elapsed, device = times.Timeline(card), ledger.Counts(), 0.0, 0.0
        idle = True
        for name, stage in stages.items():
            counted = ledger.counts(stage, idle)
            idle = ledger.ends_idle(stage, idle)
            found = times.of_stage(timeline, name, stage, batch)
            total, elapsed = total + counted, elapsed + found["elapsed_ms"]
            if name != "upload":
                device += found["device_ms"] if name == "finish" else found["elapsed_ms"]
            report["stages"].append(
                {"batch": batch, "stage": name, "ms_per_image": found["elapsed_ms"] / batch,
                 "device_ms_per_image": found["device_ms"] / batch, "counts": dataclasses.asdict(counted),
                 "kernels": found["kernels"]}
            )  # fmt: skip
        end = "ms" if batch == 1 else "ms_per_image"
        report["h200"][f"batch_{batch}_{end}"] = round(elapsed / batch, 3)
        # Encoder to arg-max, as if pixels were on the device and the result stayed there.
        report["h200"][f"batch_{batch}_device_{end}"] = round(device / batch, 3)
        report["ledger"][f"batch_{batch}"] = dataclasses.asdict(total)
    return report


def table(report: Report, detail: bool) -> str:
    """The report for people."""
    lines = [
        "Predicted for an H200: nothing here was measured on one.",
        "",
        "batch  stage           kernels  submissions      waits  d2h  h2d  allocations"
        "   predicted ms/image  on the device",
    ]
    for stage in report["stages"]:
        counts = stage["counts"]
        lines.append(
            f"{stage['batch']:5}  {stage['stage']:15} {counts['kernels']:7} {counts['submissions']:16}"
            f" {counts['host_waits']:6} {counts['device_to_host']:4} {counts['host_to_device']:4}"
            f" {counts['allocations']:12} {stage['ms_per_image']:20.3f} {stage['device_ms_per_image']:14.3f}"
        )
        if detail:
            for name, sums in sorted(stage["kernels"].items(), key=lambda item: -item[1]["ms"]):
                ms = sums["ms"] / stage["batch"]
                lines.append(f"{'':7}  {name:34} {sums['launches']:5} launches {ms:10.4f} ms/image, predicted")
    for name, value in report["h200"].items():
        lines.append(f"predicted {name}: {value}")
    return "\n".join(lines)
