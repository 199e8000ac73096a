"""Changes to single pictograms (so that drawing styles blur into each other) and to whole images."""

import cv2
import numpy as np


def _hue(rng, rgb: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int16)
    # Small turns keep a colour's name; one in six is free, for things of any colour.
    turn = rng.integers(0, 180) if rng.random() < 0.16 else rng.integers(-9, 10)
    hsv[..., 0] = (hsv[..., 0] + turn) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.3), 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.75, 1.2) + rng.uniform(-15, 15), 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def _tone(rng, rgb: np.ndarray) -> np.ndarray:
    table = np.arange(256) / 255
    table = np.clip(table ** rng.uniform(0.65, 1.5) * rng.uniform(0.8, 1.15), 0, 1)
    return cv2.LUT(rgb, (table * 255).astype(np.uint8))


def _posterise(rng, rgb: np.ndarray) -> np.ndarray:
    levels = int(rng.integers(2, 6))
    table = np.round(np.arange(256) / 255 * levels) / levels * 255
    return cv2.LUT(cv2.medianBlur(rgb, 3), table.astype(np.uint8))


def _outline(rng, rgb: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws dark lines around the shape and along its inner edges, as drawn comics have."""
    k = 3 if rng.random() < 0.6 else 5
    kernel = np.ones((k, k), np.uint8)
    grown = cv2.dilate(alpha, kernel)
    base = rgb.copy()
    base[alpha < 128] = 0
    inner = cv2.morphologyEx(cv2.cvtColor(base, cv2.COLOR_RGB2GRAY), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
    line = np.clip((inner.astype(np.float32) - 18) / 40, 0, 1) if rng.random() < 0.75 else np.zeros(alpha.shape, np.float32)
    line = np.maximum(line, (grown.astype(np.float32) - cv2.erode(alpha, kernel)) / 255)
    ink = rng.uniform(0, 60, 3)
    return (rgb + (ink - rgb) * line[..., None]).astype(np.uint8), grown


def _flat(rng, rgb: np.ndarray) -> np.ndarray:
    """Pale filling, as in drawings where the line says everything."""
    return (255 - (255 - rgb.astype(np.float32)) * rng.uniform(0.15, 0.6)).astype(np.uint8)


def _shade(rng, rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Light from one side over the rounded shape."""
    depth = np.minimum(cv2.distanceTransform((alpha > 128).astype(np.uint8), cv2.DIST_L2, 3), 24)
    depth = cv2.GaussianBlur(depth, (0, 0), 3)
    angle = rng.uniform(0, 2 * np.pi)
    slope = cv2.Sobel(depth, cv2.CV_32F, 1, 0) * np.cos(angle) + cv2.Sobel(depth, cv2.CV_32F, 0, 1) * np.sin(angle)
    light = 1 + np.clip(slope / 8, -1, 1) * rng.uniform(0.1, 0.4)
    return np.clip(rgb * light[..., None], 0, 255).astype(np.uint8)


def _grain(rng, rgb: np.ndarray) -> np.ndarray:
    h, w = rgb.shape[:2]
    n = int(rng.integers(4, 40))
    spots = cv2.resize(rng.random((n, n), np.float32), (w, h), interpolation=cv2.INTER_CUBIC) - 0.5
    return np.clip(rgb * (1 + spots[..., None] * rng.uniform(0.15, 0.6)), 0, 255).astype(np.uint8)


def pictogram(rng: np.random.Generator, rgba: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Another look of a pictogram: u8 [h, w, 4] (two pixels of margin are added on each side)."""
    rgba = cv2.copyMakeBorder(rgba, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    rgb, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    lucky = lambda p: rng.random() < p * strength
    if lucky(0.7):
        rgb = _hue(rng, rgb)
    if lucky(0.4):
        rgb = _tone(rng, rgb)
    if lucky(0.06):
        rgb = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if lucky(0.12):
        rgb = _posterise(rng, rgb)
    if lucky(0.1):
        rgb = _flat(rng, rgb)
    if lucky(0.3):
        rgb, alpha = _outline(rng, rgb, alpha)
    if lucky(0.2):
        rgb = _shade(rng, rgb, alpha)
    if lucky(0.15):
        rgb = _grain(rng, rgb)
    return np.dstack([rgb, alpha])


def image(rng: np.random.Generator, rgb: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Blur, coarse pixels, cast, tone, noise, JPEG on a whole image: u8 [h, w, 3]."""
    h, w = rgb.shape[:2]
    lucky = lambda p: rng.random() < p * strength
    if lucky(0.3):
        cast = rng.uniform(0.85, 1.15, 3) * rng.uniform(0.8, 1.15)
        rgb = np.clip(rgb * cast, 0, 255).astype(np.uint8)
    if lucky(0.2):
        rgb = _tone(rng, rgb)
    if lucky(0.2):
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.3))
    elif lucky(0.15):
        f = rng.uniform(0.4, 0.8)
        small = cv2.resize(rgb, (int(w * f), int(h * f)), interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    if lucky(0.2):
        grain = rng.standard_normal((h, w, 1 if rng.random() < 0.5 else 3), np.float32) * rng.uniform(2, 14)
        rgb = np.clip(rgb + grain, 0, 255).astype(np.uint8)
    if lucky(0.25):
        ok, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        rgb = cv2.imdecode(data, cv2.IMREAD_COLOR) if ok else rgb
    return np.ascontiguousarray(rgb)
