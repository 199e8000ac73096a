"""Draws the example pictures from ``examples.txt``: Noto (Apache-2.0), Fluent (MIT), textures of our own.

Writes ``examples/<name>.png`` and ``examples/examples.json`` (words to ask) next to the model card, and
pixel-exact labels under ``MADE/examples`` for scoring.
"""

import json

import cv2
import numpy as np
from PIL import Image

import textures
import vocabulary
from artwork import draw, trim
from compose import Composer
from settings import HERE, MADE, MODEL_DIR

WIDTH, HEIGHT = 640, 480


class Canvas:
    """One example while it is drawn: image f32 [h, w, 3], label i16 [h, w]."""

    def __init__(self, style: str, seed: int):
        self.style, self.sets = style, {}
        self.rng = np.random.default_rng(seed)
        self.image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self.label = np.full((HEIGHT, WIDTH), -1, np.int16)
        things = vocabulary.objects()
        self.of_emoji = {e: i for i, t in enumerate(things) for e in t.emoji}
        self.of_stuff = {t.name: i + len(things) for i, t in enumerate(vocabulary.stuff())}

    def stuff(self, name: str, seed: str, top: str, bottom: str = "480", rough: str = "0") -> None:
        """Fills a band of rows; its upper edge is wavy by ``rough`` pixels."""
        name = name.replace("_", " ")
        picture = textures.draw(name, np.random.default_rng([77, int(seed)]))
        edge = np.full(WIDTH, float(top), np.float32)
        for n in (4, 9, 19):
            grid = (self.rng.random((1, n), np.float32) - 0.5) * float(rough) * 4 / n
            edge += cv2.resize(grid, (WIDTH, 1), interpolation=cv2.INTER_CUBIC)[0]
        first, last = max(0, int(edge.min())), int(bottom)
        piece = cv2.resize(picture, (WIDTH, last - first), interpolation=cv2.INTER_CUBIC)
        rows = np.arange(first, last)[:, None]
        soft = np.clip(rows - edge[None] + 0.5, 0, 1)[..., None]
        area = self.image[first:last]
        area[:] = (area + (piece - area.astype(np.float32)) * soft).astype(np.uint8)
        self.label[first:last][soft[..., 0] > 0.5] = self.of_stuff[name]

    def thing(self, emoji: str, x: str, feet: str, height: str, flip: str = "") -> None:
        """A pictogram standing at (x, feet)."""
        raster = draw(self.style, self.sets, emoji, 512)
        if raster is None:
            raise SystemExit(f"{self.style} has no {emoji}")
        pixels = trim(raster)
        pixels = pixels[:, ::-1] if flip else pixels
        h = int(height)
        w = round(pixels.shape[1] * h / pixels.shape[0])
        pixels = cv2.resize(np.ascontiguousarray(pixels), (w, h), interpolation=cv2.INTER_AREA)
        left, top = int(x) - w // 2, int(feet) - h
        x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + w), min(HEIGHT, top + h)
        part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha = part[..., 3:].astype(np.float32) / 255
        place = next(t.place for t in vocabulary.objects() if emoji in t.emoji)
        if place in ("ground", "table") and self.label[min(HEIGHT - 1, int(feet) - 2), min(WIDTH - 1, int(x))] >= 0:
            Composer._shadow(np.random.default_rng(1), self.image, int(x), int(feet), w)
        area = self.image[y0:y1, x0:x1]
        area[:] = (area + (part[..., :3] - area.astype(np.float32)) * alpha).astype(np.uint8)
        self.label[y0:y1, x0:x1][alpha[..., 0] > 0.5] = self.of_emoji[emoji]


def main() -> None:
    """Draws every example."""
    folder, labels = MODEL_DIR / "examples", MADE / "examples"
    folder.mkdir(exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    index, canvas = [], None

    def finish() -> None:
        if canvas is not None:
            stem = index[-1]["file"].removesuffix(".png")
            Image.fromarray(canvas.image).save(folder / f"{stem}.png", optimize=True)
            np.save(labels / f"{stem}.npy", canvas.label)

    for line in (HERE / "examples.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            finish()
            name, style, words = [c.strip() for c in line[2:].split("|")]
            canvas = Canvas(style, len(index))
            entry = {"file": name.replace(" ", "-") + ".png", "style": style, "words": words.split(", ")}
            index.append(entry)
        elif line and line[0] != "#":
            verb, *rest = line.split()
            getattr(canvas, verb)(*rest)
    finish()
    text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
    (folder / "examples.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
