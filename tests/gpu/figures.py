"""Reads the figures of steps from the files that they write and from their logs."""

import json
import pathlib
import re
import statistics

# The fields that are kept of a combination.
BENCH = [
    "dtype", "categories", "top_k", "batch", "rounds", "batch_ms", "device_ms", "submission", "images_per_second",
    "survivors",
]  # fmt: skip


def findings(file: pathlib.Path) -> dict:
    """Figures of ``evidence reduced`` and ``evidence full``: every one beside its bound, the worst first."""
    found = json.loads(file.read_text())
    all_ = [(one["what"], one["measured"], one["bound"], one["good"]) for one in found["findings"]]
    by_share = sorted(all_, key=lambda one: (one[3], -share(one[1], one[2])))
    return {
        "figures": len(all_),
        "out_of_bounds": [one[0] for one in by_share if not one[3]],
        "measured_and_bound": [one[:3] for one in by_share],
        "notes": found["notes"],
    }


def share(measured: float | None, bound: float) -> float:
    """A figure by its bound; what is not a number comes as ``None`` and is beyond all bounds."""
    if measured is None:
        return float("inf")
    return measured / bound if bound > 0 else float(measured > 0)


def harness(log: str) -> dict:
    """Results of a Rust test program, also of one that was cut: number of tests that have passed, and names of those
    that failed."""
    starts = list(re.finditer(r"^test (\S+)(?: - should panic)? \.\.\. ", log, re.MULTILINE))
    passed, failed = 0, []
    for index, start in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(log)
        # Other output may stand before the verdict, which a test that was cut has not got.
        verdict = re.search(r"\b(ok|FAILED|ignored)$", log[start.end() : end], re.MULTILINE)
        passed += verdict is not None and verdict[1] == "ok"
        if verdict is not None and verdict[1] == "FAILED":
            failed.append(start[1])
    return {"passed": passed, "failed": failed, "finished": "test result:" in log}


def sanitizer(log: str) -> dict:
    """Results of compute-sanitizer: its own count of errors (None where it did not end), the first of them, and the
    tests it ran."""
    counts = re.findall(r"(?:ERROR SUMMARY|RACECHECK SUMMARY): (\d+)", log)
    kinds = "Invalid|Uninitialized|Error|Warning|Race|Program hit|Potential"
    reports = re.findall(rf"=+ ((?:{kinds}).*)$", log, re.MULTILINE)
    return {"errors": int(counts[-1]) if counts else None, "first": reports[:20], "tests": harness(log)}


def bench(file: pathlib.Path) -> list[dict]:
    """Results of ``bench model --json-file``: every combination; of each stage the time, which is a GPU's own in a
    submission and the host's on the CPU, and of a submission what the host sees of it."""
    cells = []
    for result in json.loads(file.read_text())["results"]:
        cell = {name: result[name] for name in BENCH}
        by_device = result["submission"] is not None
        of = "device_ms" if by_device else "median_ms"
        cell["stages_by"] = "device" if by_device else "host"
        cell["stages_ms"] = {stage["stage"]: stage[of] for stage in result["stages"]}
        cells.append(cell)
    return cells


def rounds(file: pathlib.Path) -> dict:
    """Results of ``speed.py --jsonl``: median and shortest seconds by work and contestant, and each one's ratio to the
    first, which is ours."""
    seconds: dict[str, dict[str, list[float]]] = {}
    other = []
    for line in file.read_text().splitlines():
        record = json.loads(line)
        if record.get("round") is None:
            other.append(record)
        else:
            seconds.setdefault(record["work"], {}).setdefault(record["contestant"], []).append(record["seconds"])
    table = {}
    for work, by in seconds.items():
        ours = statistics.median(next(iter(by.values())))
        table[work] = {
            name: {
                "median_ms": 1e3 * statistics.median(all_),
                "shortest_ms": 1e3 * min(all_),
                "rounds": len(all_),
                "ratio": statistics.median(all_) / ours,
            }
            for name, all_ in by.items()
        }
    return {"times": table, "other": other}


def document(file: pathlib.Path) -> object:
    """A JSON file as it is."""
    return json.loads(file.read_text())
