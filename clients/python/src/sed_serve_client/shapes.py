"""Masks of one category in the forms that other programs read: COCO run lengths, and polygons along pixel borders."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

BoolMask = npt.NDArray[np.bool_]


class CocoRle(TypedDict):
    """A mask as pycocotools writes it: `size` is [height, width], `counts` are compressed run lengths, as text."""

    size: list[int]
    counts: str


@dataclasses.dataclass(frozen=True, eq=False)
class Polygon:
    """One connected region of a mask; pixels that only touch at a corner are not connected.

    exterior: the outer outline, clockwise on the screen; holes: their outlines, counter-clockwise. Each int32
        [points, 2] of x, y in pixels from the top left corner of the mask, along the borders of pixels; the last point
        connects to the first, which is not repeated.
    pixels: the pixels of the region, holes left out.
    """

    exterior: npt.NDArray[np.int32]
    holes: tuple[npt.NDArray[np.int32], ...]
    pixels: int


def rle(mask: BoolMask | Sequence[Sequence[bool]]) -> CocoRle:
    """Encodes a mask, bool [height, width] or nested lists of them, as COCO run lengths.

    `pycocotools.mask.decode` accepts the result.
    """
    inside = _checked(mask)
    height, width = inside.shape
    down = inside.ravel(order="F")  # runs go down the columns, and the first one counts pixels outside
    borders = np.flatnonzero(down[1:] != down[:-1]) + 1
    runs = np.diff(np.concatenate(([0], borders, [down.size]))).tolist()
    counts = [0, *runs] if down.size and down[0] else runs
    differences = [count - counts[at - 2] if at > 2 else count for at, count in enumerate(counts)]  # noqa: PLR2004
    return CocoRle(size=[height, width], counts="".join(map(_as_text, differences)))


def polygons(mask: BoolMask | Sequence[Sequence[bool]]) -> list[Polygon]:
    """Traces the outlines of a mask, bool [height, width] or nested lists of them.

    Regions come in the order of their topmost pixels.
    """
    inside = _checked(mask)
    outlines = [_Outline(ring) for ring in _rings(np.pad(inside, 1))]
    owners = _Owners(inside, outlines)
    exteriors = [outline for outline in outlines if outline.area > 0]
    holes: dict[int, list[_Outline]] = {id(exterior): [] for exterior in exteriors}
    for outline in outlines:
        if outline.area < 0:
            holes[id(owners.of(outline))].append(outline)
    return [
        Polygon(
            exterior=_corners(exterior.ring),
            holes=tuple(_corners(hole.ring) for hole in holes[id(exterior)]),
            pixels=exterior.area + sum(hole.area for hole in holes[id(exterior)]),
        )
        for exterior in exteriors
    ]


def _checked(mask: BoolMask | Sequence[Sequence[bool]]) -> BoolMask:
    try:
        found = np.asarray(mask)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"a mask must be bool [height, width]: {error}") from error
    if found.dtype != np.bool_ or found.ndim != 2:  # noqa: PLR2004
        raise ValueError(f"a mask must be bool [height, width], not {found.dtype} {found.shape}")
    return found


def _as_text(number: int) -> str:
    """Writes a number as characters of 5 bits each, the lowest first; the 6th bit says that more follow."""
    text = ""
    while True:
        bits, number = number & 0x1F, number >> 5
        is_last = number == (-1 if bits & 0x10 else 0)  # the rest is the sign that bit 4 stands for
        text += chr(48 + (bits if is_last else bits | 0x20))
        if is_last:
            return text


class _Outline:
    """A closed outline with a point at every pixel corner, int32 [points, 2]; area: negative for that of a hole."""

    def __init__(self, ring: npt.NDArray[np.int32]) -> None:
        self.ring = ring
        x, y = ring.astype(np.int64).T
        self.area = int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2


class _Owners:
    """The exteriors to which holes belong, found along the rows of pixels."""

    def __init__(self, mask: BoolMask, outlines: list[_Outline]) -> None:
        self._mask = mask
        self._left: dict[tuple[int, int], _Outline] = {}  # outlines by the pixels to the right of their upward edges
        for outline in outlines:
            ring, after = outline.ring, np.roll(outline.ring, -1, axis=0)
            up = after[after[:, 1] < ring[:, 1]]
            self._left.update(dict.fromkeys(map(tuple, up.tolist()), outline))

    def of(self, hole: _Outline) -> _Outline:
        """Returns the exterior around a hole: a row that begins in its region leads to it, or to a higher hole."""
        while hole.area < 0:
            x, y = hole.ring[np.lexsort((hole.ring[:, 0], hole.ring[:, 1]))[0]].tolist()
            outside = np.flatnonzero(~self._mask[y - 1, :x])  # the pixel above the hole's topmost border is inside
            hole = self._left[int(outside[-1]) + 1 if outside.size else 0, y - 1]
        return hole


def _rings(padded: BoolMask) -> list[npt.NDArray[np.int32]]:
    """Follows the borders of a mask with an empty frame, the region on the right; topmost, leftmost borders first."""
    inside = padded[1:-1, 1:-1]
    # For each direction, the pixels with a border in it, and the corners that the border leads from and to.
    directions = (
        (inside & ~padded[:-2, 1:-1], (0, 0), (1, 0)),  # right, above the pixel
        (inside & ~padded[1:-1, 2:], (1, 0), (1, 1)),  # down, at its right
        (inside & ~padded[2:, 1:-1], (1, 1), (0, 1)),  # left, below
        (inside & ~padded[1:-1, :-2], (0, 1), (0, 0)),  # up, at its left
    )
    begins, ends = [], []
    for borders, first, last in directions:
        y, x = np.nonzero(borders)
        begins.append(np.stack((x + first[0], y + first[1]), axis=1))
        ends.append(np.stack((x + last[0], y + last[1]), axis=1))
    ways = np.repeat(np.arange(4), [len(found) for found in begins])
    begin, end = np.concatenate(begins), np.concatenate(ends)
    following = _following(begin, end, ways, padded.shape[1])
    order = np.lexsort(
        (begin[:, 0], begin[:, 1], ways != 0)
    ).tolist()  # a border to the right is topmost in its outline
    return [begin[ring].astype(np.int32) for ring in _cycles(following, order)]


def _following(
    begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64], ways: npt.NDArray[np.int64], stride: int
) -> list[int]:
    """Returns for each border the one that follows it. Where two do, it is the one to the right: it stays at the pixel,
    so that pixels that only touch at a corner are not connected.
    """
    at = np.full((stride * (int(begin[:, 1].max(initial=0)) + 1), 4), -1)
    at[begin[:, 1] * stride + begin[:, 0], ways] = np.arange(len(begin))
    here = end[:, 1] * stride + end[:, 0]
    right, ahead, left = (at[here, (ways + turn) % 4] for turn in (1, 0, 3))
    found: list[int] = np.where(right >= 0, right, np.where(ahead >= 0, ahead, left)).tolist()
    return found


def _cycles(following: list[int], order: list[int]) -> list[list[int]]:
    """Collects the cycles, each from its first member in `order`."""
    seen = bytearray(len(following))
    cycles = []
    for first in order:
        cycle, at = [], first
        while not seen[at]:
            seen[at] = 1
            cycle.append(at)
            at = following[at]
        if cycle:
            cycles.append(cycle)
    return cycles


def _corners(ring: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Leaves out the points at which an outline goes straight on."""
    step_in, step_out = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    corners: npt.NDArray[np.int32] = ring[(step_in != step_out).any(axis=1)]
    return corners
