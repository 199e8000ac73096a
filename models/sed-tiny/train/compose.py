"""Scenes with pixel-exact labels: stuff behind, pictograms in front.

Labels are category ids: objects 0..len(objects)-1 in the order of ``vocabulary.txt``, then stuff.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

import augment
import vocabulary
from artwork import Gallery
from backdrop import Backdrop

HEIGHTS = (0.17, 0.23, 0.29, 0.36, 0.46)
VOID = -1


@dataclass
class Scene:
    """An image u8 [h, w, 3] and its labels i16 [h, w]."""

    image: np.ndarray
    label: np.ndarray
    names: list[str] = field(default_factory=list)


class Composer:
    """Draws scenes from a gallery and a bank of textures."""

    def __init__(self, gallery: Gallery, textures: np.ndarray, names: list[str] | None = None, styles: tuple = ()):
        self.gallery, self.backdrop = gallery, Backdrop(textures)
        things = vocabulary.objects() + vocabulary.unseen()
        self.things = {t.name: t for t in things if t.name in gallery.by_name}
        order = [t.name for t in vocabulary.objects()]
        self.ids = {name: i for i, name in enumerate(order)}
        self.stuff_base = len(order)
        self.stuff_end = self.stuff_base + len(vocabulary.stuff())
        # Categories outside the trained list take ids behind the stuff.
        for name in (t.name for t in vocabulary.unseen()):
            self.ids[name] = len(self.ids) + self.stuff_end - self.stuff_base
        self.names = names or [n for n in self.things if n in self.ids]
        self.by_place: dict[str, list[str]] = {}
        for name in self.names:
            self.by_place.setdefault(self.things[name].place, []).append(name)
        self.styles = styles

    def pick(self, rng, name: str) -> np.ndarray:
        """A pictogram of a category, drawing styles equally often: u8 [h, w, 4]."""
        items = self.gallery.by_name[name]
        if self.styles:
            items = [i for i in items if i["style"] in self.styles] or items
        kinds = sorted({i["style"] for i in items})
        style = kinds[rng.integers(len(kinds))]
        items = [i for i in items if i["style"] == style]
        return self.gallery.pixels(items[rng.integers(len(items))])

    def _turned(self, rng, rgba: np.ndarray, height: float, free: bool, aspect: float = 1.0) -> np.ndarray:
        """Scales, mirrors and turns a pictogram; ``height`` in pixels, widths times ``aspect``."""
        if rng.random() < 0.5:
            rgba = rgba[:, ::-1]
        h, w = rgba.shape[:2]
        scale = height / max(h, 0.8 * w)
        stretch = rng.uniform(0.9, 1.12) * aspect
        size = (max(6, round(w * scale * stretch)), max(6, round(h * scale)))
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        angle = rng.normal(0, 25 if free else 4)
        if abs(angle) > 2:
            w, h = size
            matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1)
            cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
            box = (int(h * sin + w * cos) + 1, int(h * cos + w * sin) + 1)
            matrix[:, 2] += (box[0] / 2 - w / 2, box[1] / 2 - h / 2)
            rgba = cv2.warpAffine(rgba, matrix, box, flags=cv2.INTER_LINEAR)
        return rgba

    def _spot(self, rng, place: str, plan: dict, h: int, w: int) -> tuple[float, float, float]:
        """Feet position and perspective factor for a thing of this place."""
        horizon = plan["horizon"]
        x = rng.uniform(0.04, 0.96) * w
        if plan["free"] or rng.random() < 0.1:
            return x, rng.uniform(0.18, 1.02) * h, rng.uniform(0.8, 1.3)
        if place == "sky":
            return x, rng.uniform(0.16, max(0.2, horizon)) * h, rng.uniform(0.75, 1.2)
        if place == "wall":
            return x, rng.uniform(0.55, 1.02) * horizon * h, rng.uniform(0.8, 1.1)
        depth = rng.random()
        return x, (horizon + 0.04 + (0.97 - horizon) * depth) * h, 0.62 + 0.65 * depth

    def _paste(self, rng, scene: Scene, rgba: np.ndarray, x: float, y: float, ident: int, shadow: bool) -> bool:
        """Puts a pictogram with its feet at (x, y); refuses spots that hide too much."""
        h, w = scene.label.shape
        ph, pw = rgba.shape[:2]
        left, top = int(x - pw / 2), int(y - ph)
        x0, y0, x1, y1 = max(0, left), max(0, top), min(w, left + pw), min(h, top + ph)
        if x1 - x0 < 0.6 * pw or y1 - y0 < 0.6 * ph:
            return False
        part = rgba[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha = part[..., 3:].astype(np.float32) / 255
        solid = alpha[..., 0] > 0.5
        below = scene.label[y0:y1, x0:x1]
        taken = below[solid]
        if solid.sum() < 40 or ((taken >= 0) & ((taken < self.stuff_base) | (taken >= self.stuff_end))).mean() > 0.22:
            return False
        if shadow:
            self._shadow(rng, scene.image, x, y, pw)
        area = scene.image[y0:y1, x0:x1]
        area[:] = (area + (part[..., :3] - area.astype(np.float32)) * alpha).astype(np.uint8)
        below[solid] = ident
        return True

    @staticmethod
    def _shadow(rng, image: np.ndarray, x: float, y: float, width: int) -> None:
        h, w = image.shape[:2]
        rx, ry = max(3, int(width * rng.uniform(0.35, 0.55))), max(2, int(width * rng.uniform(0.06, 0.14)))
        x0, x1, y0, y1 = max(0, int(x) - 2 * rx), min(w, int(x) + 2 * rx), max(0, int(y) - 3 * ry), min(h, int(y) + 3 * ry)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.float32)
        cv2.ellipse(mask, (int(x) - x0, int(y) - y0 - ry // 3), (rx, ry), 0, 0, 360, 1.0, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), max(1.0, ry * 0.5))[..., None] * rng.uniform(0.15, 0.5)
        area = image[y0:y1, x0:x1]
        area[:] = (area * (1 - mask)).astype(np.uint8)

    def _wanted(self, rng, plan: dict, count: int) -> list[str]:
        """Names for a scene: mostly those that belong there."""
        places = plan["places"]
        out = []
        for _ in range(count):
            if rng.random() < 0.25:
                out.append(self.names[rng.integers(len(self.names))])
                continue
            weights = np.array([places.get(p, 0) * len(n) for p, n in self.by_place.items()], float)
            if weights.sum() == 0:
                out.append(self.names[rng.integers(len(self.names))])
                continue
            pool = list(self.by_place.values())[rng.choice(len(weights), p=weights / weights.sum())]
            out.append(pool[rng.integers(len(pool))])
        return out

    def scene(
        self, rng, h: int, w: int, count: tuple[int, int] = (4, 10), strength: float = 1.0, squeeze: bool = False
    ) -> Scene:
        """A scene of ``count`` (range) objects; ``strength`` scales all changes of look.

        ``squeeze`` draws it as pictures of other shapes look once they are resized to a square.
        """
        aspect = float(rng.choice([1.0, 0.75, rng.uniform(0.6, 1.4)], p=[0.4, 0.35, 0.25])) if squeeze else 1.0
        picture, label, plan = self.backdrop.draw(rng, h, w)
        label[label >= 0] += self.stuff_base
        scene = Scene(picture, label)
        todo = []
        for name in self._wanted(rng, plan, int(rng.integers(count[0], count[1] + 1))):
            thing = self.things[name]
            x, y, depth = self._spot(rng, thing.place, plan, h, w)
            todo.append((y, x, depth, name, thing))
        side = min(h, w)
        for y, x, depth, name, thing in sorted(todo, key=lambda t: t[0]):
            look = augment.pictogram(rng, self.pick(rng, name), strength)
            share = HEIGHTS[thing.size - 1] if not plan["free"] else rng.uniform(0.18, 0.42)
            height = side * share * depth * rng.uniform(0.8, 1.3)
            look = self._turned(rng, look, float(np.clip(height, 0.12 * side, 0.75 * side)), plan["free"], aspect)
            grounded = thing.place not in ("sky", "wall") and rng.random() < 0.6
            for _ in range(4):
                if self._paste(rng, scene, look, x, y, self.ids[name], grounded):
                    scene.names.append(name)
                    break
                x, y = rng.uniform(0.05, 0.95) * w, float(np.clip(y + rng.uniform(-0.08, 0.08) * h, 0.2 * h, 1.02 * h))
        scene.image = augment.image(rng, scene.image, strength)
        return scene

    def crop(self, rng, side: int, strength: float) -> Scene:
        """One object filling most of a small square, on a texture (for the first phase)."""
        picture, label = self.backdrop.patch(rng, side)
        label += self.stuff_base
        scene = Scene(picture, label)
        if rng.random() < 0.1:
            scene.image = augment.image(rng, scene.image, strength)
            return scene
        name = self.names[rng.integers(len(self.names))]
        look = self.pick(rng, name)
        shrink = 1.3 * side / max(look.shape[:2])
        if shrink < 1:
            look = cv2.resize(look, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        look = augment.pictogram(rng, look, strength)
        look = self._turned(rng, look, side * rng.uniform(0.55, 1.05), rng.random() < 0.4 * strength)
        ph, pw = look.shape[:2]
        x, y = side / 2 + rng.normal(0, 0.12) * side, side / 2 + ph / 2 + rng.normal(0, 0.1) * side
        if self._paste(rng, scene, look, x, y, self.ids[name], rng.random() < 0.3):
            scene.names.append(name)
        scene.image = augment.image(rng, scene.image, strength)
        return scene
