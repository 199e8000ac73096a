"""The model of time: how long the device needs for each entry, and how device and host go on together."""

import dataclasses
import math
import typing

from .card import Card
from .ledger import DEVICE, Entry, waits
from .touched import touched

SIZES = {"f32": 4, "bf16": 2, "f16": 2, "tf32": 4, "f64": 8}
# candle's kernels have no machine code here: clocks of a scheduler for a warp's 32 values (the review counted 310
# instructions for each value of a strided copy, whose index it divides by five axes).
CANDLE = {"ucopy": 310.0, "cast": 30.0, "copy2d": 40.0, "const": 40.0, "fill": 12.0}


class Unknown(Exception):
    """An entry whose time cannot be said."""


def occupancy(card: Card, entry: Entry, walked: dict[str, float]) -> int:
    """Blocks of a launch that a multiprocessor holds at once."""
    chip = card.chip
    warps = max(math.prod(entry["block"]) // 32, 1)
    registers = math.ceil(walked["registers"] * 32 / chip["register_unit"]) * chip["register_unit"]
    shared = entry["shared"] + walked["static"]
    limits = [
        chip["blocks"],
        chip["warps"] // warps,
        chip["registers"] // (registers * warps),
        chip["shared_bytes"] // max(shared, 1),
    ]
    return max(int(min(limits)), 1)


def issue_us(card: Card, entry: Entry, walked: dict[str, float]) -> float:
    """Time in which the busiest multiprocessor issues its share of a launch."""
    chip, pipes = card.chip, card.pipes
    blocks, warps = math.prod(entry["grid"]), max(math.prod(entry["block"]) // 32, 1)
    busiest = math.ceil(blocks / chip["multiprocessors"])
    resident = min(occupancy(card, entry, walked), busiest) * warps / chip["schedulers"]
    clocks = max(walked["issued"] * pipes["issue"], *(walked.get(pipe, 0.0) * clocks for pipe, clocks in pipes.items()))
    # The two multiply-add pipes share the integers' one.
    clocks = max(clocks, walked.get("fma", 0.0) + walked.get("fma_integer", 0.0))
    # A block lasts as long as its longest warp, which waits for itself; other resident warps fill its pauses.
    clocks = max(clocks, walked["longest"] * card.latency["warp_interval"] / max(resident, 1e-9))
    return busiest * warps / chip["schedulers"] * clocks / chip["clock_ghz"] / 1e3


def memory_us(card: Card, bytes_: float) -> float:
    """Time of moving so many bytes."""
    return bytes_ / card.chip["memory_tb_s"] / 1e6


def candle_us(card: Card, entry: Entry) -> float:
    """Time of a kernel of candle, by the bytes behind its pointers."""
    kind = entry["name"].split("_")[0]
    if kind not in CANDLE:
        raise Unknown(f"no cost for candle's kernel {entry['name']}; add it to CANDLE in times.py")
    bytes_ = touched(entry)
    element = next(arg["element"] for arg in entry["args"] if arg.get("written"))
    values = next((arg["i64"] for arg in entry["args"] if "i64" in arg), bytes_ / 2 / element)
    warps = values / 32 / (card.chip["multiprocessors"] * card.chip["schedulers"])
    return max(memory_us(card, bytes_), warps * CANDLE[kind] / card.chip["clock_ghz"] / 1e3)


def product_us(card: Card, entry: Entry) -> float:
    """Time of a product: the best tile's, or that of moving its matrices."""
    m, n, k, batch = (entry[name] for name in ("m", "n", "k", "batch"))
    peak = card.chip["tensor_tflops"] * (1.0 if SIZES[entry["type"]] == 2 else 0.06)
    depth = k / (k + card.depth_half)
    best = math.inf
    for rows, columns, share in card.tiles:
        for a, b in ((m, n), (n, m)):
            count = math.ceil(a / rows) * math.ceil(b / columns) * batch
            waves = math.ceil(count / card.chip["multiprocessors"])
            flop = 2.0 * rows * columns * k * waves * card.chip["multiprocessors"]
            best = min(best, flop / (peak * share * depth) / 1e6)
    results = 2 if entry.get("c") else 1  # what is added is as large as the result
    bytes_ = batch * (m * k + k * n + results * m * n) * SIZES[entry["type"]]
    return card.latency["product_us"] + max(best, memory_us(card, bytes_))


def device_us(card: Card, entry: Entry) -> float:
    """Time of an entry on the device."""
    match entry["op"]:
        case "kernel" if entry["walked"]:
            issue = issue_us(card, entry, entry["walked"])
            return card.latency["kernel_us"] + max(issue, memory_us(card, touched(entry)))
        case "kernel":
            return card.latency["kernel_us"] + candle_us(card, entry)
        case "product":
            return product_us(card, entry)
        case "memset":
            return card.latency["kernel_us"] + memory_us(card, entry["bytes"])
        case "copy" if entry["direction"] == "d2d":
            return card.latency["kernel_us"] + memory_us(card, 2 * entry["bytes"])
        case "copy":
            rate = card.link["pinned_gb_s"] if entry["host"] == "pinned" else card.link["pageable_gb_s"]
            return card.link["latency_us"] + entry["bytes"] / rate / 1e3
        case "graph_launch":
            gap = card.latency["graph_gap_us"]
            return sum(device_us(card, node) + gap for node in entry["work"])
    return 0.0


def host_us(card: Card, entry: Entry) -> float:
    """Time of the device thread for the call itself."""
    host = card.host
    match entry["op"]:
        case "kernel":
            return host["launch_us"]
        case "product":
            return host["product_us"]
        case "memset":
            return host["memset_us"]
        case "graph_launch":
            return host["graph_us"]
        case "alloc":
            return host["allocation_us"] if "Async" in entry["call"] else host["plain_allocation_us"]
        case "free":
            return host["free_us"]
        case "copy":
            return host["copy_us"]
    return 0.0


@dataclasses.dataclass
class Timeline:
    """Clocks of host and device, in microseconds."""

    card: Card
    host: float = 0.0
    device: float = 0.0
    busy: float = 0.0
    idle_since: float = 0.0

    def put(self, entry: Entry) -> None:
        """Advances the clocks by an entry."""
        self.host += host_us(self.card, entry)
        needed = device_us(self.card, entry)
        if entry["op"] in DEVICE:
            self.device = max(self.device + self.card.latency["gap_us"], self.host) + needed
            self.busy += needed
            if entry["op"] == "copy" and entry.get("host") == "pageable" and entry["direction"] == "h2d":
                # The driver copies into its own memory before the call returns.
                self.host += entry["bytes"] / self.card.link["pageable_gb_s"] / 1e3
        if waits(entry):
            if self.device > self.idle_since:
                self.host = max(self.host, self.device) + self.card.host["wait_us"]
            self.idle_since = self.device

    def work(self, us: float) -> None:
        """The host works on something else."""
        self.host += us

    @property
    def now(self) -> float:
        """The time at which both are done."""
        return max(self.host, self.device)


def of_stage(timeline: Timeline, name: str, entries: list[Entry], images: int) -> dict[str, typing.Any]:
    """Times of a stage: elapsed, busy on the device, and by kernel. Work of the host comes first, and what it does with
    the results last."""
    start, busy = timeline.now, timeline.busy
    timeline.host = max(timeline.host, 0.0)
    timeline.work(timeline.card.work.get(name, 0.0) * images)
    by_kernel: dict[str, list[float]] = {}
    for entry in entries:
        timeline.put(entry)
        for each in entry.get("work", [entry]):
            if each["op"] in ("kernel", "product", "memset"):
                label = each["name"] if each["op"] == "kernel" else each["op"]
                sums = by_kernel.setdefault(label, [0, 0.0])
                sums[0] += 1
                sums[1] += device_us(timeline.card, each)
    timeline.work(timeline.card.work_behind.get(name, 0.0) * images)
    return {
        "elapsed_ms": (timeline.now - start) / 1e3,
        "device_ms": (timeline.busy - busy) / 1e3,
        "kernels": {label: {"launches": int(n), "ms": us / 1e3} for label, (n, us) in by_kernel.items()},
    }
