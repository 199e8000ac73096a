"""Fields of requests and answers that say how sure the model is: a test server notes the request, and answers with
known values.

python fields.py
"""

import asyncio
import io
from concurrent import futures

import grpc
import numpy as np
from PIL import Image
from sed_serve_client import Ambiguity, AsyncClient, Client, Contrast, Request
from sed_serve_client.v1 import mask_pb2, options_pb2, vocabulary_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services

from moody import refused

BEST = np.array([[0, 1, 2], [2, 2, 0]])
SECOND = np.array([[1, 0, -1], [0, 1, 2]])  # -1: unlabelled
SCORES = np.array([[0.5, 0.25, 0.125], [1.0, 0.0, 0.75]])
MARGINS = np.array([[0.25, 0.0, 0.125], [0.5, 0.0, 2**-14]])
NAMES = ["cat", "dog", "sky"]
SURE = {"confidence": True, "runner_up": True, "margin": True}


class Sure(services.SegmentationServiceServicer):
    """Answers with the same values every time; index PNGs have 8 bits, or 16 if `wide`."""

    def __init__(self) -> None:
        self.wide = False
        self.asked = pb.SegmentRequest()
        self.streamed: list[pb.SegmentStreamRequest] = []
        self.created = vocabulary_pb2.CreateVocabularyRequest()

    def Segment(self, request, context):
        """Notes the request, and answers in the encodings that it asks for."""
        self.asked = request
        answer = pb.SegmentResponse(masks=map(self._mask, request.options.mask_encodings))
        answer.mask_size.width, answer.mask_size.height = 3, 2
        for index, name in enumerate(NAMES):
            answer.categories.add(index=index, name=name)
        answer.rejection.levels.add(level=1, candidates=3, contrast_candidates=4, contrast_survivors=2)
        if request.options.report_ambiguities:
            answer.ambiguities.add(
                first_index=0, second_index=2, pixels=3, area_share=0.5, mean_margin=0.0625, text_similarity=-0.5
            )
            answer.ambiguities.add(first_index=1, second_index=2, pixels=1, area_share=0.125, mean_margin=0.25)
        if request.vocabulary.HasField("contrast"):
            answer.contrast.names.extend(["wall", "floor"])
            answer.contrast.pixels = 1 << 40
        return answer

    def SegmentStream(self, requests, context):
        """Answers each as Segment does."""
        for request in requests:
            self.streamed.append(request)
            number = request.request.request_id
            yield pb.SegmentStreamResponse(request_id=number, response=self.Segment(request.request, context))

    def CreateVocabulary(self, request, context):
        """Notes the request."""
        self.created = request
        return vocabulary_pb2.CreateVocabularyResponse(vocabulary=named("voc-1"))

    def GetVocabulary(self, request, context):
        """Answers with a vocabulary of this name."""
        return vocabulary_pb2.GetVocabularyResponse(vocabulary=named(request.name))

    def _mask(self, encoding: int) -> mask_pb2.Mask:
        unlabelled, index = (65535, np.uint16) if self.wide else (255, np.uint8)
        if encoding == options_pb2.MASK_ENCODING_INDEX_PNG:
            return mask_pb2.Mask(unlabelled_index=unlabelled, index_png=png(BEST.astype(index)))
        if encoding == options_pb2.MASK_ENCODING_RAW:
            return mask_pb2.Mask(unlabelled_index=65535, raw_indices=BEST.astype("<u2").tobytes())
        if encoding == options_pb2.MASK_ENCODING_RUNNER_UP_PNG:
            return mask_pb2.Mask(unlabelled_index=unlabelled, runner_up_png=png(SECOND.astype(index)))
        if encoding == options_pb2.MASK_ENCODING_SCORE_RAW:
            return mask_pb2.Mask(unlabelled_index=65535, raw_scores=SCORES.astype("<f2").tobytes())
        assert encoding == options_pb2.MASK_ENCODING_MARGIN_RAW
        return mask_pb2.Mask(unlabelled_index=65535, raw_margins=MARGINS.astype("<f2").tobytes())


def named(name: str) -> vocabulary_pb2.NamedVocabulary:
    """A vocabulary, of which a part is embedded."""
    best = vocabulary_pb2.SYNONYM_MODE_BEST
    return vocabulary_pb2.NamedVocabulary(
        name=name, size=3, phrases=7, embedded_phrases=5, synonym_mode=best, contrast_size=2
    )


def png(indices: np.ndarray) -> bytes:
    """An index map as the server encodes it: with a palette, or 16 bits of grey."""
    image = Image.fromarray(indices)
    if indices.dtype == np.uint8:
        image.putpalette(bytes(range(256)) * 3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def check_answers(sure: Sure, client: Client) -> None:
    """Arrays and reports, in every form in which a mask travels."""
    for sure.wide in (False, True):
        for encoding in ("png", "raw"):
            found = client.segment(b"x", NAMES, encoding=encoding, report_ambiguities=True, contrast="auto", **SURE)
            unlabelled = 65535 if sure.wide or encoding == "raw" else 255
            assert found.unlabelled_index == unlabelled
            assert found.runner_up.dtype == found.mask.dtype == (np.uint8 if unlabelled == 255 else np.uint16)
            assert (found.mask == BEST).all()
            assert (found.runner_up == np.where(SECOND < 0, unlabelled, SECOND)).all()
            assert found.confidence.dtype == found.margin.dtype == np.float32
            assert (found.confidence == SCORES).all() and (found.margin == MARGINS).all()
    assert found.ambiguities == (
        Ambiguity(("cat", "sky"), (0, 2), 3, 0.5, 0.0625, -0.5),
        Ambiguity(("dog", "sky"), (1, 2), 1, 0.125, 0.25, None),
    )
    assert found.contrast == Contrast(("wall", "floor"), 1 << 40)
    level = found.rejection.levels[0]
    assert (level.candidates, level.contrast_candidates, level.contrast_survivors) == (3, 4, 2)

    plain = client.segment(b"x", NAMES)
    assert list(sure.asked.options.mask_encodings) == [options_pb2.MASK_ENCODING_INDEX_PNG]
    assert plain.confidence is plain.runner_up is plain.margin is plain.contrast is None
    assert plain.ambiguities == ()
    only = client.segment(b"x", NAMES, margin=True)
    assert only.confidence is None and only.runner_up is None and (only.margin == MARGINS).all()
    streamed = list(client.segment_stream([b"x", b"y"], NAMES, confidence=True, contrast=["wall"], synonyms="best"))
    assert all((found.confidence == SCORES).all() and found.contrast.names for _, found in streamed)
    assert sure.asked.vocabulary.synonym_mode == vocabulary_pb2.SYNONYM_MODE_BEST


def check_requests(sure: Sure, client: Client) -> None:
    """Options of the words and of the answer, as they are sent."""

    def asked(*words, **options) -> pb.SegmentRequest:
        client.segment(b"x", *words, **options)
        return sure.asked

    request = asked(NAMES)
    assert not request.vocabulary.HasField("contrast") and not request.vocabulary.synonym_mode
    assert not request.options.category_thresholds and not request.options.report_ambiguities
    request = asked(NAMES, contrast=None, synonyms="mean")
    assert request.vocabulary.HasField("contrast") and request.vocabulary.contrast.WhichOneof("source") is None
    assert request.vocabulary.synonym_mode == vocabulary_pb2.SYNONYM_MODE_MEAN
    assert asked(NAMES, contrast="auto").vocabulary.contrast.WhichOneof("source") == "automatic"
    assert asked(NAMES, contrast="ade20k-150").vocabulary.contrast.name == "ade20k-150"
    words = asked(vocabulary="voc-1", contrast=["wall", ["floor", "ground"]]).vocabulary
    assert words.name == "voc-1"
    (wall, floor) = words.contrast.categories.categories
    assert (wall.name, floor.name, list(floor.synonyms)) == ("wall", "floor", ["ground"])

    request = asked(NAMES, score_threshold=0.25, category_thresholds={"cat": 0.5, 2: 0.75}, report_ambiguities=True)
    first, second = request.options.category_thresholds
    assert (first.name, first.threshold, second.index, second.threshold) == ("cat", 0.5, 2, 0.75)
    assert request.options.score_threshold == 0.25 and request.options.report_ambiguities
    assert not asked(NAMES, overlay=False).options.HasField("overlay")
    for overlay, fade in ((True, False), ("fade_unsure", True)):
        request = asked(NAMES, overlay=overlay)
        assert request.options.HasField("overlay") and request.options.overlay.fade_unsure == fade

    for wrong, kind in (
        ({"synonyms": "all"}, ValueError),
        ({"overlay": "fade"}, ValueError),
        ({"contrast": [7]}, TypeError),
    ):
        refused(lambda wrong=wrong: client.segment(b"x", NAMES, **wrong), kind)
    refused(lambda: client.create_vocabulary(NAMES, margin=True), TypeError)
    assert "vocabulary='ade20k-150'" in str(refused(lambda: client.segment(b"x", "ade20k-150"), TypeError))
    assert "vocabulary=" not in str(refused(lambda: client.create_vocabulary("ade20k-150"), TypeError))


MIXED = [
    b"x",
    Request(b"y", ["cow"], top_k=3),
    Request(b"z", vocabulary="voc-1", timeout=7, margin=True, synonyms="best"),
]


def check_mixed(asked: list[pb.SegmentStreamRequest], found: list[tuple[int, object]]) -> None:
    """Requests of a stream with words, a timeout and options of their own; what is left out is the stream's."""
    assert [number for number, _ in found] == [0, 1, 2]
    plain, cow, named = (message.request for message in asked)
    assert [category.name for category in plain.vocabulary.categories.categories] == NAMES
    assert [category.name for category in cow.vocabulary.categories.categories] == ["cow"]
    assert (named.vocabulary.name, named.vocabulary.HasField("categories")) == ("voc-1", False)
    assert [message.options.top_k for message in (plain, cow, named)] == [5, 3, 5]
    modes = vocabulary_pb2.SYNONYM_MODE_MEAN, vocabulary_pb2.SYNONYM_MODE_BEST
    assert [message.vocabulary.synonym_mode for message in (plain, cow, named)] == [modes[0], modes[0], modes[1]]
    assert [message.timeout.seconds for message in asked] == [9, 9, 7]
    assert found[1][1].margin is None and (found[2][1].margin == MARGINS).all()


def check_vocabularies(sure: Sure, client: Client) -> None:
    """The fields of a vocabulary."""
    made = client.create_vocabulary(NAMES, synonyms="best", contrast=["wall"], embed=True)
    assert (made.phrases, made.embedded_phrases, made.synonym_mode, made.contrast_size) == (7, 5, "best", 2)
    assert sure.created.embed and sure.created.synonym_mode == vocabulary_pb2.SYNONYM_MODE_BEST
    assert [category.name for category in sure.created.contrast.categories.categories] == ["wall"]
    client.create_vocabulary(NAMES)
    assert not sure.created.HasField("contrast") and not sure.created.synonym_mode and not sure.created.embed
    assert client.get_vocabulary("pets").embedded_phrases == 5


async def check_tasks(sure: Sure, target: str) -> None:
    """The other client has the same options."""
    async with AsyncClient(target) as client:
        found = await client.segment(b"x", NAMES, contrast="auto", category_thresholds={"cat": 0.5}, **SURE)
        assert (found.margin == MARGINS).all() and found.contrast.names == ("wall", "floor")
        assert sure.asked.options.category_thresholds[0].name == "cat"
        assert (await client.create_vocabulary(NAMES, contrast="auto")).contrast_size == 2
        assert sure.created.contrast.WhichOneof("source") == "automatic"
        sure.streamed = []
        stream = client.segment_stream(MIXED, NAMES, top_k=5, synonyms="mean", timeout=9)
        check_mixed(sure.streamed, [item async for item in stream])


def main() -> None:
    """Starts the server and checks both clients."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    sure = Sure()
    services.add_SegmentationServiceServicer_to_server(sure, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with Client(target) as client:
        check_answers(sure, client)
        check_requests(sure, client)
        check_vocabularies(sure, client)
        sure.streamed = []
        found = list(client.segment_stream(MIXED, NAMES, top_k=5, synonyms="mean", timeout=9))
        check_mixed(sure.streamed, found)
        refused(lambda: list(client.segment_stream([Request(b"x", NAMES), b"y"])), ValueError)
    asyncio.run(check_tasks(sure, target))
    server.stop(None).wait()
    print("scores, runner-up, margins, ambiguities, contrast words and thresholds: asked for and read as they are sent")


if __name__ == "__main__":
    main()
