"""Requests, made from pictures and words."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from .v1 import image_pb2, options_pb2, vocabulary_pb2
from .v1 import segmentation_service_pb2 as pb

if TYPE_CHECKING:
    from typing_extensions import Unpack

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class ImageId:
    """The id of a picture whose features the server still holds: `Segmentation.image_id` of an earlier answer."""

    value: str


Picture: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[np.uint8] | ImageId
)
"""A path, the bytes of an image file, a file that is open in binary mode (it is read from where it stands), a Pillow
image, an RGB array [height, width, 3], or the id of an earlier one."""

Words: TypeAlias = Sequence[str | Sequence[str]]
"""Categories: for each its name, or a list of its name and synonyms."""


class WordOptions(TypedDict, total=False):
    """Options of the words; proto/sed/v1/vocabulary.proto explains each. Left out, a named vocabulary's own hold.

    synonyms: `mean` looks for the mean of a category's phrases (the default of words written out), `best` for every
        phrase, of which the best one counts at each pixel.
    contrast: words for what else the picture may show. They compete with the categories, and their pixels are
        unlabelled: words, the name of a vocabulary, `auto` for the server's choice, or None for none.
    """

    synonyms: Literal["mean", "best"]
    contrast: Words | str | None


class Options(WordOptions, total=False):
    """Options of the segmentation and of its answer; proto/sed/v1/options.proto explains each.

    category_thresholds: thresholds by the name of a category, or by its index; they override `score_threshold`. None
        is as left out.
    size: of the mask: `model`, or (width, height); without it that of the picture.
    encoding: how the mask travels: `png` (small; the default) or `raw` (no work for either side, 2 bytes a pixel).
    overlay: have the server paint the categories over the picture, for `Segmentation.overlay`; `fade_unsure` fades the
        colours where the margin is small.
    confidence, runner_up, margin: have the array of this name in the answer.
    report_ambiguities: have `Segmentation.ambiguities` in the answer.
    """

    top_k: int
    score_threshold: float
    category_thresholds: Mapping[str | int, float] | Mapping[str, float] | Mapping[int, float] | None
    size: Literal["model"] | tuple[int, int]
    resize: Literal["direct", "two_step"]
    encoding: Literal["png", "raw"]
    min_area: int
    overlay: bool | Literal["fade_unsure"]
    priority: Literal["low", "normal", "high"]
    list_rejected: bool
    confidence: bool
    runner_up: bool
    margin: bool
    report_ambiguities: bool


_SYNONYMS = {"mean": vocabulary_pb2.SYNONYM_MODE_MEAN, "best": vocabulary_pb2.SYNONYM_MODE_BEST}
_RESIZE = {"direct": options_pb2.RESIZE_MODE_DIRECT, "two_step": options_pb2.RESIZE_MODE_TWO_STEP}
_ENCODING = {"png": options_pb2.MASK_ENCODING_INDEX_PNG, "raw": options_pb2.MASK_ENCODING_RAW}
_PIXELS = {
    "confidence": options_pb2.MASK_ENCODING_SCORE_RAW,
    "runner_up": options_pb2.MASK_ENCODING_RUNNER_UP_PNG,
    "margin": options_pb2.MASK_ENCODING_MARGIN_RAW,
}
_PRIORITY = {
    "low": options_pb2.PRIORITY_LOW,
    "normal": options_pb2.PRIORITY_NORMAL,
    "high": options_pb2.PRIORITY_HIGH,
}


def segment(
    picture: Picture, categories: Words | None, vocabulary: str | None, request_id: str, **options: Unpack[Options]
) -> pb.SegmentRequest:
    """Makes the request for one picture."""
    if (categories is None) == (vocabulary is None):
        raise ValueError("give either categories or the name of a vocabulary")
    if isinstance(categories, str):
        raise TypeError(f"categories is {categories!r}, not a list of words; give a list, or vocabulary={categories!r}")
    words = _vocabulary(categories, vocabulary, options)
    return pb.SegmentRequest(
        image=image(picture), vocabulary=words, options=segment_options(**options), request_id=request_id
    )


def new_vocabulary(
    categories: Words, *, embed: bool, **options: Unpack[WordOptions]
) -> vocabulary_pb2.CreateVocabularyRequest:
    """Makes the request that registers words."""
    _check_known(options, WordOptions)
    return vocabulary_pb2.CreateVocabularyRequest(
        categories=category_list(categories),
        embed=embed,
        synonym_mode=_synonym_mode(options),
        contrast=_contrast(options),
    )


def preparation(
    words: Words | str | None, vocabulary: str | None, **options: Unpack[WordOptions]
) -> vocabulary_pb2.PrepareVocabularyRequest:
    """Makes the request that prepares words, or a vocabulary by its name, which may stand in either place."""
    _check_known(options, WordOptions)
    if (words is None) == (vocabulary is None):
        raise ValueError("give either words or the name of a vocabulary")
    if isinstance(words, str):
        words, vocabulary = None, words
    return vocabulary_pb2.PrepareVocabularyRequest(vocabulary=_vocabulary(words, vocabulary, options))


def _vocabulary(categories: Words | None, name: str | None, options: WordOptions) -> vocabulary_pb2.Vocabulary:
    mode, contrast = _synonym_mode(options), _contrast(options)
    if categories is not None:
        made = category_list(categories)
        return vocabulary_pb2.Vocabulary(categories=made, synonym_mode=mode, contrast=contrast)
    return vocabulary_pb2.Vocabulary(name=name or "", synonym_mode=mode, contrast=contrast)


def _synonym_mode(options: WordOptions) -> vocabulary_pb2.SynonymMode.ValueType:
    if "synonyms" not in options:
        return vocabulary_pb2.SYNONYM_MODE_UNSPECIFIED
    return _chosen("synonyms", _SYNONYMS, options["synonyms"])


def _contrast(options: WordOptions) -> vocabulary_pb2.Contrast | None:
    """The contrast words; a message without a source where there are to be none."""
    if "contrast" not in options:
        return None
    words = options["contrast"]
    if words is None:
        return vocabulary_pb2.Contrast()
    if not isinstance(words, str):
        return vocabulary_pb2.Contrast(categories=category_list(words))
    if words == "auto":
        return vocabulary_pb2.Contrast(automatic=vocabulary_pb2.AutoContrast())
    return vocabulary_pb2.Contrast(name=words)


def category_list(categories: Words) -> vocabulary_pb2.CategoryList:
    """Converts categories into a message."""
    if isinstance(categories, str):
        raise TypeError(f"categories is {categories!r}, not a list of words; give a list")
    made = []
    for number, category in enumerate(categories):
        phrases = [category] if isinstance(category, str) else category
        if not isinstance(phrases, Iterable) or not all(isinstance(phrase, str) for phrase in phrases):
            raise TypeError(f"category {number} is {category!r}; give a name, or a list of a name and its synonyms")
        if not phrases:
            raise ValueError(f"category {number} is an empty list; give a name, or a list of a name and its synonyms")
        name, *synonyms = phrases
        made.append(vocabulary_pb2.Category(name=name, synonyms=synonyms))
    return vocabulary_pb2.CategoryList(categories=made)


def image(picture: Picture) -> image_pb2.Image:
    """Converts a picture into a message; a Pillow image is turned by its EXIF orientation, as the server does."""
    if isinstance(picture, ImageId):
        return image_pb2.Image(id=picture.value)
    if isinstance(picture, (str, os.PathLike)):
        return image_pb2.Image(encoded=Path(picture).read_bytes())
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return image_pb2.Image(encoded=_bytes(picture))
    if isinstance(picture, Image.Image):
        pixels = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    elif isinstance(picture, np.ndarray) or hasattr(picture, "__array__"):
        pixels = np.asarray(picture)
    elif hasattr(picture, "read"):
        return image_pb2.Image(encoded=_content(picture))
    else:
        known = "a path, bytes, a file in binary mode, a Pillow image, an RGB array or an ImageId"
        raise TypeError(f"a picture is {known}, not {type(picture).__name__}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:  # noqa: PLR2004
        raise ValueError(f"an array must be uint8 [height, width, 3] in RGB order, not {pixels.dtype} {pixels.shape}")
    height, width, _ = pixels.shape
    return image_pb2.Image(raw=image_pb2.RawImage(pixels=pixels.tobytes(), width=width, height=height))


def _content(file: BinaryIO) -> bytes:
    content = file.read()
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"reading the picture gave {type(content).__name__}, not bytes; open the file in binary mode")
    if not content:
        raise ValueError("the picture's file has nothing left to read; go to its beginning with seek(0)")
    return _bytes(content)


def _bytes(content: bytes | bytearray | memoryview) -> bytes:
    """The bytes of an image file. Views of pixels or of wider numbers hold none."""
    if isinstance(content, memoryview) and not (content.ndim == 1 and content.format in ("B", "b", "c")):
        found = f"one of format {content.format!r} and shape {content.shape}"
        wanted = "the bytes of an image file, of format 'B' and with one dimension"
        raise TypeError(f"the picture's memoryview must hold {wanted}, not {found}; give pixels as an array")
    return bytes(content)


def segment_options(**options: Unpack[Options]) -> options_pb2.SegmentOptions:
    """Converts options into a message."""
    _check_known(options, Options)
    made = options_pb2.SegmentOptions(
        top_k=options.get("top_k"),
        score_threshold=options.get("score_threshold"),
        resize_mode=_chosen("resize", _RESIZE, options.get("resize", "direct")),
        category_thresholds=_thresholds(options.get("category_thresholds")),
        mask_encodings=[
            _chosen("encoding", _ENCODING, options.get("encoding", "png")),
            *(encoding for pixels, encoding in _PIXELS.items() if options.get(pixels)),
        ],
        min_area=options.get("min_area", 0),
        overlay=_overlay(options.get("overlay", False)),
        priority=_chosen("priority", _PRIORITY, options.get("priority", "normal")),
        list_rejected=options.get("list_rejected", False),
        report_ambiguities=options.get("report_ambiguities", False),
    )
    size = options.get("size")
    if size == "model":
        made.output_size.preset = options_pb2.OUTPUT_SIZE_PRESET_MODEL
    elif size is not None:
        made.output_size.exact.width, made.output_size.exact.height = size
    return made


def _thresholds(
    given: Mapping[str | int, float] | Mapping[str, float] | Mapping[int, float] | None,
) -> list[options_pb2.CategoryThreshold]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise TypeError(
            f"category_thresholds is {given!r}; give a threshold for each name or index, such as {{'sofa': 0.4}}"
        )
    return [_threshold(category, threshold) for category, threshold in given.items()]


def _threshold(category: str | int, threshold: float) -> options_pb2.CategoryThreshold:
    if isinstance(category, str):
        return options_pb2.CategoryThreshold(name=category, threshold=threshold)
    return options_pb2.CategoryThreshold(index=category, threshold=threshold)


def _overlay(wanted: bool | str) -> options_pb2.Overlay | None:
    if isinstance(wanted, str) and wanted != "fade_unsure":
        raise ValueError(f"overlay is True, False or fade_unsure, not {wanted}")
    return options_pb2.Overlay(fade_unsure=wanted == "fade_unsure") if wanted else None


def _check_known(options: Mapping[str, object], known: type[WordOptions]) -> None:
    unknown = options.keys() - known.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")


def _chosen(option: str, values: dict[str, _Value], name: str) -> _Value:
    if name not in values:
        raise ValueError(f"{option} is one of {', '.join(values)}, not {name}")
    return values[name]
