"""Tests of the sums: `python3 -m unittest discover -s tests/gpu/predict_tool -t tests/gpu`."""

import copy
import unittest

from . import card, ledger, times

STAGE = {"stage": "batch_1/encode"}
PRODUCT = {"op": "product", "m": 2048, "n": 2304, "k": 512, "batch": 1, "type": "bf16", **STAGE}
FLAGS = {"op": "copy", "direction": "d2h", "bytes": 600, "host": "pageable", "waits": True, **STAGE}
SYNCHRONISE = {"op": "wait", "call": "cuStreamSynchronize", **STAGE}


class Counts(unittest.TestCase):
    """Entries that count once, and entries that count twice."""

    def test_waits(self) -> None:
        """A wait with nothing for the device since the last one is the same."""
        self.assertEqual(ledger.counts([PRODUCT, FLAGS, SYNCHRONISE]).host_waits, 1)
        self.assertEqual(ledger.counts([PRODUCT, FLAGS, FLAGS, SYNCHRONISE, PRODUCT, SYNCHRONISE]).host_waits, 3)

    def test_waits_of_an_idle_device(self) -> None:
        """A stage that begins with a wait on an idle device does not wait there."""
        self.assertEqual(ledger.counts([SYNCHRONISE, PRODUCT, SYNCHRONISE], idle=True).host_waits, 1)
        self.assertTrue(ledger.ends_idle([PRODUCT, SYNCHRONISE], False))
        self.assertFalse(ledger.ends_idle([SYNCHRONISE, PRODUCT], True))

    def test_upload(self) -> None:
        """The upload ends with the conversion of the pixels."""
        pixels = {"op": "copy", "direction": "h2d", "bytes": 7 << 20, "host": "pinned", "waits": False, **STAGE}
        cast = {"op": "kernel", "name": "cast_f32_bf16", **STAGE}
        stages = ledger.batches([pixels, SYNCHRONISE, cast, PRODUCT, SYNCHRONISE])[1]
        self.assertEqual([len(stages["upload"]), len(stages["encode"])], [3, 2])

    def test_graph(self) -> None:
        """A graph is one submission of all its kernels; a capture itself runs nothing."""
        captured = [{**PRODUCT, "stage": "warm_up", "captured": True}] * 5
        launch = {"op": "graph_launch", "nodes": 5, **STAGE}
        entries = ledger.with_graphs([*captured, copy.copy(launch), SYNCHRONISE])
        found = ledger.counts(ledger.batches(entries)[1]["encode"])
        self.assertEqual((found.kernels, found.submissions, found.host_waits), (5, 1, 1))
        with self.assertRaises(ledger.Unclear):
            ledger.with_graphs([*captured, {**launch, "nodes": 4}])

    def test_work_of_the_host(self) -> None:
        """It ends with a mark, and is stated for one image."""
        mark = {"op": "stage", "name": "batch_16/submit", "stage": "batch_16/submit", "between_ns": 32000}
        other = {**mark, "name": "batch_16/encode"}
        work = ledger.host_work([mark, other, {**mark, "name": "warm_up"}, PRODUCT])
        self.assertEqual(work, [(16, "fill: pixels into slots (decoding threads)", 2.0)])


class Times(unittest.TestCase):
    """Orders of the model that must hold whatever its constants are."""

    def elapsed(self, entries: list[ledger.Entry]) -> float:
        """Time of a stage in microseconds."""
        return 1e3 * times.of_stage(times.Timeline(card.read()), "encode", entries, 1)["elapsed_ms"]

    def test_host_and_device(self) -> None:
        """The host works ahead of the device, and a wait in between costs what it could have done."""
        ahead = self.elapsed([PRODUCT] * 20 + [SYNCHRONISE])
        alone = sum(times.device_us(card.read(), PRODUCT) for _ in range(20))
        self.assertGreater(ahead, alone)
        self.assertGreater(self.elapsed([PRODUCT, SYNCHRONISE] * 20), ahead + 19 * card.read().host["wait_us"])

    def test_products(self) -> None:
        """More work takes longer, and none is faster than the peak."""
        read = card.read()
        short, long = ({**PRODUCT, "m": m} for m in (2048, 32768))
        self.assertLess(times.device_us(read, short), times.device_us(read, long))
        flop = 2.0 * 32768 * 2304 * 512
        self.assertGreater(times.device_us(read, long), flop / read.chip["tensor_tflops"] / 1e6)


if __name__ == "__main__":
    unittest.main()
