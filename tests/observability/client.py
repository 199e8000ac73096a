"""A client in Python that enters every call in a ledger. The code for the proto is generated at start."""

import atexit
import pathlib
import random
import shutil
import sys
import tempfile
from collections.abc import Iterable

import grpc
from grpc_tools import protoc

from documents import ROOT
from ledger import FRAME, Ledger

EXAMPLES = sorted((ROOT / "models" / "sed-tiny" / "examples").glob("*.png"))
BUILT_IN = ["pascal-voc-20", "pascal-context-59", "ade20k-150"]


def generate() -> None:
    """Generates the message and service classes of proto/sed/v1."""
    proto, into = ROOT / "proto", tempfile.mkdtemp()
    atexit.register(shutil.rmtree, into)
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    files = [str(file.relative_to(proto)) for file in sorted((proto / "sed" / "v1").glob("*.proto"))]
    arguments = ["protoc", f"-I{proto}", f"-I{include}", f"--python_out={into}", f"--grpc_python_out={into}"]
    if protoc.main(arguments + files) != 0:
        sys.exit("generating the client code failed")
    sys.path.insert(0, into)


generate()
from sed.v1 import image_pb2, options_pb2, vocabulary_pb2  # noqa: E402
from sed.v1 import segmentation_service_pb2 as pb  # noqa: E402
from sed.v1.segmentation_service_pb2_grpc import SegmentationServiceStub  # noqa: E402


class Client:
    """One connection and its account."""

    def __init__(self, address: str, ledger: Ledger) -> None:
        self.stub = SegmentationServiceStub(grpc.insecure_channel(address))
        self.ledger = ledger

    def segment(self, request, timeout: float = 60) -> tuple[object | None, str]:
        """A call that is answered or fails; gives the answer, or none and the reason."""
        try:
            answer = self.stub.Segment(request, timeout=timeout)
        except grpc.RpcError as error:
            self.ledger.histogram("sed_request_bytes", FRAME + request.ByteSize())
            return None, self.ledger.failed("Segment", error)
        self.ledger.code("Segment", "OK")
        self.ledger.histogram("sed_request_bytes", FRAME + request.ByteSize())
        self.ledger.histogram("sed_response_bytes", FRAME + answer.ByteSize())
        self.ledger.answered(answer, request.image.WhichOneof("source") != "id")
        return answer, ""

    def stream(self, requests: list) -> list[str]:
        """A stream whose requests are answered or refused; gives the reasons of those that were refused."""
        items = [pb.SegmentStreamRequest(request=request) for request in requests]
        for number, item in enumerate(items):
            item.request.request_id = str(number)
        answers = list(self.stub.SegmentStream(iter(items), timeout=60))
        self.ledger.code("SegmentStream", "OK")
        self.ledger.histogram("sed_request_bytes", sum(FRAME + item.ByteSize() for item in items))
        self.ledger.histogram("sed_response_bytes", sum(FRAME + answer.ByteSize() for answer in answers))
        reasons = []
        for answer in answers:
            if answer.WhichOneof("outcome") == "response":
                self.ledger.stream_code("OK")
                self.ledger.answered(answer.response, True)
            else:
                reasons.append(self.ledger.failed_on_stream(answer.error))
        return reasons

    def prepare(self, vocabulary) -> None:
        """Has words prepared that no server knows, and waits for them."""
        request = vocabulary_pb2.PrepareVocabularyRequest(vocabulary=vocabulary)
        *_, last = self.stub.PrepareVocabulary(request, timeout=60)
        assert last.ready and last.known == 0 and last.embedded == last.phrases, last
        self.ledger.code("PrepareVocabulary", "OK")
        self.ledger.add("sed_prepared_phrases_total", last.phrases)
        # The advice at the end compares the words, as a request would have them.
        self.ledger.add("sed_text_cache_hits_total", last.phrases)
        self.ledger.add("sed_vocabulary_cache_hits_total", 1)

    def call(self, method: str, request):
        """Any other call; it must succeed."""
        answer = getattr(self.stub, method)(request, timeout=60)
        self.ledger.code(method, "OK")
        return answer


def named(name: str):
    return vocabulary_pb2.Vocabulary(name=name)


def words(names: Iterable[str]):
    categories = [vocabulary_pb2.Category(name=name) for name in names]
    return vocabulary_pb2.Vocabulary(categories=vocabulary_pb2.CategoryList(categories=categories))


def picture(number: int):
    return image_pb2.Image(encoded=EXAMPLES[number % len(EXAMPLES)].read_bytes())


def request(image, vocabulary, top_k: int | None = None, **options):
    return pb.SegmentRequest(
        image=image, vocabulary=vocabulary, options=options_pb2.SegmentOptions(top_k=top_k, **options)
    )


def cold_words(random: random.Random, count: int):
    """Words that no server has heard of."""
    return words(
        f"{random.choice(['red', 'old', 'wet', 'tall'])} thing {random.randrange(10**9)}" for _ in range(count)
    )
