"""The generated messages and calls alone: every encoding of one answer against the reference's index map.

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
from sed_serve_client.v1.segmentation_service_pb2_grpc import SegmentationServiceStub

CLIENTS = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    """Asks for four encodings at once."""
    question = json.loads((CLIENTS / "question.json").read_text())
    message = request.segment(CLIENTS / question["image"], question["categories"], None, "", resize=question["resize"])
    message.options.top_k = question["top_k"]
    message.options.polygon_tolerance = 0
    del message.options.mask_encodings[:]
    message.options.mask_encodings.extend(
        [
            options_pb2.MASK_ENCODING_INDEX_PNG,
            options_pb2.MASK_ENCODING_COCO_RLE,
            options_pb2.MASK_ENCODING_RAW,
            options_pb2.MASK_ENCODING_POLYGONS,
        ]
    )
    with grpc.insecure_channel(sys.argv[1]) as channel:
        answer = SegmentationServiceStub(channel).Segment(message, timeout=60)
    png, rle, raw, polygons = answer.masks
    index = np.array(Image.open(io.BytesIO(png.index_png)))
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


if __name__ == "__main__":
    main()
