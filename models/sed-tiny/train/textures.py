"""Stuff: procedural sky, grass, water and so on, and tinted CC0 photographs (brick, grass, gravel).

``python textures.py`` draws a bank of them once: ``MADE/textures_<seed>.npy``, u8
[stuff, variants, SIDE, SIDE, 3], in the order of ``stuff.txt``.
"""

import argparse
import colorsys

import cv2
import numpy as np

import vocabulary
from settings import MADE, SOURCES

SIDE = 448
PHOTOS = {name: SOURCES / "skimage" / "skimage" / "data" / f"{name}.png" for name in ("brick", "grass", "gravel")}


def noise(rng: np.random.Generator, cells: tuple[float, float], octaves: int = 4) -> np.ndarray:
    """Fractal noise in 0..1, f32 [SIDE, SIDE]; ``cells`` are the coarsest (rows, columns)."""
    out = np.zeros((SIDE, SIDE), np.float32)
    for o in range(octaves):
        shape = [max(2, min(SIDE, int(c * 2**o))) for c in cells]
        grid = rng.random(shape, np.float32)
        out += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 0.5**o
    low, high = out.min(), out.max()
    return (out - low) / (high - low + 1e-6)


def colour(rng, hue: tuple, sat: tuple, val: tuple) -> np.ndarray:
    """A random RGB colour (0..255) from ranges of hue (degrees), saturation and value."""
    h, s, v = rng.uniform(*hue) / 360, rng.uniform(*sat), rng.uniform(*val)
    return np.array(colorsys.hsv_to_rgb(h % 1, s, v), np.float32) * 255


def ramp(low: np.ndarray, high: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Mixes two colours by a map: f32 [SIDE, SIDE, 3]."""
    return low + (high - low) * t[..., None]


def _down() -> np.ndarray:
    return np.repeat(np.linspace(0, 1, SIDE, dtype=np.float32)[:, None], SIDE, 1)


def _photo(rng, name: str, dark: np.ndarray, light: np.ndarray) -> np.ndarray:
    grey = cv2.imread(str(PHOTOS[name]), cv2.IMREAD_GRAYSCALE)
    grey = np.rot90(grey) if name == "brick" else grey
    cut = int(rng.integers(200, min(grey.shape)))
    y, x = rng.integers(0, grey.shape[0] - cut + 1), rng.integers(0, grey.shape[1] - cut + 1)
    grey = cv2.resize(grey[y : y + cut, x : x + cut], (SIDE, SIDE)).astype(np.float32)
    return ramp(dark, light, np.clip((grey - grey.min()) / (np.ptp(grey) + 1), 0, 1))


def _strokes(rng, base: np.ndarray, colours: list, count: int, length: tuple, tilt: tuple, thick: int = 1) -> np.ndarray:
    for _ in range(count):
        x, y = rng.integers(0, SIDE, 2)
        angle, size = np.deg2rad(rng.uniform(*tilt)), rng.uniform(*length)
        end = (int(x + np.cos(angle) * size), int(y - np.sin(angle) * size))
        cv2.line(base, (int(x), int(y)), end, colours[rng.integers(len(colours))].tolist(), thick, cv2.LINE_AA)
    return base


def sky(rng):
    """Gradients by day, dusk, night and under cloud."""
    kind = rng.choice(4, p=[0.62, 0.14, 0.1, 0.14])
    if kind == 0:
        top, low = colour(rng, (195, 222), (0.45, 0.9), (0.75, 1)), colour(rng, (185, 212), (0.1, 0.45), (0.9, 1))
    elif kind == 1:
        top, low = colour(rng, (215, 290), (0.3, 0.6), (0.45, 0.85)), colour(rng, (5, 45), (0.35, 0.8), (0.9, 1))
    elif kind == 2:
        top, low = colour(rng, (215, 250), (0.6, 0.9), (0.1, 0.3)), colour(rng, (205, 250), (0.4, 0.8), (0.25, 0.5))
    else:
        top, low = colour(rng, (200, 225), (0.05, 0.2), (0.6, 0.85)), colour(rng, (200, 225), (0.02, 0.1), (0.8, 0.95))
    out = ramp(top, low, _down() ** rng.uniform(0.6, 1.5))
    veil = np.clip(noise(rng, (3, 2)) - rng.uniform(0.45, 0.75), 0, 1) * rng.uniform(0, 1.5)
    return out + (np.array([250, 250, 252]) - out) * np.clip(veil, 0, 0.7)[..., None]


def grass(rng):
    """Blades on noise, flat meadows, or the tinted photograph."""
    hue = (75, 130)
    dark, light = colour(rng, hue, (0.5, 0.9), (0.28, 0.5)), colour(rng, hue, (0.4, 0.85), (0.55, 0.9))
    kind = rng.integers(3)
    if kind == 0:
        return _photo(rng, "grass", dark, light)
    n = rng.uniform(2, 20)
    out = ramp(dark * 0.4 + light * 0.6, light, noise(rng, (n, n)))
    if kind == 1:
        out = _strokes(rng, np.ascontiguousarray(out), [dark, light, (dark + light) / 2], int(rng.uniform(300, 2600)), (5, 22), (55, 125))
    return out


def water(rng):
    """Horizontal ripples in blue and teal."""
    dark, light = colour(rng, (185, 225), (0.55, 0.9), (0.35, 0.65)), colour(rng, (175, 215), (0.25, 0.7), (0.7, 1))
    rows = rng.uniform(6, 26)
    ripple = noise(rng, (rows, rows * rng.uniform(0.1, 0.4)), 3)
    if rng.random() < 0.5:
        y = np.arange(SIDE)[:, None] / SIDE * rows * 2 * np.pi
        ripple = 0.5 + 0.5 * np.sin(y + 5 * noise(rng, (2, 6), 2))
        ripple = ripple ** rng.uniform(1, 6)
    out = ramp(dark, light, ripple * rng.uniform(0.3, 1))
    if rng.random() < 0.4:
        out = _strokes(rng, np.ascontiguousarray(out), [light, np.array([240.0, 250, 255])], int(rng.uniform(30, 200)), (12, 60), (-4, 4), 2)
    return out


def sand(rng):
    """Fine grain with soft dunes."""
    dark, light = colour(rng, (32, 48), (0.25, 0.55), (0.65, 0.85)), colour(rng, (36, 50), (0.15, 0.45), (0.88, 1))
    dunes = noise(rng, (rng.uniform(2, 12), rng.uniform(1, 5)), 3)
    grain = rng.random((SIDE, SIDE), np.float32)
    return ramp(dark, light, np.clip(dunes * 0.8 + (grain - 0.5) * rng.uniform(0.05, 0.5), 0, 1))


def snow(rng):
    """White with bluish hollows."""
    dark, light = colour(rng, (200, 230), (0.06, 0.2), (0.8, 0.95)), colour(rng, (200, 230), (0, 0.04), (0.96, 1))
    out = ramp(dark, light, noise(rng, (rng.uniform(2, 7), rng.uniform(2, 7)), 3))
    return out + (rng.random((SIDE, SIDE, 1)) - 0.5) * rng.uniform(0, 14)


def road(rng):
    """Asphalt, half of the time with lane marks."""
    grey = colour(rng, (200, 280), (0, 0.1), (0.25, 0.55))
    grain = rng.random((SIDE, SIDE), np.float32)
    out = ramp(grey * 0.85, grey * 1.15, np.clip(noise(rng, (4, 4)) * 0.6 + grain * rng.uniform(0, 0.6), 0, 1))
    if rng.random() < 0.5:
        out, mark = np.ascontiguousarray(out), [np.array([240.0, 240, 235]), np.array([245.0, 200, 60])][rng.integers(2)]
        y, thick, dash = int(rng.uniform(0.3, 0.7) * SIDE), int(rng.uniform(5, 14)), int(rng.uniform(30, 80))
        for x in range(0, SIDE, 2 * dash):
            cv2.rectangle(out, (x, y), (x + dash, y + thick), mark.tolist(), -1)
    return out


def gravel(rng):
    """The tinted photograph, or drawn pebbles."""
    dark, light = colour(rng, (20, 50), (0, 0.2), (0.25, 0.45)), colour(rng, (20, 50), (0, 0.15), (0.7, 0.95))
    if rng.random() < 0.6:
        return _photo(rng, "gravel", dark, light)
    out = np.ascontiguousarray(ramp(dark, dark * 1.2, noise(rng, (20, 20))))
    size = rng.uniform(5, 14)
    for _ in range(int(1.6 * (SIDE / size) ** 2)):
        x, y = rng.integers(0, SIDE, 2)
        axes = (int(size * rng.uniform(0.4, 0.9)), int(size * rng.uniform(0.3, 0.7)))
        shade = dark + (light - dark) * rng.uniform(0.3, 1)
        cv2.ellipse(out, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, shade.tolist(), -1, cv2.LINE_AA)
    return out


def soil(rng):
    """Brown clumps and grain."""
    dark, light = colour(rng, (14, 32), (0.45, 0.75), (0.18, 0.34)), colour(rng, (18, 34), (0.35, 0.65), (0.4, 0.65))
    n, grain = rng.uniform(6, 30), rng.random((SIDE, SIDE), np.float32)
    return ramp(dark, light, np.clip(noise(rng, (n, n)) + (grain - 0.5) * rng.uniform(0.1, 0.6), 0, 1))


def _grid(rng, rows: int, ratio: float, stagger: float, gap: int, paint, mortar: np.ndarray) -> np.ndarray:
    out = np.tile(mortar, (SIDE, SIDE, 1)).astype(np.float32)
    h = SIDE / rows
    w = h * ratio
    for r in range(rows):
        shift = (r % 2) * stagger * w
        for c in range(-1, int(SIDE / w) + 2):
            corner = (int(c * w + shift) + gap, int(r * h) + gap)
            cv2.rectangle(out, corner, (int((c + 1) * w + shift) - gap, int((r + 1) * h) - gap), paint(r, c).tolist(), -1)
    return out


def brick_wall(rng):
    """Drawn courses of bricks, or the tinted photograph."""
    if rng.random() < 0.4:
        return _photo(rng, "brick", colour(rng, (0, 25), (0.4, 0.8), (0.2, 0.4)), colour(rng, (5, 28), (0.3, 0.7), (0.65, 0.9)))
    base, mortar = colour(rng, (2, 26), (0.35, 0.8), (0.45, 0.85)), colour(rng, (20, 40), (0, 0.15), (0.6, 0.9))
    jitter = rng.uniform(0.03, 0.22)
    out = _grid(rng, int(rng.uniform(9, 22)), rng.uniform(1.8, 3), 0.5, int(rng.uniform(1, 3)), lambda r, c: base * rng.uniform(1 - jitter, 1 + jitter), mortar)
    return out * (0.9 + 0.2 * noise(rng, (12, 12))[..., None])


def wooden_floor(rng):
    """Planks with a grain along them."""
    base = colour(rng, (18, 36), (0.3, 0.7), (0.4, 0.85))
    jitter = rng.uniform(0.03, 0.15)
    out = _grid(rng, int(rng.uniform(5, 14)), rng.uniform(4, 12), rng.uniform(0.2, 0.6), 1, lambda r, c: base * rng.uniform(1 - jitter, 1 + jitter), base * 0.45)
    return out * (1 - rng.uniform(0.05, 0.35) * noise(rng, (rng.uniform(40, 90), 3), 3))[..., None]


def tiled_floor(rng):
    """Square tiles, plain or chequered."""
    a = colour(rng, (0, 360), (0, 0.35), (0.55, 1))
    b = a * rng.uniform(0.85, 1) if rng.random() < 0.5 else colour(rng, (0, 360), (0, 0.5), (0.15, 0.9))
    joint = a * rng.uniform(0.5, 0.85)
    out = _grid(rng, int(rng.uniform(5, 13)), 1.0, 0.0, int(rng.uniform(1, 3)), lambda r, c: (a if (r + c) % 2 else b) * rng.uniform(0.96, 1.04), joint)
    return out * (0.94 + 0.1 * noise(rng, (5, 5))[..., None])


def wall(rng):
    """Paint in quiet colours, some wallpaper stripes or dots."""
    base = colour(rng, [(20, 60), (0, 40), (280, 350), (60, 90)][rng.integers(4)], (0.03, 0.4), (0.72, 1))
    out = ramp(base * rng.uniform(0.88, 1), base, _down()) * (0.97 + 0.05 * noise(rng, (6, 6))[..., None])
    kind = rng.integers(4)
    if kind == 0:
        period = rng.uniform(16, 60)
        out = out * (1 - 0.07 * ((np.arange(SIDE) % period) < period / 2))[None, :, None]
    elif kind == 1:
        out, step = np.ascontiguousarray(out), int(rng.uniform(22, 60))
        for y in range(step // 2, SIDE, step):
            for x in range(step // 2 + (y // step % 2) * step // 2, SIDE, step):
                cv2.circle(out, (x, y), max(2, step // 8), (base * 0.85).tolist(), -1, cv2.LINE_AA)
    return out


def hedge(rng):
    """Leaves upon leaves."""
    dark, light = colour(rng, (90, 150), (0.5, 0.9), (0.15, 0.32)), colour(rng, (80, 140), (0.45, 0.85), (0.4, 0.7))
    out = np.ascontiguousarray(ramp(dark, (dark + light) / 2, noise(rng, (10, 10))))
    size = rng.uniform(5, 15)
    for _ in range(int(1.3 * (SIDE / size) ** 2)):
        x, y = rng.integers(0, SIDE, 2)
        shade = dark + (light - dark) * rng.uniform(0, 1)
        axes = (int(size * 0.7), int(size * rng.uniform(0.25, 0.5)))
        cv2.ellipse(out, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, shade.tolist(), -1, cv2.LINE_AA)
    return out


def mountain(rng):
    """Rock in grey, brown or blue, with slanted ridges and often snow above."""
    hue = [(200, 240), (15, 40), (90, 140)][rng.choice(3, p=[0.45, 0.35, 0.2])]
    dark, light = colour(rng, hue, (0.1, 0.4), (0.25, 0.45)), colour(rng, hue, (0.08, 0.35), (0.5, 0.8))
    ridges = noise(rng, (rng.uniform(3, 6), rng.uniform(5, 12)), 5)
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-45, 45), 1.5)
    ridges = cv2.warpAffine(ridges, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    out = ramp(dark, light, ridges)
    if rng.random() < 0.5:
        cap = np.clip((rng.uniform(0.05, 0.2) + 0.3 * ridges - _down()) * 8, 0, 1)
        out = out + (np.array([245, 248, 252]) - out) * cap[..., None]
    return out


def draw(name: str, rng: np.random.Generator) -> np.ndarray:
    """One texture of a stuff category: u8 [SIDE, SIDE, 3]."""
    picture = globals()[name.replace(" ", "_")](rng)
    return np.clip(picture, 0, 255).astype(np.uint8)


def bank(seed: int, variants: int) -> np.ndarray:
    """Reads the bank of a seed, drawing it first where it is missing: u8 [stuff, variants, SIDE, SIDE, 3]."""
    path = MADE / f"textures_{seed}_{variants}.npy"
    if not path.exists():
        rng = np.random.default_rng(seed)
        all_of = [[draw(t.name, rng) for _ in range(variants)] for t in vocabulary.stuff()]
        MADE.mkdir(parents=True, exist_ok=True)
        np.save(path, np.array(all_of))
    return np.load(path, mmap_mode="r")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variants", type=int, default=32)
    args = parser.parse_args()
    print(bank(args.seed, args.variants).shape)


if __name__ == "__main__":
    main()
