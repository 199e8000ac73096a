"""The Python client against the reference: every mode of two cases of tests/golden/nano.

python segment_golden.py HOST:PORT    the server must hold the reduced model
"""

import json
import pathlib
import sys
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image
from sed_serve_client import Client, ImageId, InvalidRequest, NotFound, Segmentation

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden" / "nano"


def main() -> None:
    """Checks every mode, and of the last one everything by its id and name and over a stream."""
    cases = json.loads((GOLDEN / "meta.json").read_text())["cases"]
    with Client(sys.argv[1], timeout=60) as client:
        print("model:", client.server_info().model.name)
        for case in ["sed_nano.c5", "sed_nano.b12"]:
            picture = GOLDEN / cases[case]["image"]
            words = [line.split(", ") for line in cases[case]["classes"]]
            for mode, expected in cases[case]["modes"].items():
                top_k = 0 if mode == "normal" else int(mode.removeprefix("fast"))
                answer = client.segment(picture, words, top_k=top_k, resize="two_step", request_id=f"{case}.{mode}")
                compare(answer, words, np.array(Image.open(GOLDEN / f"{case}.{mode}.argmax.png")), expected)
        pictures_alike(client, picture, words)
        by_names(client, picture, words)
        warned(client, picture)


def compare(answer: Segmentation, words: list[list[str]], golden: np.ndarray, expected: dict) -> None:
    """The index map, the survivors and what is said of the categories, against the reference."""
    different = int((answer.mask != golden).sum())
    ties = expected["argmax_pixels_with_gap_below_1e-4"]
    assert different <= ties, f"{answer.request_id}: {different} pixels differ, {ties} near ties are known"
    if "kept_after_level" in expected:
        kept = [list(level.survivors) for level in answer.rejection.levels]
        assert kept == expected["kept_after_level"], f"{answer.request_id}: survivors {kept}"
    assert [category.name for category in answer.categories] == [names[0] for names in words]
    for category in answer.categories:
        mask = answer.mask_of(category.name)
        assert category.pixels == int(mask.sum())
        if category.box is None:
            assert not mask.any()
            continue
        rows, columns = np.nonzero(mask)
        box = category.box
        assert (box.x, box.y) == (columns.min(), rows.min())
        assert (box.x + box.width - 1, box.y + box.height - 1) == (columns.max(), rows.max())
    assert answer.timings.total > 0
    assert [stage.stage for stage in answer.timings.stages][0] == "image_decode"
    print(f"{answer.request_id}: {different} of {answer.mask.size} pixels differ from the reference")


def pictures_alike(client: Client, path: pathlib.Path, words: list[list[str]]) -> None:
    """A path, bytes, a Pillow image and an array of the same picture, and both ways for the mask to travel."""
    pixels = np.array(Image.open(path).convert("RGB"))
    ways = [str(path), path, path.read_bytes(), Image.open(path), pixels]
    answers = [client.segment(way, words, encoding=encoding) for way in ways for encoding in ("png", "raw")]
    assert all(np.array_equal(answer.mask, answers[0].mask) for answer in answers), "the mask depends on the way"
    assert {answer.mask.dtype for answer in answers} == {np.dtype(np.uint8), np.dtype(np.uint16)}
    painted = client.segment(path, words, overlay=True).overlay()
    assert painted.width >= answers[0].mask.shape[1]
    assert len(np.unique(np.array(painted.convert("RGB")).reshape(-1, 3), axis=0)) > 2
    small = client.segment(path, words, size=(31, 17), score_threshold=0.99)
    assert small.mask.shape == (17, 31)
    assert small.unlabelled_pixels == int((small.mask == small.unlabelled_index).sum()) > 0
    assert client.segment(path, words, size="model").mask.shape == (48, 48)
    print("path, bytes, Pillow image and array; png and raw: the same mask")


def by_names(client: Client, picture: pathlib.Path, words: list[list[str]]) -> None:
    """The picture by its id and the words by their name, called and over a stream, against the same in full."""
    full = client.segment(picture, words, top_k=2)
    named = client.create_vocabulary(words)
    assert named.name in [vocabulary.name for vocabulary in client.list_vocabularies()]
    assert client.get_vocabulary(named.name).categories == tuple(map(tuple, words))
    assert full.image_id is not None
    again = client.segment(full.image_id, vocabulary=named.name, top_k=2)
    assert again.timings.image_cache_hit
    assert np.array_equal(again.mask, full.mask), "another mask by id and name"
    pictures = [picture, full.image_id, b"no picture", full.image_id, ImageId("img-" + 64 * "0")]
    for any_order in (False, True):
        answers = list(client.segment_stream(pictures, vocabulary=named.name, top_k=2, any_order=any_order))
        assert any_order or [number for number, _ in answers] == [0, 1, 2, 3, 4]
        outcome = dict(answers)
        assert all(np.array_equal(outcome[number].mask, full.mask) for number in (0, 1, 3)), "another mask by stream"
        assert isinstance(outcome[2], InvalidRequest)
        assert (outcome[2].reason, outcome[2].field) == ("IMAGE_UNSUPPORTED", "image.encoded")
        assert isinstance(outcome[4], NotFound)
        assert outcome[4].reason == "IMAGE_NOT_FOUND"
        files = [picture, "no/such/file.png", picture]
        outcome = dict(client.segment_stream(files, vocabulary=named.name, top_k=2, any_order=any_order))
        assert len(outcome) == 3 and np.array_equal(outcome[2].mask, full.mask), (
            "a file that is missing ends the stream"
        )
        assert isinstance(outcome[1], InvalidRequest) and isinstance(outcome[1].__cause__, FileNotFoundError)
    check_missing_last(client, picture, named.name)
    client.delete_vocabulary(named.name)
    assert named.name not in [vocabulary.name for vocabulary in client.list_vocabularies()]
    print("by id, by name and over a stream: the same mask")


def check_missing_last(client: Client, picture: pathlib.Path, vocabulary: str) -> None:
    """The error of a missing file is yielded before the next picture is there: a caller may wait for it."""
    seen: list[int] = []
    allowed = threading.Semaphore(1)

    def pictures() -> Iterator[pathlib.Path | str]:
        for next_one in (picture, "no/such/file.png", picture):
            assert allowed.acquire(timeout=60), "an outcome is missing"
            yield next_one

    for number, _ in client.segment_stream(pictures(), vocabulary=vocabulary, top_k=2):
        seen.append(number)
        allowed.release()
    assert seen == [0, 1, 2]


def warned(client: Client, picture: pathlib.Path) -> None:
    """Warnings about the words come with the answer, and with the vocabulary's name."""
    words = ["cat", 110 * "a " + "cat"]
    for warnings in (client.segment(picture, words).warnings, client.create_vocabulary(words).warnings):
        assert [warning.reason for warning in warnings] == ["PHRASE_CUT"], warnings
        assert warnings[0].field.endswith("categories[1].name") and warnings[0].message, warnings
    assert client.segment(picture, ["cat"]).warnings == ()
    print("warned of a phrase that is too long to be read to its end")


if __name__ == "__main__":
    main()
