"""Backgrounds of scenes: outdoors, a room, a table, the sea, or a mixture of any stuff."""

import cv2
import numpy as np

import vocabulary

OUTDOOR_GROUND = {"grass": 0.34, "sand": 0.13, "snow": 0.1, "road": 0.11, "gravel": 0.08, "soil": 0.09, "water": 0.15}
TABLE = ("wooden floor", "tiled floor", "wall", "grass", "sand", "snow", "soil", "gravel", "brick wall", "road", "hedge", "water", "sky")
PERSPECTIVE = {"grass", "gravel", "wooden floor", "tiled floor", "road", "sand", "soil", "snow", "water"}


class Backdrop:
    """Draws backgrounds from a bank of textures [stuff, variants, side, side, 3]."""

    def __init__(self, textures: np.ndarray):
        self.textures = textures
        self.ids = {t.name: i for i, t in enumerate(vocabulary.stuff())}

    def texture(self, rng, name: str, h: int, w: int, whole: bool = False) -> np.ndarray:
        """A piece of a texture, f32 [h, w, 3]; ``whole`` keeps its top and bottom (sky, mountains)."""
        bank = self.textures[self.ids[name]]
        picture = bank[rng.integers(len(bank))]
        side = picture.shape[0]
        if whole:
            x = int(rng.integers(0, side // 3))
            picture = picture[:, x:]
        else:
            cut = int(min(side * rng.uniform(0.35, 1.0), 5 * max(h, w)))
            y, x = rng.integers(0, side - cut + 1, 2)
            picture = picture[y : y + cut, x : x + cut]
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        if name in PERSPECTIVE and rng.random() < 0.45:
            picture = self._lay_down(rng, np.ascontiguousarray(picture), h, w)
        picture = cv2.resize(np.ascontiguousarray(picture), (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
        return picture * rng.uniform(0.9, 1.1, 3).astype(np.float32) * rng.uniform(0.85, 1.1)

    @staticmethod
    def _lay_down(rng, picture: np.ndarray, h: int, w: int) -> np.ndarray:
        """Tilts a texture away, narrow in the distance."""
        s = picture.shape[0]
        squeeze = rng.uniform(0.15, 0.35) * s
        source = np.float32([[0, 0], [s, 0], [s - squeeze, s], [squeeze, s]])
        matrix = cv2.getPerspectiveTransform(source, np.float32([[0, 0], [w, 0], [w, h], [0, h]]))
        return cv2.warpPerspective(picture, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    @staticmethod
    def _edge(rng, w: int, level: float, rough: float) -> np.ndarray:
        """A wavy border: row numbers, f32 [w]."""
        out = np.full(w, level, np.float32)
        for n in (3, 6, 13):
            grid = (rng.random((1, n), np.float32) - 0.5) * rough * 3 / n
            out += cv2.resize(grid, (w, 1), interpolation=cv2.INTER_CUBIC)[0]
        return out

    def _lay(self, rng, out: tuple, name: str, mask: np.ndarray, top: int = 0, whole: bool = False) -> None:
        """Fills ``mask`` with stuff, its texture beginning at row ``top``."""
        picture, label = out
        h, w = label.shape
        top = min(max(0, top), h - 2)
        piece = np.zeros((h, w, 3), np.float32)
        piece[top:] = self.texture(rng, name, h - top, w, whole)
        picture[mask] = piece[mask]
        label[mask] = self.ids[name]

    def _below(self, edge: np.ndarray, h: int) -> np.ndarray:
        return np.arange(h)[:, None] >= edge[None, :]

    def _outdoor(self, rng, out: tuple, plan: dict) -> None:
        h, w = out[1].shape
        horizon = plan["horizon"] = rng.uniform(0.3, 0.62)
        top = int(horizon * h)
        self._lay(rng, out, "sky", np.ones((h, w), bool), 0, True)
        if rng.random() < 0.4:
            ridge = self._edge(rng, w, (horizon - rng.uniform(0.06, 0.2)) * h, rng.uniform(0.15, 0.5) * h)
            start = int(ridge.min())
            self._lay(rng, out, "mountain", self._below(ridge, h), start, True)
        if rng.random() < 0.2:
            ridge = self._edge(rng, w, (horizon - rng.uniform(0.05, 0.12)) * h, 0.04 * h)
            self._lay(rng, out, "hedge", self._below(ridge, h), int(ridge.min()))
        elif rng.random() < 0.12:
            ridge = np.full(w, (horizon - rng.uniform(0.06, 0.16)) * h, np.float32)
            self._lay(rng, out, "brick wall", self._below(ridge, h), int(ridge[0]))
        names = list(OUTDOOR_GROUND)
        first, second = rng.choice(names, 2, replace=False, p=np.array(list(OUTDOOR_GROUND.values())) / sum(OUTDOOR_GROUND.values()))
        rough = rng.choice([0.0, 0.05, 0.12]) * h
        edge = self._edge(rng, w, top, rough)
        self._lay(rng, out, first, self._below(edge, h), int(edge.min()))
        plan["ground"] = first
        if rng.random() < 0.45:
            level = rng.uniform(horizon + 0.15, 0.9) * h
            edge = self._edge(rng, w, level, rng.uniform(0.02, 0.2) * h)
            mask = self._below(edge, h)
            if second == "road" and rng.random() < 0.7:
                mask &= ~self._below(np.full(w, level + rng.uniform(0.12, 0.25) * h, np.float32), h)
            self._lay(rng, out, second, mask, int(edge.min()))
        elif rng.random() < 0.3:
            mask = np.zeros((h, w), np.uint8)
            centre = (int(rng.uniform(0.1, 0.9) * w), int(rng.uniform(horizon + 0.2, 0.95) * h))
            cv2.ellipse(mask, centre, (int(rng.uniform(0.15, 0.4) * w), int(rng.uniform(0.06, 0.15) * h)), 0, 0, 360, 1, -1)
            mask[: top + 1] = 0
            self._lay(rng, out, second, mask > 0, top)
        plan["places"] = {"ground": 1.0, "sky": 2.0, "table": 0.35, "water": 3.0 if "water" in (first, second) else 0.0}

    def _room(self, rng, out: tuple, plan: dict) -> None:
        h, w = out[1].shape
        horizon = plan["horizon"] = rng.uniform(0.45, 0.75)
        self._lay(rng, out, "wall" if rng.random() < 0.7 else "brick wall", np.ones((h, w), bool))
        floor = "wooden floor" if rng.random() < 0.55 else "tiled floor"
        edge = np.full(w, horizon * h, np.float32)
        self._lay(rng, out, floor, self._below(edge, h), int(horizon * h))
        if rng.random() < 0.3:
            y = int(horizon * h)
            out[0][y - max(2, h // 60) : y] = rng.uniform(180, 255)
        plan["places"] = {"ground": 1.0, "table": 1.5, "wall": 4.0, "sky": 0.2}

    def _sea(self, rng, out: tuple, plan: dict) -> None:
        h, w = out[1].shape
        horizon = plan["horizon"] = 0.0 if rng.random() < 0.35 else rng.uniform(0.2, 0.5)
        self._lay(rng, out, "sky", np.ones((h, w), bool), 0, True)
        self._lay(rng, out, "water", self._below(np.full(w, horizon * h, np.float32), h), int(horizon * h))
        if rng.random() < 0.45:
            level = rng.uniform(0.75, 0.92) * h
            edge = self._edge(rng, w, level, 0.1 * h)
            self._lay(rng, out, "sand", self._below(edge, h), int(edge.min()))
        plan["places"] = {"water": 8.0, "sky": 1.5, "ground": 0.15}

    def _table(self, rng, out: tuple, plan: dict) -> None:
        h, w = out[1].shape
        plan.update(horizon=0.1, free=True, places={"table": 1.0, "ground": 0.4, "sky": 0.5, "wall": 0.5})
        self._lay(rng, out, TABLE[rng.integers(len(TABLE))], np.ones((h, w), bool))

    def _anywhere(self, rng, out: tuple, plan: dict) -> None:
        """Two or three kinds of stuff side by side, borders at any angle."""
        h, w = out[1].shape
        plan.update(horizon=0.1, free=True, places={})
        names = list(self.ids)
        self._lay(rng, out, names[rng.integers(len(names))], np.ones((h, w), bool))
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        for _ in range(int(rng.integers(1, 3))):
            angle = rng.uniform(0, 2 * np.pi)
            side = (xs - rng.uniform(0.25, 0.75) * w) * np.cos(angle) + (ys - rng.uniform(0.25, 0.75) * h) * np.sin(angle)
            bend = rng.uniform(0, 0.06) * w * np.sin(xs / w * rng.uniform(2, 14))
            self._lay(rng, out, names[rng.integers(len(names))], side + bend > 0)

    def draw(self, rng, h: int, w: int) -> tuple[np.ndarray, np.ndarray, dict]:
        """A background: u8 [h, w, 3], stuff ids i16 [h, w], and the plan for the objects."""
        out = (np.zeros((h, w, 3), np.float32), np.full((h, w), -1, np.int16))
        plan = {"horizon": 0.4, "free": False, "places": {}}
        kinds = (self._outdoor, self._room, self._sea, self._table, self._anywhere)
        kinds[rng.choice(len(kinds), p=[0.5, 0.18, 0.1, 0.12, 0.1])](rng, out, plan)
        return np.clip(out[0], 0, 255).astype(np.uint8), out[1], plan

    def patch(self, rng, side: int) -> tuple[np.ndarray, np.ndarray]:
        """A small square of one stuff: u8 [side, side, 3] and its ids i16 [side, side]."""
        name = list(self.ids)[rng.integers(len(self.ids))]
        picture = self.texture(rng, name, side, side)
        return np.clip(picture, 0, 255).astype(np.uint8), np.full((side, side), self.ids[name], np.int16)
