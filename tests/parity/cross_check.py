"""This project's network and the twin on fresh weights, pictures and text embeddings: the same text embeddings, dense
features, logits, survivors and index maps. Exits with 1 when something differs by more than rounding.

    cargo build --release --workspace --bin beside
    python tests/parity/cross_check.py [--seeds 1 2]

What rounding is, the twin says itself: it runs in f64 and in f32, and this project's network may be ``SLACK`` times as
far from the f64 result as the twin's f32 is. Survivors must be the same; a case whose categories lie too close to a tie
for that says so and fails too, so that no case passes without having compared anything.
"""

import argparse
import itertools
import json
import pathlib
import sys
import tempfile

import torch
import torch.nn.functional as F
from torch import Tensor

from beside import ROOT, Beside, write_model
from twin import Sed, weights
from twin.sed import upsampled_scores

SLACK = 5
# The f32 error of single values can be 0 by chance; nothing needs to be nearer than this, in parts of the largest.
LEAST = 2e-6
NANO = json.loads((ROOT / "tests/golden/nano/config.json").read_text())
# Sizes that have nothing in common: no powers of two, a map of odd side, other kernels, heads and guidance widths.
ODD = {
    "name": "odd",
    "image_size": 224,
    "embed_dim": 40,
    "vision": {"dims": [8, 24, 40, 72], "depths": [1, 2, 1, 3], "head": {"type": "mlp", "hidden": 56}},
    "text": {"width": 24, "heads": 3, "layers": 3, "context_length": 40, "vocab_size": 1000},
    "decoder": {
        "hidden_dim": 48,
        "dims": [48, 16, 32],
        "guidance_dims": [8, 20, 4],
        "corr_guidance_dims": [12, 24, 4],
        "kernel_size": 5,
        "attention_heads": 2,
    },
}
# Categories, top_k (0: rejection off), height and width of the map.
RUNS = [
    (1, 0, (100, 133)),
    (1, 1, (48, 48)),
    (7, 2, (57, 31)),
    (24, 0, (90, 121)),
    (24, 1, (121, 90)),
    (24, 4, (333, 64)),
    (24, 24, (64, 333)),
    (300, 0, (70, 95)),
    (300, 1, (200, 17)),
    (300, 3, (95, 70)),
]
WORDS = ["cat", "building, edifice", "swimming pool, swimming bath, natatorium", "Grüner Baum", "tv-monitor 2000", ""]


def inputs(config: dict, categories: int, seed: int) -> tuple[Tensor, Tensor]:
    """A picture with coarse and fine structure ``[1, 3, S, S]``, and unit vectors ``[N, 80, D]`` that vary less between
    the templates of a category than between categories, as real ones do."""
    random = torch.Generator().manual_seed(seed)
    side = config["image_size"]
    coarse = torch.randn(1, 3, 6, 6, generator=random)
    fine = torch.randn(1, 3, side, side, generator=random)
    pixels = F.interpolate(coarse, (side, side), mode="bicubic") + 0.3 * fine
    shared = torch.randn(categories, 1, config["embed_dim"], generator=random)
    own = torch.randn(categories, 80, config["embed_dim"], generator=random)
    return pixels, F.normalize(shared + 0.4 * own, dim=-1)


def margin(logits: Tensor, top_k: int) -> float:
    """Distance of logits ``[n, 1, h, w]`` from choosing other survivors."""
    if top_k == 0 or top_k >= len(logits):
        return float("inf")
    values = logits.flatten(1)
    best = values.topk(top_k + 1, dim=0).values
    chosen = (values >= best[top_k - 1]).any(dim=1)
    inside = (values - best[top_k]).amax(dim=1)[chosen].min()
    outside = (best[top_k - 1] - values).amin(dim=1)[~chosen]
    return min(inside.item(), outside.min().item() if len(outside) else float("inf"))


class Twins:
    """The twin in f64 and in f32, and how far they are apart."""

    def __init__(self, config: dict, tensors: dict[str, Tensor]):
        self.f32 = Sed.of(config, tensors)
        self.f64 = Sed.of(config, {name: tensor.double() for name, tensor in tensors.items()})
        self.heads: list[Tensor] = []
        for head in ("head0", "head1", "head2"):
            getattr(self.f64.transformer, head).register_forward_hook(lambda _, __, y: self.heads.append(y))

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Dense features ``[1, D, h, w]`` in f64 and f32, kept for :meth:`decode`."""
        self.features = self.f64.encode(pixels.double()), self.f32.encode(pixels)
        return self.features[0][0], self.features[1][0]

    def decode(self, text: Tensor, top_k: int) -> tuple[list[Tensor], list[list[int]], list[list[int]], float]:
        """Logits in f64 and f32, survivors in f64 and f32, and the margin of the closest rejection."""
        self.heads.clear()
        exact, kept = self.f64.decode(self.features[0], text.double(), top_k)
        rounded, kept_rounded = self.f32.decode(self.features[1], text, top_k)
        closest = min((margin(head, top_k) for head in self.heads), default=float("inf"))
        return [exact, rounded], [k.tolist() for k in kept], [k.tolist() for k in kept_rounded], closest


class Report:
    """Comparisons of results; counts and prints those beyond their bound."""

    def __init__(self):
        self.failures = 0

    def fail(self, what: str) -> None:
        self.failures += 1
        print(f"DIFFERS  {what}")

    def near(self, ours: Tensor, exact: Tensor, rounded: Tensor, what: str) -> str:
        """Our distance from the exact result beside the twin's own, as text."""
        if ours.shape != exact.shape:
            self.fail(f"{what}: shape {tuple(ours.shape)}, not {tuple(exact.shape)}")
            return "shape"
        distance = (ours.double() - exact).abs().max().item()
        own = (rounded.double() - exact).abs().max().item()
        bound = max(SLACK * own, LEAST * exact.abs().max().item())
        if not distance <= bound:
            self.fail(f"{what}: by {distance:.1e}; {bound:.1e} allowed")
        return f"{distance:.0e}/{own:.0e}"


def check_map(report: Report, found: Tensor, exact: list[Tensor], kept: list[int], what: str) -> int:
    """Our index map ``[height, width]`` beside the exact logits: where another category is exactly the best, ours
    scores as good up to rounding. Gives the number of such pixels."""
    size = tuple(found.shape)
    scores = upsampled_scores(exact[0], size)
    rounding = (upsampled_scores(exact[1], size).double() - scores).abs().max().item()
    strangers = set(found.unique().tolist()) - set(kept)
    if strangers:
        report.fail(f"{what}: the map holds categories {sorted(strangers)[:5]} that were rejected")
        return 0
    places = torch.zeros(max(kept) + 1, dtype=torch.long)
    places[kept] = torch.arange(len(kept))
    gap = scores.amax(dim=0) - scores.gather(0, places[found.long()][None])[0]
    if not gap.max().item() <= max(SLACK * rounding, LEAST):
        report.fail(f"{what}: a pixel's category scores {gap.max().item():.1e} less than the best")
    return int((gap > 0).sum())


def check_text(report: Report, twins: Twins, ours: Beside, what: str) -> None:
    """Words to embeddings; the twin takes this project's token ids."""
    tensors = ours.embed(WORDS, read_back=True)["tensors"]
    apart = []
    for i, line in enumerate(WORDS):
        ids, phrases = tensors[f"tokens.{i}"].long(), len(line.split(", "))
        exact, rounded = (twin.clip_model.embed_category(ids, phrases) for twin in (twins.f64, twins.f32))
        apart.append(report.near(tensors["text"][i], exact, rounded, f"{what} text of {line!r}"))
    print(f"{what:10} text of {len(WORDS)} categories: {', '.join(apart)}")


def check_run(report: Report, twins: Twins, ours: Beside, text: Tensor, run: tuple, what: str) -> None:
    """One number of categories, one ``top_k``, one size of the map."""
    categories, top_k, size = run
    what = f"{what} {categories} categories, " + (f"top_k {top_k}" if top_k else "off")
    logits, kept, kept_rounded, closest = twins.decode(text[:categories], top_k)
    answer = ours.decode(categories, top_k, size, read_back=True)
    tensors = answer["tensors"]
    if kept != kept_rounded or closest < LEAST:
        return report.fail(f"{what}: within {closest:.0e} of a tie; take another seed")
    if answer["survivors"] != kept:
        return report.fail(f"{what}: survivors {answer['survivors']}, not {kept} (margin {closest:.0e})")
    apart = report.near(tensors["logits"], logits[0], logits[1], f"{what} logits")
    ties = check_map(report, tensors["map"], logits, kept[-1], f"{what} index map")
    sizes = ", ".join(str(len(level)) for level in kept)
    print(f"{what:34} survivors {sizes:14} margin {closest:7.0e}  logits {apart}  near ties {ties} of {size}")


@torch.inference_mode()
def main() -> int:
    """0 if everything is equal, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of weights and inputs")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = Report()
    print("differences: ours from the twin in f64 / the twin in f32 from the twin in f64")
    for config, seed in itertools.product([NANO, ODD], arguments.seeds):
        what = f"{config['name']} {seed}"
        tensors = weights.make(config, seed)
        pixels, text = inputs(config, max(run[0] for run in RUNS), seed)
        twins = Twins(config, tensors)
        with tempfile.TemporaryDirectory() as folder:
            write_model(pathlib.Path(folder), config, tensors)
            with Beside(pathlib.Path(folder), arguments.threads) as ours:
                ours.load(pixels, text)
                dense = ours.encode(read_back=True)["tensors"]["dense"].permute(0, 3, 1, 2)
                apart = report.near(dense, *twins.encode(pixels), f"{what} dense features")
                print(f"{what:10} dense features: {apart}")
                check_text(report, twins, ours, what)
                for run in RUNS:
                    check_run(report, twins, ours, text, run, what)
    print(f"{report.failures} differences" if report.failures else "all equal up to rounding")
    return int(report.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
