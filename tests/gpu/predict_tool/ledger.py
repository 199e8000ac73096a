"""A ledger as stages of batches."""

import dataclasses
import gzip
import json
import pathlib
import re

BATCH = re.compile(r"^batch_(\d+)/(\w+)$")
DEVICE = ("kernel", "memset", "product", "graph_launch", "copy")
LARGE = 1 << 20  # bytes of a copy that is pixels and not a list of numbers
# Marks between which the host works without a call: the mark that ends the work, and its name.
HOST_WORK = {
    "submit": "fill: pixels into slots (decoding threads)",
    "upload": "submit: until the first copy (device thread)",
    "maps": "answers: behind the wait (device thread)",
    "end": "maps: finished maps (answer thread)",
}
ORDER = ["upload", "encode", "cost_map", "decode_level_1", "decode_level_2", "decode_level_3", "finish"]

Entry = dict


@dataclasses.dataclass
class Counts:
    """Counts of a stage's calls to the driver."""

    kernels: int = 0
    submissions: int = 0
    host_waits: int = 0
    device_to_host: int = 0
    host_to_device: int = 0
    allocations: int = 0
    bytes_to_host: int = 0
    bytes_to_device: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Counts(*(a + b for a, b in pairs))


class Unclear(Exception):
    """A ledger that does not say what ran."""


def read(path: pathlib.Path) -> list[Entry]:
    """The lines of a ledger, which may be compressed; a graph's launch holds its work, as `work`."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as file:
        return with_graphs([json.loads(line) for line in file])


def with_graphs(entries: list[Entry]) -> list[Entry]:
    """Removes captured lines, and attaches them to the launches of their graphs. A launch states only its number of
    nodes: it is matched with the last capture of as many."""
    captures: dict[int, list[Entry]] = {}
    capture: list[Entry] = []
    found = []
    for entry in entries:
        if entry.get("captured"):
            capture.append(entry)
            continue
        if capture:
            captures[len(capture)] = capture
            capture = []
        if entry["op"] == "graph_launch" and "work" not in entry:
            nodes = entry["nodes"]
            if nodes not in captures:
                raise Unclear(f"a graph of {nodes} nodes is launched, and no capture before it has as many")
            entry["work"] = captures[nodes]
        found.append(entry)
    return found


def batches(entries: list[Entry]) -> dict[int, dict[str, list[Entry]]]:
    """Entries by batch and stage; the upload is cut off the encoder."""
    found: dict[int, dict[str, list[Entry]]] = {}
    for entry in entries:
        place = BATCH.match(entry.get("stage", ""))
        if place and entry["op"] != "stage" and place[2] != "end":
            found.setdefault(int(place[1]), {}).setdefault(place[2], []).append(entry)
    for stages in found.values():
        if "upload" not in stages:
            end = end_of_upload(stages["encode"])
            stages["upload"], stages["encode"] = stages["encode"][:end], stages["encode"][end:]
    return {batch: {name: stages[name] for name in ORDER if name in stages} for batch, stages in sorted(found.items())}


def end_of_upload(entries: list[Entry]) -> int:
    """The upload ends with the conversion of the pixels, before the first of our own kernels or products."""
    copies = [i for i, entry in enumerate(entries) if is_large_upload(entry)]
    if not copies:
        return 0
    for i in range(copies[-1] + 1, len(entries)):
        op, name = entries[i]["op"], entries[i].get("name", "")
        if op == "product" or (op == "kernel" and not name.startswith("cast_")):
            return i
    return len(entries)


def is_large_upload(entry: Entry) -> bool:
    """Reports whether an entry copies pixels to the device."""
    return entry["op"] == "copy" and entry["direction"] == "h2d" and entry["bytes"] >= LARGE


def waits(entry: Entry) -> bool:
    """Reports whether the host waits or polls."""
    return entry["op"] == "wait" or (entry["op"] == "copy" and bool(entry.get("waits")))


def counts(entries: list[Entry], idle: bool = False) -> Counts:
    """Sums of a stage. A memset and a product count as kernels; a graph is one submission, and every kernel outside of
    one. A wait behind a wait with nothing for the device between them is the same wait: cudarc synchronises after
    a copy that has waited already. `idle` says that the device had nothing to do when the stage began."""
    sums = Counts()
    for entry in entries:
        op = entry["op"]
        if op in ("kernel", "memset", "product"):
            sums.kernels += 1
            sums.submissions += 1
        elif op == "graph_launch":
            sums.submissions += 1
            sums.kernels += sum(node["op"] in ("kernel", "memset", "product") for node in entry["work"])
        elif op == "alloc":
            sums.allocations += 1
        elif op == "copy" and entry["direction"] == "d2h":
            sums.device_to_host += 1
            sums.bytes_to_host += entry["bytes"]
        elif op == "copy" and entry["direction"] == "h2d":
            sums.host_to_device += 1
            sums.bytes_to_device += entry["bytes"]
        if op in DEVICE:
            idle = False
        if waits(entry):
            sums.host_waits += not idle
            idle = True
    return sums


def ends_idle(entries: list[Entry], idle: bool) -> bool:
    """Reports whether the device has nothing left to do after these entries."""
    for entry in entries:
        idle = waits(entry) or (idle and entry["op"] not in DEVICE)
    return idle


def host_work(entries: list[Entry]) -> list[tuple[int, str, float]]:
    """Work of the host that a ledger shows on the machine that wrote it: images, name, microseconds an image."""
    found = []
    for entry in entries:
        place = BATCH.match(entry.get("name", "")) if entry["op"] == "stage" else None
        if place and place[2] in HOST_WORK:
            images = int(place[1])
            found.append((images, HOST_WORK[place[2]], entry["between_ns"] / 1e3 / images))
    return found
