"""Segmentation scores: predicted maps against labels, summed over scenes."""

import numpy as np
import torch
import torch.nn.functional as F

import vocabulary
from artwork import Gallery
from compose import Composer
from sed import Sed, normalise
from settings import CONFIG
from textures import bank

STUFF = len(vocabulary.stuff())
HELD_OUT_TEXTURES = (2, 12)
HELD_OUT_SEED = 90210
HEIGHT, WIDTH = 240, 320


class Score:
    """Intersections and unions by category, and pixel accuracy."""

    def __init__(self):
        self.hit: dict[int, int] = {}
        self.union: dict[int, int] = {}
        self.present: set[int] = set()
        self.right = self.total = 0

    def add(self, predicted: np.ndarray, label: np.ndarray) -> None:
        """Adds a scene: two maps [h, w] of category ids. A wrong answer counts against both categories."""
        self.right += int((predicted == label).sum())
        self.total += label.size
        self.present.update(int(c) for c in np.unique(label))
        for category in np.union1d(predicted, label):
            p, t = predicted == category, label == category
            self.hit[int(category)] = self.hit.get(int(category), 0) + int((p & t).sum())
            self.union[int(category)] = self.union.get(int(category), 0) + int((p | t).sum())

    def miou(self, keep) -> float:
        """Mean intersection over union, in percent, of the present categories that ``keep`` accepts."""
        found = [100 * self.hit[c] / self.union[c] for c in self.present if keep(c)]
        return float(np.mean(found)) if found else float("nan")

    def figures(self, stuff_base: int) -> dict:
        """object_miou, stuff_miou, pixel_accuracy in percent."""
        is_stuff = lambda c: stuff_base <= c < stuff_base + STUFF
        return {
            "object_miou": round(self.miou(lambda c: not is_stuff(c)), 1),
            "stuff_miou": round(self.miou(is_stuff), 1),
            "pixel_accuracy": round(100 * self.right / max(1, self.total), 1),
        }


@torch.no_grad()
def segment(model: Sed, image: np.ndarray, text: torch.Tensor, topk: int = 0) -> tuple[np.ndarray, dict]:
    """Segments as the server does: image u8 [h, w, 3], text [n, 80, d] to (word indices [h, w], decoder's output)."""
    device = next(model.parameters()).device
    h, w = image.shape[:2]
    side = CONFIG["image_size"]
    x = normalise(torch.from_numpy(image)[None].to(device))
    x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    out = model(x, text[None].to(device), topk)
    prob = out["logits"].float().sigmoid()
    index = F.interpolate(prob, (h, w), mode="bilinear", align_corners=False)[0].argmax(0).cpu()
    if topk:
        index = out["kept"][-1][index]
    return index.numpy(), out


def held_out_composer(gallery: str = "art_train", names: list[str] | None = None) -> Composer:
    """Draws scenes that training never sees: other textures, other seeds."""
    return Composer(Gallery(gallery), bank(*HELD_OUT_TEXTURES), names)


def draw_scenes(composer: Composer, count: int, seed: int = HELD_OUT_SEED) -> list:
    """``count`` deterministic scenes of 320 x 240 with slight changes of look."""
    return [
        composer.scene(np.random.default_rng([seed, i]), HEIGHT, WIDTH, (4, 9), strength=0.3) for i in range(count)
    ]


def ask(rng, present: list[int], pool: list[int], count: int) -> list[int]:
    """The present categories and random others from ``pool``, ``count`` in all, in a random order."""
    others = [c for c in rng.permutation(pool) if c not in present]
    chosen = list(present) + [int(c) for c in others[: max(0, count - len(present))]]
    return [int(c) for c in rng.permutation(chosen)]


class Validation:
    """A small fixed set of held-out scenes with 40 words each, for choosing the best weights."""

    def __init__(self, text, count: int = 24, words: int = 40):
        composer = held_out_composer()
        self.base, self.bank = composer.stuff_base, text
        self.cases = []
        for i, scene in enumerate(draw_scenes(composer, count, HELD_OUT_SEED + 1)):
            present = [int(c) for c in np.unique(scene.label)]
            rng = np.random.default_rng([HELD_OUT_SEED + 1, i, 1])
            self.cases.append((scene, ask(rng, present, list(range(len(text.names))), words)))

    def score(self, model: Sed) -> dict:
        """Figures of a model."""
        total = Score()
        for scene, asked in self.cases:
            index, _ = segment(model, scene.image, self.bank.of([self.bank.names[c] for c in asked]))
            total.add(np.array(asked)[index], scene.label)
        return total.figures(self.base)
