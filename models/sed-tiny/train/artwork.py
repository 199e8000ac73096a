"""Renders every pictogram of the vocabulary in every drawing style.

``python artwork.py`` writes ``MADE/art_train.npy`` (one flat u8 array of RGBA pictures, cropped to
what is drawn) and ``MADE/art_train.json`` (name, style, emoji, offset, height, width); ``--evaluation``
adds the galleries of the held-out style, the unseen categories and the photo cut-outs.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

import clipart
import vocabulary
from settings import MADE, SOURCES

TRAIN_STYLES = ("noto", "noto-v1", "fluent-flat", "fluent-color", "fluent-3d", "twemoji", "emojione", "fxemoji")
BORROWED_NAMES = ("noto", "twemoji", "fluent-flat")


class Iconify:
    """One ``@iconify-json`` set: SVG by emoji, through its own or a borrowed character table."""

    def __init__(self, style: str):
        root = SOURCES / style
        data = json.loads((root / "icons.json").read_text(encoding="utf-8"))
        self.icons, self.aliases = data["icons"], data.get("aliases", {})
        self.box = (data.get("width", 16), data.get("height", 16))
        own = _characters(style)
        self.tables = [own] if own else [_characters(t) for t in BORROWED_NAMES]

    def _icon(self, name: str) -> dict | None:
        for candidate in (name, name.replace("-", "")):
            if candidate in self.aliases:
                candidate = self.aliases[candidate]["parent"]
            if candidate in self.icons:
                return self.icons[candidate]
        return None

    def draw(self, emoji: str, side: int) -> Image.Image | None:
        """RGBA picture, ``side`` pixels wide, or None where the set lacks it."""
        key = vocabulary.code(emoji)
        for table in self.tables:
            icon = self._icon(table.get(key, table.get(key + "-fe0f", "")) or "-")
            if icon is not None:
                w, h = icon.get("width", self.box[0]), icon.get("height", self.box[1])
                left, top = icon.get("left", 0), icon.get("top", 0)
                svg = (
                    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{left} {top} {w} {h}" width="{side}" height="{side}">{icon["body"]}</svg>'
                )
                return _rasterise(svg, side)
        return None


def _characters(style: str) -> dict[str, str]:
    """The set's table from code point to icon name (empty where it carries none)."""
    path = SOURCES / style / "chars.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _rasterise(svg: str, side: int) -> Image.Image:
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def _file(folder: Path, key: str, suffix: str) -> Path | None:
    for name in (key, key + "-fe0f", key.replace("-200d", "-fe0f-200d")):
        path = folder / (name + suffix)
        if path.exists():
            return path
    return None


def draw(style: str, sets: dict, emoji: str, side: int) -> Image.Image | None:
    """One pictogram in one style, or None. ``sets`` caches the opened icon sets."""
    key = vocabulary.code(emoji)
    if style == "fluent-3d":
        path = _file(SOURCES / style / "assets", key, ".webp")
        return Image.open(path).convert("RGBA").resize((side, side), Image.LANCZOS) if path else None
    if style == "openmoji":
        path = _file(SOURCES / style / "color" / "svg", key.upper(), ".svg") or _file(
            SOURCES / style / "color" / "svg", key.upper() + "-FE0F", ".svg"
        )
        return _rasterise(path.read_text(encoding="utf-8"), side) if path else None
    if style not in sets:
        sets[style] = Iconify(style)
    return sets[style].draw(emoji, side)


def trim(picture: Image.Image) -> np.ndarray | None:
    """Cuts a picture to what is drawn: u8 [h, w, 4], or None when nothing is."""
    pixels = np.asarray(picture)
    ys, xs = np.where(pixels[..., 3] > 24)
    if len(ys) < 64:
        return None
    return pixels[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def build(things: list, styles: tuple, side: int, out: str, chosen: str = "") -> None:
    """Renders ``things`` in ``styles`` and writes the pair of files ``MADE/<out>.{npy,json}``."""
    sets: dict = {}
    index, chunks, offset = [], [], 0

    def add(name: str, style: str, emoji: str, picture: Image.Image | None) -> None:
        nonlocal offset
        pixels = trim(picture) if picture is not None else None
        if pixels is None:
            return
        h, w = pixels.shape[:2]
        index.append({"name": name, "style": style, "emoji": emoji, "offset": offset, "h": h, "w": w})
        chunks.append(pixels.reshape(-1))
        offset += pixels.size

    for thing in things:
        for emoji in thing.emoji:
            for style in styles:
                add(thing.name, style, emoji, draw(style, sets, emoji, side))
        for stem, picture in clipart.pictures(chosen, thing.name, side) if chosen else ():
            add(thing.name, chosen, stem, picture)
    MADE.mkdir(parents=True, exist_ok=True)
    # New files take the old ones' place at once: a running trainer keeps reading what it has open.
    np.save(MADE / "part.npy", np.concatenate(chunks))
    (MADE / "part.npy").rename(MADE / f"{out}.npy")
    (MADE / f"{out}.json").write_text(json.dumps(index), encoding="utf-8")
    print(f"{out}: {len(index)} pictures, {offset / 1e6:.0f} MB", flush=True)


class Gallery:
    """The rendered pictures, by name and style (memory-mapped)."""

    def __init__(self, out: str):
        self.flat = np.load(MADE / f"{out}.npy", mmap_mode="r")
        self.items = json.loads((MADE / f"{out}.json").read_text(encoding="utf-8"))
        self.by_name: dict[str, list[dict]] = {}
        for item in self.items:
            self.by_name.setdefault(item["name"], []).append(item)

    def pixels(self, item: dict) -> np.ndarray:
        """The RGBA picture of an index entry: u8 [h, w, 4]."""
        n = item["h"] * item["w"] * 4
        return np.asarray(self.flat[item["offset"] : item["offset"] + n]).reshape(item["h"], item["w"], 4)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=144)
    parser.add_argument("--evaluation", action="store_true", help="also openmoji and the unseen categories")
    args = parser.parse_args()
    build(vocabulary.objects(), TRAIN_STYLES, args.side, "art_train", "clipart")
    if args.evaluation:
        build(vocabulary.objects(), ("openmoji",), args.side, "art_openmoji")
        build(vocabulary.unseen(), TRAIN_STYLES, args.side, "art_unseen")
        build(vocabulary.objects(), (), args.side, "art_photos", "photos")


if __name__ == "__main__":
    main()
