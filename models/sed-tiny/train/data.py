"""Training batches, drawn on the fly from a seed that depends on step and rank only."""

import cv2
import numpy as np
import torch

from artwork import Gallery
from compose import Composer
from textures import bank

TEXTURES = (1, 40)
# How strongly looks are changed: at the first step, at the last, and how many steps lie between.
STRENGTH = {"crops": (0.2, 0.7, 4000), "scenes": (0.4, 1.0, 6000)}


class Source:
    """Draws the batch of any step: the same step, rank and seed always give the same batch."""

    def __init__(self, phase: str, batch: int, side: int, seed: int, rank: int):
        cv2.setNumThreads(1)
        self.phase, self.batch, self.side = phase, batch, side
        self.seed, self.rank = seed, rank
        self.composer = Composer(Gallery("art_train"), bank(*TEXTURES))

    def __call__(self, step: int) -> dict:
        """images u8 [b, s, s, 3], labels int64 [b, s, s] and the generator for what else is drawn."""
        rng = np.random.default_rng([self.seed, self.phase == "scenes", step, self.rank])
        # Looks change little at first and ever more later: plain pictures teach faster.
        low, high, steps = STRENGTH[self.phase]
        strength = low + (high - low) * min(1.0, step / steps)
        if self.phase == "crops":
            drawn = [self.composer.crop(rng, self.side, strength) for _ in range(self.batch)]
        else:
            side = self.side
            drawn = [self.composer.scene(rng, side, side, (5, 11), strength, squeeze=True) for _ in range(self.batch)]
        return {
            "images": torch.from_numpy(np.stack([s.image for s in drawn])),
            "labels": torch.from_numpy(np.stack([s.label for s in drawn]).astype(np.int64)),
            "rng": rng,
        }


class Steps(torch.utils.data.IterableDataset):
    """The batches of the steps from ``first`` on, for a loader with worker processes."""

    def __init__(self, source: Source, first: int):
        self.source, self.first = source, first

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        start, stride = (info.id, info.num_workers) if info else (0, 1)
        step = self.first + start
        while True:
            yield self.source(step)
            step += stride


def batches(source: Source, first: int, workers: int):
    """An endless iterator over batches; without workers they are drawn in this process."""
    loader = torch.utils.data.DataLoader(Steps(source, first), batch_size=None, num_workers=workers)
    return iter(loader)
