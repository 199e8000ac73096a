"""The questions of the load, with the answers of a single server."""

import io
import json
from typing import Any

from client import ROOT, open_channel
from load import Question
from PIL import Image as Picture
from processes import Failed, Replica

EXAMPLES = ROOT / "models" / "sed-tiny" / "examples"


def words(names: list[str]) -> Any:
    """A vocabulary, written out."""
    from sed.v1 import vocabulary_pb2 as vocabulary

    categories = [vocabulary.Category(name=name) for name in names]
    return vocabulary.Vocabulary(categories=vocabulary.CategoryList(categories=categories))


def requests() -> dict[str, Any]:
    """Every example picture with its words, as a file and as raw pixels: those are larger than what gRPC's clients keep
    for a retry unless they are told to."""
    from sed.v1 import image_pb2 as image
    from sed.v1 import segmentation_service_pb2 as service

    found = {}
    for example in json.loads((EXAMPLES / "examples.json").read_text()):
        encoded = (EXAMPLES / example["file"]).read_bytes()
        pixels = Picture.open(io.BytesIO(encoded)).convert("RGB")
        raw = image.RawImage(pixels=pixels.tobytes(), width=pixels.width, height=pixels.height)
        for kind, source in [("file", image.Image(encoded=encoded)), ("pixels", image.Image(raw=raw))]:
            request = service.SegmentRequest(image=source, vocabulary=words(example["words"]))
            found[f"{example['file']} as {kind}"] = request
    return found


def answered_by(single: Replica) -> list[Question]:
    """The questions with the masks of a server that has them all to itself, one at a time."""
    from sed.v1 import segmentation_service_pb2_grpc as services

    with open_channel(single.address) as channel:
        stub = services.SegmentationServiceStub(channel)
        questions = []
        for name, request in requests().items():
            mask = stub.Segment(request).masks[0].index_png
            questions.append(Question(name, request, mask))
    if len({question.mask for question in questions}) < len(questions) // 2:
        raise Failed("different pictures have the same answer")
    return questions
