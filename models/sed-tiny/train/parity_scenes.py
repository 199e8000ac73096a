"""Writes ten scenes and what PyTorch finds in them with the exported weights, for ``tests/tiny_parity.rs``.

    python parity_scenes.py

``tests/golden/tiny/<i>.png`` (drawn from Apache-2.0 and MIT artwork only), ``<i>.off.png`` and ``<i>.top8.png``
(index into the words asked; 255 where two words are as good as equal) and ``scenes.json`` (digest of the weights,
words, survivors of every level).
"""

import json

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import evaluate
import measure
from artwork import Gallery
from compose import Composer
from sed import normalise
from settings import CONFIG, MODEL_DIR
from textures import bank
from words import Bank

FOLDER = MODEL_DIR.parent.parent / "tests" / "golden" / "tiny"
STYLES = ("noto", "noto-v1", "fluent-flat", "fluent-color", "fluent-3d")
SCENES, WORDS, SEED = 10, 40, 5150
# Scores closer than this may come out in either order.
NEAR = 2e-4


@torch.no_grad()
def index_map(model, image: np.ndarray, text: torch.Tensor, topk: int) -> tuple[np.ndarray, list]:
    """Word indices u8 [h, w] with 255 at near ties, and the survivors of the three levels."""
    side, (height, width) = CONFIG["image_size"], image.shape[:2]
    x = F.interpolate(normalise(torch.from_numpy(image)[None]), (side, side), mode="bilinear", align_corners=False)
    out = model(x, text[None], topk)
    scores = F.interpolate(out["logits"].float().sigmoid(), (height, width), mode="bilinear", align_corners=False)[0]
    kept = out["kept"] or [torch.arange(len(text))] * 3
    index = kept[-1][scores.argmax(0)].numpy().astype(np.uint8)
    if len(scores) > 1:
        first, second = scores.topk(2, 0).values
        index[(first - second < NEAR).numpy()] = 255
    return index, [k.tolist() for k in kept]


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    words_of, model = Bank(), evaluate.load()
    composer = Composer(Gallery("art_train"), bank(*measure.HELD_OUT_TEXTURES), styles=STYLES)
    scenes = []
    for i, scene in enumerate(measure.draw_scenes(composer, SCENES, SEED)):
        present = [int(c) for c in np.unique(scene.label)]
        asked = measure.ask(np.random.default_rng([SEED, i, 1]), present, list(range(len(words_of.names))), WORDS)
        words = [words_of.names[c] for c in asked]
        Image.fromarray(scene.image).save(FOLDER / f"{i}.png", optimize=True)
        entry = {"words": words}
        for name, topk in (("off", 0), ("top8", 8)):
            index, kept = index_map(model, scene.image, words_of.of(words), topk)
            Image.fromarray(index).save(FOLDER / f"{i}.{name}.png", optimize=True)
            entry[name] = kept
        scenes.append(entry)
    digest = (MODEL_DIR / "sed-tiny.sha256").read_text(encoding="utf-8").split()[0]
    (FOLDER / "scenes.json").write_text(json.dumps({"weights": digest, "scenes": scenes}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
