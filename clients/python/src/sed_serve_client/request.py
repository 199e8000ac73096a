"""Requests, made from pictures and words."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
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


class Options(TypedDict, total=False):
    """Options of the segmentation and of its answer; proto/sed/v1/options.proto explains each.

    size: of the mask: `model`, or (width, height); without it that of the picture.
    encoding: how the mask travels: `png` (small; the default) or `raw` (no work for either side, 2 bytes a pixel).
    overlay: have the server paint the categories over the picture, for `Segmentation.overlay`.
    """

    top_k: int
    score_threshold: float
    size: Literal["model"] | tuple[int, int]
    resize: Literal["direct", "two_step"]
    encoding: Literal["png", "raw"]
    min_area: int
    overlay: bool
    priority: Literal["low", "normal", "high"]
    list_rejected: bool


_RESIZE = {"direct": options_pb2.RESIZE_MODE_DIRECT, "two_step": options_pb2.RESIZE_MODE_TWO_STEP}
_ENCODING = {"png": options_pb2.MASK_ENCODING_INDEX_PNG, "raw": options_pb2.MASK_ENCODING_RAW}
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
    if categories is not None:
        words = vocabulary_pb2.Vocabulary(categories=category_list(categories))
    else:
        words = vocabulary_pb2.Vocabulary(name=vocabulary or "")
    return pb.SegmentRequest(
        image=image(picture), vocabulary=words, options=segment_options(**options), request_id=request_id
    )


def category_list(categories: Words) -> vocabulary_pb2.CategoryList:
    """Converts categories into a message."""
    if isinstance(categories, str):
        raise TypeError("categories is a list of words, not one word")
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
        return image_pb2.Image(encoded=bytes(picture))
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
    return bytes(content)


def segment_options(**options: Unpack[Options]) -> options_pb2.SegmentOptions:
    """Converts options into a message."""
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    made = options_pb2.SegmentOptions(
        top_k=options.get("top_k"),
        score_threshold=options.get("score_threshold"),
        resize_mode=_chosen("resize", _RESIZE, options.get("resize", "direct")),
        mask_encodings=[_chosen("encoding", _ENCODING, options.get("encoding", "png"))],
        min_area=options.get("min_area", 0),
        overlay=options_pb2.Overlay() if options.get("overlay") else None,
        priority=_chosen("priority", _PRIORITY, options.get("priority", "normal")),
        list_rejected=options.get("list_rejected", False),
    )
    size = options.get("size")
    if size == "model":
        made.output_size.preset = options_pb2.OUTPUT_SIZE_PRESET_MODEL
    elif size is not None:
        made.output_size.exact.width, made.output_size.exact.height = size
    return made


def _chosen(option: str, values: dict[str, _Value], name: str) -> _Value:
    if name not in values:
        raise ValueError(f"{option} is one of {', '.join(values)}, not {name}")
    return values[name]
