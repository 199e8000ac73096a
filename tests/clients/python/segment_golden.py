"""A client in another language: calls a running server and compares its masks with the reference.

python segment_golden.py HOST:PORT

The server must hold the reduced model of tests/golden/nano. The code for the proto is generated at start,
as a user would do it, so nothing generated is kept in the repository.
"""

import io
import json
import pathlib
import sys
import tempfile

import grpc
import numpy as np
from grpc_tools import protoc
from PIL import Image
from pycocotools import mask as coco

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "nano"


def generate(into: str) -> None:
    """Generates the message and service classes of proto/sed/v1."""
    proto = ROOT / "proto"
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    files = [str(f.relative_to(proto)) for f in sorted((proto / "sed" / "v1").glob("*.proto"))]
    arguments = ["protoc", f"-I{proto}", f"-I{include}", f"--python_out={into}", f"--grpc_python_out={into}"]
    if protoc.main(arguments + files) != 0:
        sys.exit("generating the client code failed")
    sys.path.insert(0, into)


def main() -> None:
    target = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        generate(folder)
        check(target)


def check(target: str) -> None:
    """Every mode of two reference cases, the encodings against each other, the same by names and over a stream,
    and one refused request."""
    from sed.v1 import image_pb2, options_pb2, segmentation_service_pb2 as pb
    from sed.v1 import segmentation_service_pb2_grpc as services
    from sed.v1 import vocabulary_pb2

    cases = json.loads((GOLDEN / "meta.json").read_text())["cases"]
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        stub = services.SegmentationServiceStub(channel)
        info = stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=10)
        print("model:", info.model.name, info.model.digest[:19])
        for case in ["sed_nano.c5", "sed_nano.b12"]:
            meta = cases[case]
            categories = []
            for line in meta["classes"]:
                name, *synonyms = line.split(", ")
                categories.append(vocabulary_pb2.Category(name=name, synonyms=synonyms))
            for mode, expected in meta["modes"].items():
                request = pb.SegmentRequest(
                    image=image_pb2.Image(encoded=(GOLDEN / meta["image"]).read_bytes()),
                    vocabulary=vocabulary_pb2.Vocabulary(
                        categories=vocabulary_pb2.CategoryList(categories=categories)
                    ),
                    options=options_pb2.SegmentOptions(
                        top_k=0 if mode == "normal" else int(mode.removeprefix("fast")),
                        resize_mode=options_pb2.RESIZE_MODE_TWO_STEP,
                        mask_encodings=[
                            options_pb2.MASK_ENCODING_INDEX_PNG,
                            options_pb2.MASK_ENCODING_COCO_RLE,
                            options_pb2.MASK_ENCODING_RAW,
                        ],
                    ),
                    request_id=f"{case}.{mode}",
                )
                answer = stub.Segment(request, timeout=60)
                compare(answer, request, np.array(Image.open(GOLDEN / f"{case}.{mode}.argmax.png")), expected)
        by_names(stub, request, answer)
        request.vocabulary.Clear()
        try:
            stub.Segment(request, timeout=10)
            sys.exit("a request without categories was answered")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            print("refused as it should be:", error.details())


def by_names(stub, request, answer) -> None:
    """The picture by its id and the words by their name, called and over a stream, against the same in full."""
    from sed.v1 import image_pb2, segmentation_service_pb2 as pb
    from sed.v1 import vocabulary_pb2

    create = vocabulary_pb2.CreateVocabularyRequest(categories=request.vocabulary.categories)
    named = stub.CreateVocabulary(create, timeout=10).vocabulary
    assert named.name in [v.name for v in stub.ListVocabularies(vocabulary_pb2.ListVocabulariesRequest()).vocabularies]
    short = pb.SegmentRequest(
        image=image_pb2.Image(id=answer.image_id),
        vocabulary=vocabulary_pb2.Vocabulary(name=named.name),
        options=request.options,
    )
    again = stub.Segment(short, timeout=60)
    assert again.latency.image_cache_hit and again.masks == answer.masks, "other masks by id and name"
    items = []
    for number, item in enumerate([request, short, pb.SegmentRequest(), short]):
        items.append(pb.SegmentStreamRequest(request=item))
        items[-1].request.request_id = str(number)
    answers = list(stub.SegmentStream(iter(items), timeout=60))
    assert [a.request_id for a in answers] == ["0", "1", "2", "3"]
    assert [a.WhichOneof("outcome") for a in answers] == ["response", "response", "error", "response"]
    assert answers[2].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert all(answers[i].response.masks == answer.masks for i in [0, 1, 3]), "other masks over a stream"
    stub.DeleteVocabulary(vocabulary_pb2.DeleteVocabularyRequest(name=named.name), timeout=10)
    print("by id, by name and over a stream: the same masks")


def compare(answer, request, golden: np.ndarray, expected: dict) -> None:
    """The index map against the reference, the other encodings against the index map."""
    png, rle, raw = answer.masks
    index = np.array(Image.open(io.BytesIO(png.index_png)))
    different = int((index != golden).sum())
    ties = expected["argmax_pixels_with_gap_below_1e-4"]
    assert different <= ties, f"{request.request_id}: {different} pixels differ, {ties} near ties are known"
    kept = [list(level.survivors) for level in answer.rejection.levels]
    if "kept_after_level" in expected:
        assert kept == expected["kept_after_level"], f"{request.request_id}: survivors {kept}"
    assert [c.name for c in answer.categories] == [c.name for c in request.vocabulary.categories.categories]
    for category in answer.categories:
        assert category.pixels == int((index == category.index).sum())
    for mask in rle.rle.masks:
        decoded = coco.decode({"size": list(index.shape), "counts": mask.counts})
        assert (decoded.astype(bool) == (index == mask.category_index)).all()
    dtype = np.uint8 if len(raw.raw_indices) == index.size else np.dtype("<u2")
    flat = np.frombuffer(raw.raw_indices, dtype).reshape(index.shape)
    labelled = flat != raw.unlabelled_index
    assert (flat[labelled] == index[labelled]).all()
    print(f"{answer.request_id}: {different} of {index.size} pixels differ from the reference")


if __name__ == "__main__":
    main()
