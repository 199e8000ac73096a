"""Tests of what tests/gpu/run is made of: limits, results that stand, and the reading of figures.

    python3 -m unittest discover -s tests/gpu
"""

import json
import os
import pathlib
import struct
import sys
import tarfile
import tempfile
import time
import unittest

import figures
import kernels
import thin
from runner import LOG_HEAD, LOG_TAIL, STANDARD_BUDGET, Runner, Step, shortened
from steps import Setting, steps

SLEEPER = "import subprocess, sys; print('begun', flush=True); subprocess.run(['sleep', '61.5'])"


def alive(arguments: str) -> list[str]:
    """The processes with a command line."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip() == arguments:
                found.append(folder.name)
        except OSError:
            continue
    return found


class RunnerTest(unittest.TestCase):
    """Steps, one after the other, and what is left of them."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out, self.scratch = pathlib.Path(folder.name, "out"), pathlib.Path(folder.name, "scratch")
        self.scratch.mkdir()

    def runner(self, budget: float) -> Runner:
        return Runner(self.out, self.scratch, os.environ, budget)

    def python(self, name: str, code: str, seconds: float = 60, **more: object) -> Step:
        return Step(name, seconds, [sys.executable, "-c", code], **more)

    def recorded(self) -> list[dict]:
        return [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]

    def test_a_step_that_sleeps_is_cut_with_all_that_it_started(self) -> None:
        runner = self.runner(STANDARD_BUDGET)
        file = self.scratch / "partial.json"
        code = f"import pathlib; pathlib.Path({str(file)!r}).write_text('[1]'); {SLEEPER}"
        begun = time.monotonic()
        step = self.python("sleeper", code, 1.5, figures=lambda _: figures.document(file), files=(file,))
        result = runner.run(step)
        self.assertLess(time.monotonic() - begun, 6)
        self.assertEqual((result["status"], result["figures"]), ("timed out", [1]))
        self.assertEqual(alive("sleep 61.5"), [])
        self.assertEqual(self.recorded(), [result])

    def test_what_stands_after_every_step(self) -> None:
        runner = self.runner(STANDARD_BUDGET)
        runner.run(self.python("good one", "print('hello')", figures=lambda log: log.strip()))
        runner.run(self.python("bad", "import sys; print('said'); sys.exit(3)", figures=lambda log: len(log)))
        runner.run(self.python("unreadable", "", figures=lambda log: json.loads(log)))
        runner.run(Step("absent", 5, ["/no/such/program"]))
        runner.run(Step("left out", 5, ["true"], skipped="no ncu"))
        statuses = [result["status"] for result in self.recorded()]
        self.assertEqual(statuses, ["passed", "failed: exit code 3", "passed", "failed", "skipped: no ncu"])
        self.assertEqual([result.get("figures") for result in self.recorded()][:2], ["hello", 5])
        self.assertIn("unreadable", self.recorded()[2]["figures"])
        self.assertEqual([result.get("said") for result in self.recorded()][:2], [None, "said\n"])
        self.assertEqual(sorted(path.name for path in self.out.iterdir()), ["logs.tar.xz", "results.jsonl"])
        with tarfile.open(self.out / "logs.tar.xz") as archive:
            self.assertEqual(archive.getnames(), ["good-one.log", "bad.log", "unreadable.log", "absent.log"])
            self.assertEqual(archive.extractfile("bad.log").read(), b"said\n")

    def test_limits_follow_the_budget_and_end_with_it(self) -> None:
        runner = self.runner(STANDARD_BUDGET / 100)
        cut = runner.run(self.python("cut", SLEEPER, 150))
        self.assertEqual((cut["status"], cut["limit"]), ("timed out", 1.5))
        rest = runner.run(self.python("rest", SLEEPER, 10_000))
        self.assertLess(rest["limit"], STANDARD_BUDGET / 100 - 1.5)
        late = runner.run(self.python("late", "print()", 200))
        self.assertEqual(late["status"], "not run: no time is left")

    def test_long_logs_keep_their_ends(self) -> None:
        self.assertEqual(shortened(b"ab"), b"ab")
        long = b"a" * LOG_HEAD + b"-" * 1000 + b"z" * LOG_TAIL
        self.assertIn(b"a\n... 1000 bytes left out ...\nz", shortened(long))


class StepsTest(unittest.TestCase):
    """The list of steps."""

    def test_all_limits_fit_the_budget(self) -> None:
        root = pathlib.Path(__file__).resolve().parents[2]
        for rehearse in (False, True):
            all_ = steps(Setting(root, root / "bin", root, "cuda:0", rehearse))
            self.assertLessEqual(sum(step.seconds for step in all_), STANDARD_BUDGET)
            self.assertEqual(len({step.name for step in all_}), len(all_))
            self.assertEqual([step.name for step in all_][:4], ["device", "reduced model", "kernels", "headline"])


class FiguresTest(unittest.TestCase):
    """Figures that are read from files and logs."""

    def file(self, content: str) -> pathlib.Path:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = pathlib.Path(folder.name, "file")
        file.write_text(content)
        return file

    def test_findings_begin_with_the_worst(self) -> None:
        def one(what: str, measured: float | None, good: bool) -> dict:
            return {"what": what, "measured": measured, "bound": 1.0, "good": good}

        all_ = [one("half", 0.5, True), one("most", 0.9, True), one("nan", None, False), one("far", 2.0, False)]
        found = figures.findings(self.file(json.dumps({"findings": all_, "notes": ["seen"]})))
        self.assertEqual(found["out_of_bounds"], ["nan", "far"])
        self.assertEqual([name for name, *_ in found["measured_and_bound"]], ["nan", "far", "most", "half"])
        self.assertEqual((found["figures"], found["notes"]), (4, ["seen"]))

    def test_stages_have_the_clock_that_saw_them(self) -> None:
        def result(submission: dict | None, host: float | None, device: float | None) -> dict:
            stage = {"stage": "encode", "median_ms": host, "device_ms": device}
            return dict.fromkeys(figures.BENCH, 1) | {"submission": submission, "stages": [stage]}

        parts = {"submit_ms": 3.0, "answers_ms": 0.5}
        results = [result(parts, None, 2.0), result(None, 7.0, None)]
        gpu, cpu = figures.bench(self.file(json.dumps({"results": results})))
        self.assertEqual((gpu["stages_by"], gpu["stages_ms"], gpu["submission"]), ("device", {"encode": 2.0}, parts))
        self.assertEqual((cpu["stages_by"], cpu["stages_ms"], cpu["submission"]), ("host", {"encode": 7.0}, None))

    def test_a_test_programs_log(self) -> None:
        log = "running 4 tests\ntest a::cuda ... ok\ntest b ... said\nFAILED\ntest c - should panic ... ok\ntest d ... "
        found = figures.harness(log)
        self.assertEqual(found, {"passed": 2, "failed": ["b"], "finished": False})
        self.assertTrue(figures.harness(log + "ok\n\ntest result: ok. 4 passed")["finished"])

    def test_the_sanitizers_summary(self) -> None:
        log = "test a ... ========= Invalid __global__ read of size 4 bytes\n=========     at f\nok\n"
        found = figures.sanitizer(log + "========= Invalid __global__ read of size 2 bytes\n")
        self.assertEqual((found["errors"], len(found["first"])), (None, 2))
        self.assertEqual(figures.sanitizer(log + "========= ERROR SUMMARY: 3 errors\n")["errors"], 3)
        race = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
        self.assertEqual(figures.sanitizer(race)["errors"], 0)

    def test_rounds_are_medians_and_ratios(self) -> None:
        lines = [{"setting": {"torch": "2"}}, {"work": "warm-up of all", "contestant": "ours", "seconds": 9.0}]
        for number, (ours, theirs) in enumerate([(1.0, 3.0), (2.0, 5.0), (9.0, 4.0)]):
            lines += [{"round": number, "work": "encoder", "contestant": "ours", "seconds": ours}]
            lines += [{"round": number, "work": "encoder", "contestant": "theirs", "seconds": theirs}]
        found = figures.rounds(self.file("".join(json.dumps(line) + "\n" for line in lines)))
        theirs = found["times"]["encoder"]["theirs"]
        self.assertEqual(theirs, {"median_ms": 4000.0, "shortest_ms": 3000.0, "rounds": 3, "ratio": 2.0})
        self.assertEqual(len(found["other"]), 2)


class ThinTest(unittest.TestCase):
    """The tensors that are packed."""

    def test_only_the_wanted_tensors_are_left(self) -> None:
        header = {"a.x": ("U8", 3), "b.x": ("U8", 2), "a.y": ("U8", 1)}
        entries, end = {"__metadata__": {"format": "pt"}}, 0
        for name, (dtype, size) in header.items():
            entries[name] = {"dtype": dtype, "shape": [size], "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(entries).encode()
        content = struct.pack("<Q", len(text)) + text + b"AAABBC"
        left = thin.thinned(content, ["b.x", "*.y"])
        (length,) = struct.unpack("<Q", left[:8])
        self.assertEqual(left[8 + length :], b"BBC")
        offsets = {name: entry["data_offsets"] for name, entry in json.loads(left[8 : 8 + length]).items()}
        self.assertEqual(offsets, {"b.x": [0, 2], "a.y": [2, 3]})
        with self.assertRaises(SystemExit):
            thin.thinned(content, ["c"])


class KernelsTest(unittest.TestCase):
    """The reading of ncu's table, and ncu itself being cut."""

    def table(self, rounds: int, loading: int = 5) -> str:
        header = '"ID","Kernel Name","Grid Size","Metric Name","Metric Unit","Metric Value"'
        names = [f"load{n}" for n in range(loading)] + rounds * [*(f"k{n % 7}" for n in range(69)), "last"]
        rows = [f'"{n}","{name}","(1, 1, 1)","gpu__time_duration.sum","ns","1,000"' for n, name in enumerate(names)]
        return "\n".join(["==PROF== Connected", header, *rows])

    def test_only_the_last_round_counts(self) -> None:
        counted = kernels.last_round(kernels.launches(self.table(3)))
        self.assertEqual(len(counted), 70)
        sums = kernels.summed(counted, grids=False)
        self.assertEqual((sums[0]["launches"], sums[0]["microseconds"], len(sums)), (10, 10.0, 8))
        self.assertIsNone(kernels.last_round(kernels.launches(self.table(1))))

    def test_a_line_that_was_cut_is_left_out(self) -> None:
        whole = kernels.launches(self.table(1))
        self.assertEqual(len(kernels.launches(self.table(1)[:-4])), len(whole) - 1)

    def test_ncu_is_cut_and_what_it_said_stands(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            profiler = folder / "ncu"
            profiler.write_text("#!/bin/sh\ncat\nsleep 62.5\n")
            profiler.chmod(0o755)
            path = os.environ["PATH"]
            os.environ["PATH"] = f"{folder}:{path}"
            self.addCleanup(os.environ.__setitem__, "PATH", path)
            output, whole = kernels.profiled(["program"], self.table(2), folder, 1.0)
        self.assertFalse(whole)
        self.assertEqual(len(kernels.launches(output)), 145)
        self.assertEqual(alive("sleep 62.5"), [])


if __name__ == "__main__":
    unittest.main()
