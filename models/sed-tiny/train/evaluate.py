"""Measures exported weights on held-out scenes, condition by condition, and writes the very scenes to disk.

    python evaluate.py                        # table for the exported weights
    python evaluate.py --write FOLDER         # also PNG scenes, label PNGs and words, for scoring elsewhere
    python evaluate.py --only trained --scenes 40

Written scenes: ``<condition>/<i>.png``, ``<condition>/<i>.label.png`` (u8, index into the words asked) and
``<condition>/<i>.json``: ``"40"`` and ``"129"`` are the words to ask (the first ``present`` of them are in the
picture, of these the first ``objects`` are objects, the rest stuff; all others are absent); ``categories`` names the
category behind each of the 129 words, for adding up scores over scenes when words are synonyms. Scenes of the
condition ``trained`` also have ``"300"``: the 129 words and others, for measuring early rejection.

`sed-serve eval FOLDER` scores a server on written scenes.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import measure
from sed import PREFIX, Sed
from settings import CONFIG, MODEL_DIR
from words import Bank

COUNTS = (40, 129)
MANY = 300


@dataclass
class Condition:
    """A measurement: the gallery that scenes are drawn from, and whether present categories are named by held-out
    synonyms."""

    title: str
    gallery: str = "art_train"
    synonyms: bool = False


CONDITIONS = {
    "trained": Condition("trained styles and names"),
    "synonyms": Condition("synonyms never trained", synonyms=True),
    "style": Condition("drawing style never trained (openmoji)", gallery="art_openmoji"),
    "photos": Condition("photo cut-outs", gallery="art_photos"),
    "unseen": Condition("categories never trained", gallery="art_unseen"),
}


def load() -> Sed:
    """The exported weights, as f32."""
    tensors = load_file(MODEL_DIR / "sed-tiny.safetensors")
    model = Sed(CONFIG)
    model.load_state_dict({k[len(PREFIX) :]: v.float() for k, v in tensors.items()})
    return model.eval()


class Case:
    """A scene with its words: ``words[count]`` begins with the present ones; label [h, w] indexes them."""

    def __init__(self, condition: Condition, bank: Bank, composer, scene, seed: list[int]):
        self.image = scene.image
        ids = [int(c) for c in np.unique(scene.label)]
        is_stuff = lambda c: composer.stuff_base <= c < composer.stuff_end
        present = [c for c in ids if not is_stuff(c)] + [c for c in ids if is_stuff(c)]
        self.objects = sum(not is_stuff(c) for c in present)
        names = dict(enumerate(bank.names)) | {i: n for n, i in composer.ids.items()}
        rng = np.random.default_rng(seed)
        spoken = [self._word(rng, bank, condition, names, c) for c in present]
        order = rng.permutation(len(bank.names))
        others = [int(c) for c in order if c not in present]
        self.present, self.categories = present, present + others
        self.names = [names[c] for c in self.categories][: max(COUNTS)]
        self.words = {n: (spoken + [bank.names[c] for c in others])[:n] for n in COUNTS}
        self.label = np.searchsorted(np.array(ids), scene.label)
        self.label = np.array([present.index(c) for c in ids])[self.label]

    @staticmethod
    def _word(rng, bank: Bank, condition: Condition, names: dict, category: int) -> str:
        if condition.synonyms and category < len(bank.held_out) and bank.held_out[category]:
            options = bank.held_out[category]
            return options[rng.integers(len(options))]
        return names[category]


def cases(key: str, bank: Bank, scenes: int) -> list[Case]:
    """The deterministic scenes of a condition."""
    condition = CONDITIONS[key]
    composer = measure.held_out_composer(condition.gallery)
    seed = measure.HELD_OUT_SEED + list(CONDITIONS).index(key)
    drawn = measure.draw_scenes(composer, scenes, measure.HELD_OUT_SEED if key in ("trained", "synonyms") else seed)
    return [Case(condition, bank, composer, s, [seed, i, 2]) for i, s in enumerate(drawn)]


def score(model: Sed, bank: Bank, some: list[Case], count: int) -> dict:
    """object_miou, stuff_miou and pixel_accuracy over cases with ``count`` words each."""
    total = measure.Score()
    for case in some:
        index, _ = measure.segment(model, case.image, bank.of(case.words[count]))
        # Categories, not word positions, are what scores add up over scenes.
        category = np.array(case.categories)
        total.add(category[index], category[case.label])
    return total.figures(len(bank.names) - measure.STUFF)


def write(some: list[Case], folder: Path, bank: Bank, many: bool) -> None:
    """Scenes to disk, if ``many`` also with the words of early rejection."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, case in enumerate(some):
        Image.fromarray(case.image).save(folder / f"{i:03d}.png")
        Image.fromarray(case.label.astype(np.uint8)).save(folder / f"{i:03d}.label.png")
        words: dict = {str(n): w for n, w in case.words.items()}
        if many:
            words[str(MANY)] = many_words(bank, case)
        words |= {"objects": case.objects, "present": len(case.present), "categories": case.names}
        (folder / f"{i:03d}.json").write_text(json.dumps(words), encoding="utf-8")


def many_words(bank: Bank, case: Case, count: int = MANY) -> list[str]:
    """The words of a case filled up to ``count``: trained names, their synonyms, foreign words."""
    taken = list(case.words[max(COUNTS)])
    present = {bank.names[c] for c in case.present if c < len(bank.names)}
    extra = [n for n in bank.names if n not in present] + bank.foreign_held_out
    return (taken + [w for w in extra if w not in taken])[:count]


def rejection(model: Sed, bank: Bank, some: list[Case]) -> list[dict]:
    """Category early rejection with 300 words: survivors, agreement with the full path, seconds, lost names."""
    rows = []
    full = []
    for case in some:
        text = bank.of(many_words(bank, case))
        started = time.process_time()
        full.append((text, measure.segment(model, case.image, text)[0], time.process_time() - started))
    for topk in (1, 2, 4, 8):
        sums = {"top_k": topk, "agreement": 0.0, "pixel_accuracy": 0.0, "lost_names": 0.0, "speedup": 0.0}
        survivors = np.zeros(3)
        for case, (text, reference, seconds) in zip(some, full):
            started = time.process_time()
            index, out = measure.segment(model, case.image, text, topk)
            sums["speedup"] += seconds / (time.process_time() - started)
            sums["agreement"] += 100 * (index == reference).mean()
            sums["pixel_accuracy"] += 100 * (index == case.label).mean()
            sums["lost_names"] += len(set(range(len(case.present))) - set(out["kept"][-1].tolist()))
            survivors += [len(k) for k in out["kept"]]
        row = {k: round(v / len(some), 2) if k != "top_k" else v for k, v in sums.items()}
        rows.append(row | {"survivors": [round(s, 1) for s in survivors / len(some)]})
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--only", choices=[*CONDITIONS, "rejection"], action="append")
    parser.add_argument("--write", type=Path, help="folder for the scenes")
    parser.add_argument("--draw-only", action="store_true", help="with --write: no measuring")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bank = Bank()
    model = None if args.draw_only else load()
    for key in args.only or [*CONDITIONS, "rejection"]:
        if key == "rejection":
            if model:
                print(*rejection(model, bank, cases("trained", bank, min(args.scenes, 20))), sep="\n", flush=True)
            continue
        some = cases(key, bank, args.scenes)
        if args.write:
            write(some, args.write / key, bank, key == "trained")
        for count in COUNTS if model else ():
            print(CONDITIONS[key].title, count, score(model, bank, some, count), flush=True)


if __name__ == "__main__":
    main()
