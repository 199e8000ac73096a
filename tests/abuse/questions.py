"""The requests of the honest clients, and what is equal in two answers to the same one."""

import json
from pathlib import Path

from sed_serve_client.v1 import image_pb2, options_pb2, vocabulary_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb

EXAMPLES = Path(__file__).resolve().parents[2] / "models" / "sed-tiny" / "examples"


def words(names: list[str]) -> vocabulary_pb2.Vocabulary:
    """A vocabulary, written out."""
    categories = [vocabulary_pb2.Category(name=name) for name in names]
    return vocabulary_pb2.Vocabulary(categories=vocabulary_pb2.CategoryList(categories=categories))


def known_words() -> list[str]:
    """The words of the first example: every honest client asks for them now and then."""
    return list(json.loads((EXAMPLES / "examples.json").read_text())[0]["words"])


def picture() -> bytes:
    """A picture file."""
    return (EXAMPLES / "farm.png").read_bytes()


def segment(encoded: bytes, names: list[str], **options: object) -> pb.SegmentRequest:
    """A request for one picture file."""
    return pb.SegmentRequest(
        image=image_pb2.Image(encoded=encoded),
        vocabulary=words(names),
        options=options_pb2.SegmentOptions(**options),  # type: ignore[arg-type]
    )


def raw_answer(side: int) -> pb.SegmentRequest:
    """A request with an answer of 2 * side * side bytes."""
    size = options_pb2.OutputSize(exact=image_pb2.Size(width=side, height=side))
    return segment(picture(), known_words(), output_size=size, mask_encodings=[options_pb2.MASK_ENCODING_RAW])


def examples() -> list[pb.SegmentRequest]:
    """Every example picture with its words."""
    found = json.loads((EXAMPLES / "examples.json").read_text())
    return [segment((EXAMPLES / example["file"]).read_bytes(), example["words"]) for example in found]


def essence(answer: pb.SegmentResponse) -> bytes:
    """The part of an answer that must be the same whatever else the server does."""
    kept = pb.SegmentResponse(masks=answer.masks, categories=answer.categories, image_size=answer.image_size)
    return kept.SerializeToString(deterministic=True)
