"""The generated messages and calls alone: every encoding of one answer against the others.

python encodings.py HOST:PORT
"""

import io
import json
import pathlib
import sys

import grpc
import numpy as np
from PIL import Image
from pycocotools import mask as coco
from sed_serve_client import request
from sed_serve_client.v1 import options_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1.segmentation_service_pb2_grpc import SegmentationServiceStub

CLIENTS = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    """Asks twice for many encodings at once."""
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = SegmentationServiceStub(channel)
        of_the_mask(stub)
        of_the_scores(stub)


def asked(encodings: list[options_pb2.MaskEncoding.ValueType]) -> pb.SegmentRequest:
    """The question that all clients are asked, for these encodings."""
    question = json.loads((CLIENTS / "question.json").read_text())
    message = request.segment(CLIENTS / question["image"], question["categories"], None, "", resize=question["resize"])
    message.options.top_k = question["top_k"]
    message.options.polygon_tolerance = 0
    del message.options.mask_encodings[:]
    message.options.mask_encodings.extend(encodings)
    return message


def picture(file: bytes) -> np.ndarray:
    """The pixels of a PNG file."""
    return np.array(Image.open(io.BytesIO(file)))


def of_the_mask(stub: SegmentationServiceStub) -> None:
    """Encodings of the index map."""
    message = asked(
        [
            options_pb2.MASK_ENCODING_INDEX_PNG,
            options_pb2.MASK_ENCODING_COCO_RLE,
            options_pb2.MASK_ENCODING_RAW,
            options_pb2.MASK_ENCODING_POLYGONS,
        ]
    )
    png, rle, raw, polygons = stub.Segment(message, timeout=60).masks
    index = picture(png.index_png)
    flat = np.frombuffer(raw.raw_indices, "<u2").reshape(index.shape)
    assert (flat == index).all(), "raw indices differ from the PNG"
    present = set(np.unique(index).tolist())
    assert {mask.category_index for mask in rle.rle.masks} == present
    for mask in rle.rle.masks:
        decoded = coco.decode({"size": list(index.shape), "counts": mask.counts})
        assert (decoded.astype(bool) == (index == mask.category_index)).all()
    for category in present:
        pixels = sum(polygon.pixels for polygon in polygons.polygons.polygons if polygon.category_index == category)
        assert pixels == int((index == category).sum())
    print(f"index PNG, COCO run lengths, raw indices and polygons agree on {len(present)} categories")


def of_the_scores(stub: SegmentationServiceStub) -> None:
    """Encodings of the scores at the size of the network's own map, against the score of every category there."""
    encodings = [
        options_pb2.MASK_ENCODING_RAW,
        options_pb2.MASK_ENCODING_SCORE_MAPS,
        options_pb2.MASK_ENCODING_SCORE_RAW,
        options_pb2.MASK_ENCODING_SCORE_PNG,
        options_pb2.MASK_ENCODING_RUNNER_UP_PNG,
        options_pb2.MASK_ENCODING_MARGIN_RAW,
        options_pb2.MASK_ENCODING_MARGIN_PNG,
    ]
    message = asked(encodings)
    message.options.output_size.preset = options_pb2.OUTPUT_SIZE_PRESET_MODEL
    answer = stub.Segment(message, timeout=60)
    raw, score_maps, scores, score_png, runner_up, margins, margin_png = answer.masks
    names = ["raw_indices", "score_maps", "raw_scores", "score_png", "runner_up_png", "raw_margins", "margin_png"]
    assert [mask.WhichOneof("content") for mask in answer.masks] == names
    assert [mask.encoding for mask in answer.masks] == encodings
    maps, shape = score_maps.score_maps, (answer.mask_size.height, answer.mask_size.width)
    every = np.frombuffer(maps.scores, "<f4").reshape(-1, *shape)
    assert shape == (maps.height, maps.width) and len(every) == len(maps.category_indices) > 1
    order = np.argsort(-every, axis=0, kind="stable")
    best, second = (np.take_along_axis(every, order[rank][None], axis=0)[0] for rank in (0, 1))
    indices = np.array(maps.category_indices)[order]
    assert (np.frombuffer(raw.raw_indices, "<u2").reshape(shape) == indices[0]).all()
    assert (picture(runner_up.runner_up_png) == indices[1]).all()
    # 16 bit floats below 1 are 2^-11 apart, and 8 bits 1/255: values are off by half of that.
    for expected, floats, png in [
        (best, scores.raw_scores, score_png.score_png),
        (best - second, margins.raw_margins, margin_png.margin_png),
    ]:
        assert np.abs(np.frombuffer(floats, "<f2").astype(np.float32).reshape(shape) - expected).max() <= 2**-12 + 1e-6
        grey = picture(png)
        assert grey.dtype == np.uint8 and np.abs(grey / 255 - expected).max() <= 0.5 / 255 + 2**-12 + 1e-6
    print(f"scores, runner-up and margins agree with the score maps of {len(every)} categories")


if __name__ == "__main__":
    main()
