"""Answers, converted into dataclasses and arrays."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from .planes import IndexMap, ScoreMap, index_map, runner_up_map, score_map
from .request import ImageId
from .shapes import CocoRle, Polygon, polygons, rle
from .v1 import report_pb2, warning_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf import duration_pb2

    from .v1 import segmentation_service_pb2 as pb


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
    """Rejection before one decoder level, as indices of categories; `rejected` is empty unless it was asked for.

    Contrast words are counted apart: those before the rejection, and those that went on into the level.
    """

    level: int
    candidates: int
    survivors: tuple[int, ...]
    rejected: tuple[int, ...]
    contrast_candidates: int
    contrast_survivors: int


@dataclasses.dataclass(frozen=True)
class Rejection:
    """The report of category early rejection; top_k is 0 when it was off."""

    top_k: int
    levels: tuple[Level, ...]


@dataclasses.dataclass(frozen=True)
class Ambiguity:
    """Two categories between which the model could hardly choose in a noticeable part of the picture.

    names, indices: of the two, by rising index. pixels: where one of them is best and the other second best, by a small
    margin; area_share: the same as a share of the mask, 0 to 1. mean_margin: over these pixels, 0 to 1.
    text_similarity: cosine of the categories' text embeddings, -1 to 1; None if it could not be had in time.
    """

    names: tuple[str, str]
    indices: tuple[int, int]
    pixels: int
    area_share: float
    mean_margin: float
    text_similarity: float | None


@dataclasses.dataclass(frozen=True)
class Contrast:
    """The contrast words of a request, and the pixels at which one of them is best, before `min_area`."""

    names: tuple[str, ...]
    pixels: int


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
    metadata: values of the message for programs, for example `tokens` and `room`.
    """

    reason: str
    field: str
    message: str
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)


class CocoResult(TypedDict):
    """One category of one picture in the COCO format of results; area in pixels, bbox [x, y, width, height]."""

    image_id: int | str
    category_id: int
    segmentation: CocoRle
    area: int
    bbox: list[int]
    score: float


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """The result for one picture.

    mask: the index of a category for every pixel, uint8 or uint16 [height, width], read-only.
    unlabelled_index: the value of pixels that belong to no category.
    categories: one for each of the vocabulary, in its order.
    image_size: (width, height) of the picture, after its EXIF orientation.
    image_id: replaces the picture in later requests; None when the server stores no images.
    warnings: about the words that the request has written out.
    confidence: the score of the best category of every pixel, before thresholds and `min_area`, 0 to 1, float32
        [height, width]. None unless it was asked for, as the two that follow.
    runner_up: the index of the second best category, of the type of `mask`; the unlabelled index where no other
        category is left, or the second best is a contrast word.
    margin: the score of the best less that of the second best, 0 to 1, float32 [height, width]; the score itself where
        `runner_up` has none.
    ambiguities: the pairs of categories between which the model could hardly choose, the largest first; empty unless
        they were asked for.
    contrast: the contrast words; None if the request has none.
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
    confidence: ScoreMap | None
    runner_up: IndexMap | None
    margin: ScoreMap | None
    ambiguities: tuple[Ambiguity, ...]
    contrast: Contrast | None
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

    def rle(self, name: str) -> CocoRle:
        """The pixels of one category as COCO run lengths, of the size of `mask`; KeyError as `mask_of`."""
        return rle(self.mask_of(name))

    def polygons(self, name: str) -> list[Polygon]:
        """The regions of one category with their outlines along pixel borders, exact; KeyError as `mask_of`."""
        return polygons(self.mask_of(name))

    def to_coco(self, image_id: int | str, category_ids: Mapping[str, int] | None = None) -> list[CocoResult]:
        """The present categories as COCO results, the largest first, as `pycocotools.coco.COCO.loadRes` accepts them.

        image_id: the picture's id in the data set. category_ids: the data set's, by the names of categories; without
        them an id is the category's index plus 1. Categories that `category_ids` lacks are left out; KeyError as
            `mask_of` for a name that the vocabulary lacks.
        """
        if category_ids is None:
            category_ids = {category.name: category.index + 1 for category in self.categories}
        for name in category_ids:
            self.category(name)
        return [
            CocoResult(
                image_id=image_id,
                category_id=category_ids[category.name],
                segmentation=self.rle(category.name),
                area=category.pixels,
                bbox=[category.box.x, category.box.y, category.box.width, category.box.height],
                score=category.mean_score,
            )
            for category in self.present
            if category.name in category_ids and category.box is not None
        ]

    def _repr_png_(self) -> bytes | None:
        """The overlay, which notebooks show; None without `overlay=True`, and they print the fields."""
        return self.overlay_png or None


def segmentation(answer: pb.SegmentResponse) -> Segmentation:
    """Reads an answer."""
    mask, width, height = answer.masks[0], answer.mask_size.width, answer.mask_size.height
    by_content = {mask.WhichOneof("content"): mask for mask in answer.masks}
    scores, margins = by_content.get("raw_scores"), by_content.get("raw_margins")
    runner_up = by_content.get("runner_up_png")
    return Segmentation(
        mask=index_map(mask, width, height),
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
        confidence=score_map(scores.raw_scores, width, height) if scores else None,
        runner_up=runner_up_map(runner_up, mask.unlabelled_index) if runner_up else None,
        margin=score_map(margins.raw_margins, width, height) if margins else None,
        ambiguities=tuple(_ambiguity(found, answer.categories) for found in answer.ambiguities),
        contrast=_contrast(answer.contrast) if answer.HasField("contrast") else None,
        overlay_png=answer.overlay_png,
    )


def warnings_of(found: Iterable[warning_pb2.Warning]) -> tuple[InputWarning, ...]:
    """Reads the warnings of an answer. One whose reason is newer than this client has its number for it."""
    return tuple(
        InputWarning(_reason(warning), warning.field, warning.message, dict(warning.metadata)) for warning in found
    )


def _reason(warning: warning_pb2.Warning) -> str:
    known = warning_pb2.WarningReason.DESCRIPTOR.values_by_number.get(warning.reason)
    return str(warning.reason) if known is None else known.name.removeprefix("WARNING_REASON_")


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
    return Level(
        level=level.level,
        candidates=level.candidates,
        survivors=tuple(level.survivors),
        rejected=tuple(level.rejected),
        contrast_candidates=level.contrast_candidates,
        contrast_survivors=level.contrast_survivors,
    )


def _ambiguity(found: report_pb2.Ambiguity, categories: Sequence[pb.CategoryResult]) -> Ambiguity:
    first, second = found.first_index, found.second_index
    return Ambiguity(
        names=(categories[first].name, categories[second].name),
        indices=(first, second),
        pixels=found.pixels,
        area_share=found.area_share,
        mean_margin=found.mean_margin,
        text_similarity=found.text_similarity if found.HasField("text_similarity") else None,
    )


def _contrast(report: report_pb2.ContrastReport) -> Contrast:
    return Contrast(names=tuple(report.names), pixels=report.pixels)


def seconds(duration: duration_pb2.Duration) -> float:
    """Reads a duration."""
    return duration.seconds + duration.nanos / 1e9


def _timings(report: report_pb2.LatencyReport) -> Timings:
    stages = (
        StageTime(
            stage=report_pb2.Stage.Name(stage.stage).removeprefix("STAGE_").lower(),
            queue_wait=seconds(stage.queue_wait),
            duration=seconds(stage.duration),
        )
        for stage in report.stages
    )
    return Timings(
        total=seconds(report.total),
        stages=tuple(stages),
        text_cache_hits=report.text_cache_hits,
        text_cache_misses=report.text_cache_misses,
        vocabulary_cache_hit=report.vocabulary_cache_hit,
        image_cache_hit=report.image_cache_hit,
    )
