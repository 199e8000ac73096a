"""Answers, converted into dataclasses and arrays."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .request import ImageId
from .v1 import report_pb2, warning_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf import duration_pb2

    from .v1 import mask_pb2
    from .v1 import segmentation_service_pb2 as pb

IndexMap: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle in the mask, in pixels from its top left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Category:
    """One category of the vocabulary in the picture, present or not.

    index: its value in the mask. pixels: how many have it; area_share: the same as a share of the mask, 0 to 1.
    mean_score: over its pixels, 0 to 1. box: the smallest around its pixels; None where it has none.
    """

    index: int
    name: str
    pixels: int
    area_share: float
    mean_score: float
    box: Box | None


@dataclasses.dataclass(frozen=True)
class Level:
    """Rejection before one decoder level, as indices of categories; `rejected` is empty unless it was asked for."""

    level: int
    candidates: int
    survivors: tuple[int, ...]
    rejected: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Rejection:
    """The report of category early rejection; top_k is 0 when it was off."""

    top_k: int
    levels: tuple[Level, ...]


@dataclasses.dataclass(frozen=True)
class StageTime:
    """Seconds that one stage waited and took."""

    stage: str
    queue_wait: float
    duration: float


@dataclasses.dataclass(frozen=True)
class Timings:
    """Times of the server's stages, in seconds, and its cache hits."""

    total: float
    stages: tuple[StageTime, ...]
    text_cache_hits: int
    text_cache_misses: int
    vocabulary_cache_hit: bool
    image_cache_hit: bool


@dataclasses.dataclass(frozen=True)
class InputWarning:
    """A warning about an accepted request.

    reason: stable, for example `PHRASE_CUT`; proto/sed/v1/warning.proto explains each.
    field: path in the request. message: the finding, and its effect on the result.
    """

    reason: str
    field: str
    message: str


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """The result for one picture.

    mask: the index of a category for every pixel, uint8 or uint16 [height, width], read-only.
    unlabelled_index: the value of pixels that belong to no category.
    categories: one for each of the vocabulary, in its order.
    image_size: (width, height) of the picture, after its EXIF orientation.
    image_id: replaces the picture in later requests; None when the server stores no images.
    warnings: about the words that the request has written out.
    overlay_png: the picture with the categories painted over it; empty unless it was asked for.
    """

    mask: IndexMap
    unlabelled_index: int
    unlabelled_pixels: int
    categories: tuple[Category, ...]
    rejection: Rejection
    timings: Timings
    image_size: tuple[int, int]
    image_id: ImageId | None
    request_id: str
    model_name: str
    model_digest: str
    warnings: tuple[InputWarning, ...]
    overlay_png: bytes = dataclasses.field(repr=False)

    @property
    def present(self) -> list[Category]:
        """The categories that have pixels, the largest first."""
        found = [category for category in self.categories if category.pixels]
        return sorted(found, key=lambda category: category.pixels, reverse=True)

    def category(self, name: str) -> Category:
        """The category of this name; KeyError where the vocabulary has none."""
        for category in self.categories:
            if category.name == name:
                return category
        raise KeyError(name)

    def mask_of(self, name: str) -> npt.NDArray[np.bool_]:
        """The pixels of one category, bool [height, width]; KeyError where the vocabulary has no such name."""
        return np.equal(self.mask, self.category(name).index)

    def overlay(self) -> Image.Image:
        """The picture with the categories painted over it, as the server painted it with `overlay=True`."""
        if not self.overlay_png:
            raise ValueError("no overlay was asked for: segment(..., overlay=True)")
        return Image.open(io.BytesIO(self.overlay_png), formats=["PNG"])


def segmentation(answer: pb.SegmentResponse) -> Segmentation:
    """Reads an answer."""
    mask = answer.masks[0]
    return Segmentation(
        mask=_index_map(mask, answer.mask_size.width, answer.mask_size.height),
        unlabelled_index=mask.unlabelled_index,
        unlabelled_pixels=answer.unlabelled_pixels,
        categories=tuple(_category(category) for category in answer.categories),
        rejection=Rejection(answer.rejection.top_k, tuple(_level(level) for level in answer.rejection.levels)),
        timings=_timings(answer.latency),
        image_size=(answer.image_size.width, answer.image_size.height),
        image_id=ImageId(answer.image_id) if answer.image_id else None,
        request_id=answer.request_id,
        model_name=answer.model_name,
        model_digest=answer.model_digest,
        warnings=warnings_of(answer.warnings),
        overlay_png=answer.overlay_png,
    )


def warnings_of(found: Iterable[warning_pb2.Warning]) -> tuple[InputWarning, ...]:
    """Reads the warnings of an answer. One whose reason is newer than this client has its number for it."""
    return tuple(InputWarning(_reason(warning), warning.field, warning.message) for warning in found)


def _reason(warning: warning_pb2.Warning) -> str:
    known = warning_pb2.WarningReason.DESCRIPTOR.values_by_number.get(warning.reason)
    return str(warning.reason) if known is None else known.name.removeprefix("WARNING_REASON_")


def _index_map(mask: mask_pb2.Mask, width: int, height: int) -> IndexMap:
    if mask.HasField("raw_indices"):
        return np.frombuffer(mask.raw_indices, np.dtype("<u2")).reshape(height, width)
    return np.asarray(Image.open(io.BytesIO(mask.index_png), formats=["PNG"]))


def _category(category: pb.CategoryResult) -> Category:
    box = category.bounding_box
    return Category(
        index=category.index,
        name=category.name,
        pixels=category.pixels,
        area_share=category.area_share,
        mean_score=category.mean_score,
        box=Box(box.x, box.y, box.width, box.height) if category.HasField("bounding_box") else None,
    )


def _level(level: report_pb2.LevelReport) -> Level:
    return Level(level.level, level.candidates, tuple(level.survivors), tuple(level.rejected))


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _timings(report: report_pb2.LatencyReport) -> Timings:
    stages = (
        StageTime(
            stage=report_pb2.Stage.Name(stage.stage).removeprefix("STAGE_").lower(),
            queue_wait=_seconds(stage.queue_wait),
            duration=_seconds(stage.duration),
        )
        for stage in report.stages
    )
    return Timings(
        total=_seconds(report.total),
        stages=tuple(stages),
        text_cache_hits=report.text_cache_hits,
        text_cache_misses=report.text_cache_misses,
        vocabulary_cache_hit=report.vocabulary_cache_hit,
        image_cache_hit=report.image_cache_hit,
    )
