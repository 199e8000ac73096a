"""Triton's client, unchanged, against a running server: health, metadata, inference and errors.

python infer.py HOST:PORT

The server must hold the reduced model of tests/golden/nano.
"""

import asyncio
import json
import os
import pathlib
import queue
import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden" / "nano"
MODEL = "sed-nano"
LEVELS = 3
UNLABELLED = 65535


def main() -> None:
    target = sys.argv[1]
    same_interface(target)
    with triton.InferenceServerClient(target) as client:
        version = about(client)
        cases = json.loads((GOLDEN / "meta.json").read_text())["cases"]
        for case in ["sed_nano.c5", "sed_nano.b12"]:
            for mode, expected in cases[case]["modes"].items():
                golden(client, case, mode, cases[case], expected, version)
        picture = cases["sed_nano.c5"]["image"]
        named(client, picture)
        competing(client, picture)
        synonyms(client, cases["sed_nano.b12"])
        many_at_once(client, picture)
        asyncio.run(without_threads(target, picture))
        sure(client, picture)
        errors(client, picture)


def same_interface(target: str) -> None:
    """Every field that the server's definition has is in the client's, with its name, number and type."""
    with grpc.insecure_channel(target) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service = pool.FindServiceByName("inference.GRPCInferenceService")
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    checked = 0
    for method in service.methods:
        known = theirs.methods_by_name[method.name]
        for ours, other in [(method.input_type, known.input_type), (method.output_type, known.output_type)]:
            checked += same_message(ours, other)
    assert len(service.methods) == 6 and checked > 50, f"{len(service.methods)} methods, {checked} fields"
    print(f"interface: {len(service.methods)} methods and {checked} fields as in tritonclient's own definition")


def same_message(ours: Descriptor, theirs: Descriptor) -> int:
    """Compares two messages and those in them; how many fields they have."""
    assert ours.full_name == theirs.full_name
    assert list(ours.fields_by_name) == list(theirs.fields_by_name), ours.full_name
    checked = 0
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        for aspect in ["number", "type", "is_repeated", "has_presence"]:
            assert getattr(field, aspect) == getattr(other, aspect), f"{field.full_name}: {aspect}"
        oneofs = [known.containing_oneof and known.containing_oneof.name for known in (field, other)]
        assert oneofs[0] == oneofs[1], field.full_name
        checked += 1
        if field.message_type:
            checked += same_message(field.message_type, other.message_type)
    return checked


def about(client: triton.InferenceServerClient) -> str:
    """Health and metadata; the model's version."""
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
    server, model = client.get_server_metadata(), client.get_model_metadata(MODEL)
    assert server.name == "sed-serve" and set(server.extensions) == {"parameters", "schedule_policy"}
    version = model.versions[0]
    assert client.is_model_ready(MODEL, version)
    tensors = {t.name: (t.datatype, list(t.shape)) for t in [*model.inputs, *model.outputs]}
    assert tensors == {
        "image": ("BYTES", [1]),
        "pixels": ("UINT8", [-1, -1, 3]),
        "categories": ("BYTES", [-1]),
        "synonyms": ("BYTES", [-1, -1]),
        "mask": ("UINT16", [-1, -1]),
        "scores": ("FP32", [-1]),
        "survivors": ("BOOL", [LEVELS, -1]),
        "names": ("BYTES", [-1]),
        "confidence": ("FP16", [-1, -1]),
        "runner_up": ("UINT16", [-1, -1]),
        "margin": ("FP16", [-1, -1]),
    }, tensors
    print(f"{server.name} {server.version}: {model.name}, version {version[:19]}, platform {model.platform}")
    return version


def tensor(name: str, array: np.ndarray) -> triton.InferInput:
    """An input as tritonclient makes it of an array."""
    datatype = {"u": "UINT8", "O": "BYTES"}[array.dtype.kind]
    made = triton.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array)


def file(picture: str) -> triton.InferInput:
    return tensor("image", np.array([(GOLDEN / picture).read_bytes()], dtype=object))


def words(lines: list[str]) -> list[triton.InferInput]:
    """The inputs of categories that are written as `name, synonym, synonym`."""
    split = [line.split(", ") for line in lines]
    synonyms = np.full((len(split), max(map(len, split)) - 1), "", dtype=object)
    for row, (_, *rest) in zip(synonyms, split):
        row[: len(rest)] = rest
    names = np.array([name for name, *_ in split], dtype=object)
    return [tensor("categories", names), tensor("synonyms", synonyms)]


def golden(client, case: str, mode: str, meta: dict, expected: dict, version: str) -> None:
    """A picture as a file and as pixels; the mask, the survivors and the scores against the reference."""
    index = np.array(Image.open(GOLDEN / f"{case}.{mode}.argmax.png")).astype(np.uint16)
    pixels = np.array(Image.open(GOLDEN / meta["image"]).convert("RGB"))
    top_k = 0 if mode == "normal" else int(mode.removeprefix("fast"))
    results = []
    for first in [file(meta["image"]), tensor("pixels", pixels)]:
        results.append(
            client.infer(
                MODEL,
                [first, *words(meta["classes"])],
                model_version=version,
                request_id=f"{case}.{mode}",
                priority=1,
                timeout=60_000_000,
                parameters={"top_k": top_k, "resize_mode": "two_step"},
            )
        )
    mask, scores, survivors, names = (results[0].as_numpy(o) for o in ["mask", "scores", "survivors", "names"])
    for other in results[1:]:
        assert (other.as_numpy("mask") == mask).all() and (other.as_numpy("scores") == scores).all()
    assert mask.dtype == np.uint16 and mask.shape == index.shape
    # The question of ../question.json; the map is compared with those of the other clients.
    if (case, mode) == ("sed_nano.b12", "fast2") and "SED_MAPS" in os.environ:
        pathlib.Path(os.environ["SED_MAPS"], "tritonclient.u16").write_bytes(mask.astype("<u2").tobytes())
    different = int((mask != index).sum())
    ties = expected["argmax_pixels_with_gap_below_1e-4"]
    assert different <= ties, f"{case}.{mode}: {different} pixels differ, {ties} near ties are known"
    assert names.tolist() == [line.split(", ")[0].encode() for line in meta["classes"]]
    kept = [np.flatnonzero(level).tolist() for level in survivors]
    everything = [list(range(len(names)))] * LEVELS
    assert kept == expected.get("kept_after_level", everything), f"{case}.{mode}: survivors {kept}"
    present = np.bincount(mask.ravel(), minlength=len(names)) > 0
    assert scores.dtype == np.float32 and ((scores > 0) == present).all() and (scores <= 1).all()
    answer = results[0].get_response()
    said = answer.parameters
    assert answer.id == f"{case}.{mode}" == said["request_id"].string_param
    assert said["top_k"].int64_param == top_k and said["milliseconds"].double_param > 0
    print(f"{case}.{mode}: {different} of {index.size} pixels differ from the reference, {ties} near ties")


def named(client, picture: str) -> None:
    """Words by their name, the picture by its id, and only the outputs that are wanted."""
    first = client.infer(MODEL, [file(picture)], parameters={"vocabulary": "pascal-voc-20", "score_threshold": 0.5})
    mask = first.as_numpy("mask")
    assert first.as_numpy("names").shape == (20,) and (mask == UNLABELLED).any()
    said = first.get_response().parameters
    assert said["unlabelled_index"].int64_param == UNLABELLED
    assert said["unlabelled_pixels"].int64_param == int((mask == UNLABELLED).sum())
    again = client.infer(
        MODEL,
        [],
        outputs=[triton.InferRequestedOutput("mask")],
        parameters={
            "vocabulary": "pascal-voc-20",
            "score_threshold": 0.5,
            "image_id": said["image_id"].string_param,
        },
    )
    assert again.as_numpy("mask").tobytes() == mask.tobytes() and again.as_numpy("scores") is None
    assert again.get_response().parameters["image_cache_hit"].bool_param
    print("by name and by id: the same mask")


def competing(client, picture: str) -> None:
    """Contrast words, thresholds of categories and the report of ambiguities."""
    given = [file(picture), tensor("categories", np.array(["sky", "grass", "wall"], dtype=object))]

    def mask(**parameters) -> np.ndarray:
        result = client.infer(MODEL, given, parameters={"top_k": 0, **parameters})
        assert result.as_numpy("names").tolist() == [b"sky", b"grass", b"wall"], "contrast words are in the answer"
        assert "ambiguities" not in result.get_response().parameters
        return result.as_numpy("mask")

    plain, contrast = mask(), mask(contrast="pascal-voc-20")
    assert (plain != UNLABELLED).all() and (contrast == UNLABELLED).any() and (contrast != UNLABELLED).any()
    assert (mask(contrast="off") == plain).all()
    assert set(np.unique(mask(contrast="auto")).tolist()) <= {0, 1, 2, UNLABELLED}
    # No score reaches 1, and a threshold of a category overrides the general one.
    without_sky = mask(category_thresholds=json.dumps({"sky": 1}))
    assert (without_sky == np.where(plain == 0, UNLABELLED, plain)).all()
    only_sky = mask(score_threshold=1, category_thresholds=json.dumps({"sky": 0}))
    assert (only_sky == np.where(plain == 0, plain, UNLABELLED)).all()
    unsure = client.infer(MODEL, given, parameters={"top_k": 0, "report_ambiguities": True})
    assert (unsure.as_numpy("mask") == plain).all()
    lines = unsure.get_response().parameters["ambiguities"].string_param.splitlines()
    assert lines and all(line.strip() for line in lines), lines
    print(f"contrast words take {int((contrast == UNLABELLED).sum())} pixels; {len(lines)} ambiguities: {lines[0]}")


def synonyms(client, meta: dict) -> None:
    """The best of the synonyms is what they are as categories of their own, merged."""
    split = [line.split(", ") for line in meta["classes"]]
    owner = np.array([index for index, names in enumerate(split) for _ in names])
    parameters = {"top_k": 0, "synonym_mode": "best"}
    best = client.infer(MODEL, [file(meta["image"]), *words(meta["classes"])], parameters=parameters)
    phrases = tensor("categories", np.array(sum(split, []), dtype=object))
    apart = client.infer(MODEL, [file(meta["image"]), phrases], parameters={"top_k": 0})
    assert (best.as_numpy("mask") == owner[apart.as_numpy("mask")]).all()
    print("best of the synonyms: the same as categories of their own, merged")


def many_at_once(client, picture: str) -> None:
    """Eight requests at the same time, through the client's callbacks."""
    answers: queue.Queue = queue.Queue()
    inputs = [file(picture), tensor("categories", np.array(["cat", "sky"], dtype=object))]
    for _ in range(8):
        client.async_infer(MODEL, inputs, callback=lambda result, error: answers.put((result, error)))
    masks = set()
    for _ in range(8):
        result, error = answers.get(timeout=60)
        assert error is None, error
        masks.add(result.as_numpy("mask").tobytes())
    assert len(masks) == 1
    print("eight at once: one mask")


async def without_threads(target: str, picture: str) -> None:
    """The client for asyncio."""
    async with triton_aio.InferenceServerClient(target) as client:
        inputs = [file(picture), tensor("categories", np.array(["cat", "sky"], dtype=object))]
        result = await client.infer(MODEL, inputs)
        assert result.as_numpy("survivors").all() and await client.is_model_ready(MODEL)
    print("asyncio: answered")


def sure(client, picture: str) -> None:
    """Score, runner-up and margin of every pixel, which only come by their names."""
    given = [file(picture), tensor("categories", np.array(["cat", "sky", "grass"], dtype=object))]
    assert client.infer(MODEL, given).as_numpy("confidence") is None
    outputs = [triton.InferRequestedOutput(name) for name in ["mask", "confidence", "runner_up", "margin"]]
    result = client.infer(MODEL, given, outputs=outputs, parameters={"top_k": 0})
    mask, confidence, runner_up, margin = (result.as_numpy(output.name()) for output in outputs)
    assert confidence.dtype == margin.dtype == np.float16 and runner_up.dtype == np.uint16
    assert confidence.shape == runner_up.shape == margin.shape == mask.shape
    assert (0 <= margin).all() and (margin <= confidence).all() and (confidence <= 1).all()
    assert (runner_up < 3).all() and (runner_up != mask).all()
    print(f"sureness: scores of {confidence.min():.3f} to {confidence.max():.3f}, margins of up to {margin.max():.3f}")


def errors(client, picture: str) -> None:
    """Refusals, as the client shows them."""
    cat = tensor("categories", np.array(["cat"], dtype=object))
    twice = tensor("categories", np.array(["cat", "Cat"], dtype=object))
    grey = tensor("pixels", np.zeros((4, 4, 1), dtype=np.uint8))
    damaged = tensor("image", np.array([(GOLDEN / picture).read_bytes()[:99]], dtype=object))
    good = file(picture)
    classes = [triton.InferRequestedOutput("scores", class_count=3)]
    for status, beginning, call in [
        ("NOT_FOUND", "the server does not hold", lambda: client.infer("sed-b", [good, cat])),
        ("NOT_FOUND", "the server does not hold", lambda: client.get_model_metadata(MODEL, "2")),
        ("NOT_FOUND", "the server does not hold", lambda: client.is_model_ready("sed-b")),
        ("INVALID_ARGUMENT", "inputs[0].shape: ", lambda: client.infer(MODEL, [grey, cat])),
        ("INVALID_ARGUMENT", "inputs: ", lambda: client.infer(MODEL, [good])),
        ("INVALID_ARGUMENT", "raw_input_contents[0]: ", lambda: client.infer(MODEL, [damaged, cat])),
        ("INVALID_ARGUMENT", "raw_input_contents[1][1]: ", lambda: client.infer(MODEL, [good, twice])),
        ("INVALID_ARGUMENT", "outputs[0].parameters: ", lambda: client.infer(MODEL, [good, cat], outputs=classes)),
        (
            "INVALID_ARGUMENT",
            "parameters.top_p: ",
            lambda: client.infer(MODEL, [good, cat], parameters={"top_p": 0.5}),
        ),
        (
            "INVALID_ARGUMENT",
            "parameters.synonym_mode: ",
            lambda: client.infer(MODEL, [good, cat], parameters={"synonym_mode": "all"}),
        ),
        (
            "INVALID_ARGUMENT",
            "parameters.category_thresholds",
            lambda: client.infer(MODEL, [good, cat], parameters={"category_thresholds": "cat=0.5"}),
        ),
        (
            "INVALID_ARGUMENT",
            "parameters.category_thresholds",
            lambda: client.infer(MODEL, [good, cat], parameters={"category_thresholds": '{"no such word": 0.5}'}),
        ),
        ("NOT_FOUND", "", lambda: client.infer(MODEL, [good, cat], parameters={"contrast": "no-such-list"})),
        ("DEADLINE_EXCEEDED", "", lambda: client.infer(MODEL, [good, cat], timeout=1)),
        ("UNIMPLEMENTED", "", lambda: client.get_model_config(MODEL)),
    ]:
        try:
            call()
        except InferenceServerException as error:
            assert error.status() == f"StatusCode.{status}", error
            assert error.message().startswith(beginning), error
            print(f"refused as it should be: {status}: {error.message()}")
        else:
            sys.exit(f"{beginning or status}: was not refused")


if __name__ == "__main__":
    main()
