"""The questions of the load, with the answers of a single server."""

import io
import json
from typing import Any

from PIL import Image as Picture

from client import ROOT, calls_of
from load import Question
from processes import Failed, Replica

EXAMPLES = ROOT / "models" / "sed-tiny" / "examples"


def words(names: list[str]) -> Any:
    """A vocabulary, written out."""
    from sed.v1 import vocabulary_pb2 as vocabulary

    categories = [vocabulary.Category(name=name) for name in names]
    return vocabulary.Vocabulary(categories=vocabulary.CategoryList(categories=categories))


def request(vocabulary: Any, **source: Any) -> Any:
    """A request for one picture."""
    from sed.v1 import image_pb2 as image
    from sed.v1 import segmentation_service_pb2 as service

    return service.SegmentRequest(image=image.Image(**source), vocabulary=vocabulary)


def requests() -> dict[str, Any]:
    """Every example picture with its words, as a file and as raw pixels: those are larger than what gRPC's clients keep
    for a retry unless they are told to."""
    from sed.v1 import image_pb2 as image

    found = {}
    for example in json.loads((EXAMPLES / "examples.json").read_text()):
        encoded = (EXAMPLES / example["file"]).read_bytes()
        pixels = Picture.open(io.BytesIO(encoded)).convert("RGB")
        raw = image.RawImage(pixels=pixels.tobytes(), width=pixels.width, height=pixels.height)
        for kind, source in [("file", {"encoded": encoded}), ("pixels", {"raw": raw})]:
            found[f"{example['file']} as {kind}"] = request(words(example["words"]), **source)
    return found


def answered_by(single: Replica) -> list[Question]:
    """The questions with the masks of a server that has them all to itself, one at a time."""
    calls = calls_of(single.address)
    questions = []
    for name, message in requests().items():
        questions.append(Question(name, message, calls.Segment(message).masks[0].index_png))
    if len({question.mask for question in questions}) < len(questions) // 2:
        raise Failed("different pictures have the same answer")
    return questions
