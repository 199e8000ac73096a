"""Run lengths, polygons and COCO results of the client: against pycocotools, against the masks they were made of, and
against the polygons of a running server.

python shapes.py HOST:PORT
"""

import contextlib
import io
import json
import pathlib
import sys

import grpc
import numpy as np
from pycocotools import mask as coco
from pycocotools.coco import COCO
from sed_serve_client import Client, Polygon, Segmentation, polygons, request, rle
from sed_serve_client.v1 import options_pb2
from sed_serve_client.v1.segmentation_service_pb2_grpc import SegmentationServiceStub

from moody import refused

CLIENTS = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    """Checks random masks, then those of an answer."""
    random = np.random.default_rng(1)
    masks = [random.random(random.integers(1, 14, 2)) < random.random() for _ in range(200)]
    for mask in [*masks, np.zeros((3, 4), bool), np.ones((3, 4), bool), np.zeros((0, 4), bool)]:
        check_rle(mask)
        check_polygons(mask)
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    ring[2, 2] = True  # a region within the hole of another
    outer, inner = polygons(ring)
    assert outer.exterior.tolist() == [[0, 0], [5, 0], [5, 5], [0, 5]], "clockwise on the screen"
    assert from_first(outer.holes[0].ravel().tolist()) == ((1, 1), (1, 4), (4, 4), (4, 1)), "counter-clockwise"
    assert (outer.pixels, inner.pixels, inner.holes) == (16, 1, ())
    assert polygons(ring.tolist())[0].pixels == 16 and rle(ring.tolist()) == rle(ring)
    for wrong in (np.zeros((2, 2), np.uint8), [[1, 0]], [[True], [True, False]], [True], None):
        for shape in (polygons, rle):
            assert "must be bool [height, width]" in str(refused(lambda of=shape, wrong=wrong: of(wrong), ValueError))

    question = json.loads((CLIENTS / "question.json").read_text())
    picture, words = CLIENTS / question["image"], question["categories"]
    with Client(sys.argv[1]) as client:
        found = client.segment(picture, words, overlay=True)
        check_results(found)
        assert found._repr_png_() == found.overlay_png and found.overlay_png.startswith(b"\x89PNG")
        assert client.segment(picture, words)._repr_png_() is None
    check_server(found, picture, words)
    print(f"run lengths, polygons and COCO results of {len(masks)} masks and {len(found.present)} categories agree")


def check_rle(mask: np.ndarray) -> None:
    """The same text as that of pycocotools."""
    if mask.size:
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle(mask) == {"size": list(expected["size"]), "counts": expected["counts"].decode()}, mask


def check_polygons(mask: np.ndarray) -> None:
    """Filled again, the polygons are the mask; each region has its own pixels."""
    filled = np.zeros(mask.shape, int)
    for polygon in polygons(mask):
        before = filled.sum()
        for outline in (polygon.exterior, *polygon.holes):
            fill(filled, outline)
        assert filled.sum() - before == polygon.pixels
    assert (filled == mask).all(), mask


def fill(winding: np.ndarray, outline: np.ndarray) -> None:
    """Adds 1 for each turn clockwise around a pixel, -1 for each counter-clockwise."""
    for (x, y), (_, next_y) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        winding[min(y, next_y) : max(y, next_y), x:] += np.sign(y - next_y)


def check_results(found: Segmentation) -> None:
    """pycocotools reads the results of a picture, and has their masks, areas and boxes."""
    ids = {category.name: 10 + category.index for category in found.categories}
    results = json.loads(json.dumps(found.to_coco(7, ids)))
    assert [result["category_id"] for result in results] == [10 + category.index for category in found.present]
    assert found.to_coco("a", {})[:1] == [] and found.to_coco("a")[0]["category_id"] == found.present[0].index + 1
    for unknown in (lambda: found.to_coco(1, {"nope": 5}), lambda: found.to_coco(1, {**ids, "nope": 5})):
        assert refused(unknown, KeyError).args == refused(lambda: found.rle("nope"), KeyError).args == ("nope",)
    data = COCO()
    image = {"id": 7, "height": found.mask.shape[0], "width": found.mask.shape[1]}
    data.dataset = {"images": [image], "categories": [{"id": of, "name": name} for name, of in ids.items()]}
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        loaded = data.loadRes(results)
    for result, category in zip(results, found.present, strict=True):
        (read,) = loaded.loadAnns(loaded.getAnnIds(catIds=[result["category_id"]]))
        assert (loaded.annToMask(read).astype(bool) == found.mask_of(category.name)).all()
        assert (read["area"], list(read["bbox"])) == (result["area"], result["bbox"])
        assert abs(result["score"] - category.mean_score) < 1e-6


def check_server(found: Segmentation, picture: pathlib.Path, words: list[list[str]]) -> None:
    """The client traces the same outlines as the server."""
    message = request.segment(picture, words, None, "")
    message.options.polygon_tolerance = 0
    del message.options.mask_encodings[:]
    message.options.mask_encodings.append(options_pb2.MASK_ENCODING_POLYGONS)
    with grpc.insecure_channel(sys.argv[1]) as channel:
        answer = SegmentationServiceStub(channel).Segment(message, timeout=60)
    for category in found.present:
        of = [polygon for polygon in answer.masks[0].polygons.polygons if polygon.category_index == category.index]
        theirs = {
            outlines(polygon.exterior.coordinates, *(hole.coordinates for hole in polygon.holes)): polygon.pixels
            for polygon in of
        }
        assert {ours(polygon): polygon.pixels for polygon in found.polygons(category.name)} == theirs, category.name


def ours(polygon: Polygon) -> tuple:
    """The outlines of the client's polygon."""
    return outlines(*(outline.ravel().tolist() for outline in (polygon.exterior, *polygon.holes)))


def outlines(exterior: list[int], *holes: list[int]) -> tuple:
    """Outlines, each from its first point in the order of rows, holes in order."""
    return from_first(exterior), tuple(sorted(map(from_first, holes)))


def from_first(coordinates: list[int]) -> tuple[tuple[int, int], ...]:
    """The points of an outline from the topmost, leftmost one."""
    points = list(zip(coordinates[::2], coordinates[1::2], strict=True))
    first = points.index(min(points, key=lambda point: (point[1], point[0])))
    return tuple(points[first:] + points[:first])


if __name__ == "__main__":
    main()
