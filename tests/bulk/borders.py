"""The bulk examples where something is wrong: the question, an option of the command line, an entry of the folder, or
one picture. A test server fails by the content of pictures.

python borders.py FOLDER
"""

import json
import os
import pathlib
import subprocess
import sys
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from processes import NETWORK, check
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "clients" / "python" / "examples"
AWAY = f"{NETWORK}.98:50051"  # no server listens there
WORDS = ["--words", "cow, tree"]
INVALID, INTERNAL = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL
OF_ALL = [
    (INVALID, "CATEGORY_DUPLICATE", "vocabulary.categories.categories[1]"),
    (INVALID, "CATEGORY_NAME_INVALID", "vocabulary.categories.categories[0].name"),
    (INVALID, "VOCABULARY_TOO_LARGE", "vocabulary.categories.categories"),
    (INVALID, "OPTION_INVALID", "options.top_k"),
    (grpc.StatusCode.NOT_FOUND, "VOCABULARY_NOT_FOUND", ""),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "VOCABULARY_NOT_READY", ""),
    (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", ""),
    (grpc.StatusCode.PERMISSION_DENIED, "", ""),
]
OF_ONE = {
    b"internal": (INTERNAL, "INTERNAL", ""),
    b"infinite": (INTERNAL, "RESULT_NOT_FINITE", ""),
    b"large": (INVALID, "OUTPUT_TOO_LARGE", "options.output_size"),
    b"corrupt": (INVALID, "IMAGE_CORRUPT", "image.encoded"),
}


class Picky(services.SegmentationServiceServicer):
    """Fails all calls in one way, or each by the content of its picture."""

    def __init__(self) -> None:
        self.failure: tuple[grpc.StatusCode, str, str] | None = None
        self.seen: list[bytes] = []

    def Segment(self, request, context):
        """Fails or answers."""
        self.seen.append(request.image.encoded)
        failure = self.failure or OF_ONE.get(request.image.encoded)
        if failure is not None:
            end(context, *failure)
        answer = pb.SegmentResponse(model_digest="sha256:0")
        answer.masks.add().raw_indices = b""
        return answer


def end(context, code: grpc.StatusCode, reason: str, field: str) -> None:
    """Ends a call with the details that the server sends."""
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=reason, domain="sed-serve"))
    details[1].Pack(error_details_pb2.BadRequest(field_violations=[{"field": field}] if field else []))
    status = status_pb2.Status(code=code.value[0], message="no", details=details)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "no")


def run(name: str, *arguments: object, token: str = "") -> subprocess.CompletedProcess[str]:
    """Runs an example to its end."""
    command = [sys.executable, EXAMPLES / name, *arguments]
    environment = {**os.environ, "SED_TOKEN": token}
    return subprocess.run(map(str, command), capture_output=True, text=True, timeout=100, env=environment)


def main() -> None:
    """Starts the server, and runs the examples beside it."""
    folder = pathlib.Path(sys.argv[1]) / "borders"
    server, picky = grpc.server(futures.ThreadPoolExecutor(4)), Picky()
    services.add_SegmentationServiceServicer_to_server(picky, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    refuse_arguments(folder, address)
    end_for_all(folder, picky, address)
    entries(folder, picky, address)
    server.stop(None).wait()
    print("  wrong words, options and tokens end a run; entries that cannot be read, and single pictures, do not")


def plain(folder: pathlib.Path) -> pathlib.Path:
    """A folder of three pictures, one of which is no file at all."""
    pictures = folder / "plain"
    pictures.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        (pictures / f"{number}.jpg").write_bytes(b"fine")
    if not (pictures / "dead.jpg").is_symlink():
        (pictures / "dead.jpg").symlink_to("nowhere")
    return pictures


def refuse_arguments(folder: pathlib.Path, address: str) -> None:
    """Wrong values on the command line, each with its name."""
    ask = [plain(folder), folder / "never", "--servers", address, *WORDS]
    for option, value in [
        ("--timeout", "0"),
        ("--timeout", "nan"),
        ("--timeout", "soon"),
        ("--in-flight", "0"),
        ("--in-flight", "1.5"),
        ("--patience", "-1"),
        ("--top-k", "-1"),
    ]:
        found = run("bulk_asyncio.py", *ask, option, value)
        check(found.returncode == 2 and f"argument {option}: {value!r} is not a" in found.stderr, found.stderr)
    found = run("bulk_ray.py", *ask, "--actors", "0")
    check(found.returncode == 2 and "argument --actors: '0' is not a" in found.stderr, found.stderr)
    for servers in ("", f"{address},", "HTTP://x:1"):
        found = run("bulk_asyncio.py", *ask, "--servers", servers)
        check(found.returncode == 1 and "error: the target is " in found.stderr, found.stderr)
    found = run("bulk_asyncio.py", *ask, token="a\nb")
    check(found.returncode == 1 and found.stderr.startswith("error: token cannot be sent"), found.stderr)
    check(not (folder / "never").exists(), "a wrong command line has results")


def end_for_all(folder: pathlib.Path, picky: Picky, address: str) -> None:
    """An error of all pictures ends a run at once, although another server is waited for, and stores nothing."""
    results = folder / "for-all"
    pictures = folder / "two"
    pictures.mkdir()
    for number in range(20):
        (pictures / f"{number}.jpg").write_bytes(b"fine")
    for code, reason, field in OF_ALL:
        picky.failure = (code, reason, field)
        found = run("bulk_asyncio.py", pictures, results, "--servers", f"{AWAY},{address}", "--timeout", "inf", *WORDS)
        expected = f"error: {reason or code.name}: no; this concerns all pictures, and the run has ended\n"
        check(found.returncode == 1 and found.stderr.endswith(expected), f"{reason}: {found.stderr}")
        check(not results.exists(), f"{reason} is the result of a picture")
    found = run("bulk_ray.py", pictures, results, "--servers", address, "--actors", "1", *WORDS)
    check(found.returncode == 1 and "\nerror: PERMISSION_DENIED: no; this concerns" in found.stderr, found.stderr)
    check(not results.exists(), "an error of all pictures is the result of one, with Ray")
    picky.failure = None


def entries(folder: pathlib.Path, picky: Picky, address: str) -> None:
    """Entries of every kind, each of which is a picture, a failure of its own, or left out; then the same once more."""
    pictures, results = folder / "entries", folder / "results"
    (pictures / "day").mkdir(parents=True)
    for name in ("a.jpg", "b.JPEG", "c.png", "d.webp", "e.gif", "f.bmp", "g.tif", "h.TIFF", "day/i.tif"):
        (pictures / name).write_bytes(name.encode())
    for name in (".hidden.jpg", "._a.jpg", "notes.txt", ".git/x.jpg", "folder.jpg/inside.jpg"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes(name.encode())
    os.mkfifo(pictures / "pipe.jpg")
    (pictures / "pipe-link.jpg").symlink_to("pipe.jpg")
    (pictures / "dead.jpg").symlink_to("nowhere.jpg")
    (pictures / "circle.jpg").symlink_to("circle.jpg")
    for content in OF_ONE:
        (pictures / f"{content.decode()}.jpg").write_bytes(content)
    picky.seen = []
    ask = [pictures, results, "--servers", address]
    found = run("bulk_asyncio.py", *ask, *WORDS)
    check(found.returncode == 1, found.stderr)
    check("left out: 3 entries that are no file, such as " in found.stderr, found.stderr)
    check("error: 6 pictures failed: " in found.stderr, found.stderr)
    files = {str(file.relative_to(results)) for file in results.rglob("*") if file.is_file()}
    fine = {"a.jpg", "b.JPEG", "c.png", "d.webp", "e.gif", "f.bmp", "g.tif", "h.TIFF", "day/i.tif"}
    fine |= {"folder.jpg/inside.jpg"}
    failed = {"dead.jpg", "circle.jpg", *(f"{content.decode()}.jpg" for content in OF_ONE)}
    expected = {f"{name}.json" for name in fine} | {f"{name}.error.json" for name in failed} | {"run.json"}
    check(files == expected, f"{sorted(files ^ expected)}")
    check(set(picky.seen) == {name.encode() for name in fine} | set(OF_ONE), "other pictures were sent")
    for content, (_, reason, _) in OF_ONE.items():
        error = json.loads((results / f"{content.decode()}.jpg.error.json").read_text())["error"]
        check(error["reason"] == reason, f"{error}")

    for changed, message in (
        (["--words", "cow, sheep"], '"words": [["cow"], ["tree"]], not [["cow"], ["sheep"]]'),
        ([*WORDS, "--top-k", "3"], '"options": {"contrast": "auto"}, not {"contrast": "auto", "top_k": 3}'),
        (["--vocabulary", "pets"], '"vocabulary": null, not "pets"'),
    ):
        found = run("bulk_asyncio.py", *ask, *changed)
        name, values = message.split(": ", 1)
        wanted = f"{name.strip(chr(34))} {values}"
        check(found.returncode == 1 and wanted in found.stderr and "another folder" in found.stderr, found.stderr)
    picky.seen = []
    found = run("bulk_asyncio.py", *ask, *WORDS)
    check(found.returncode == 1 and picky.seen == [], f"pictures were sent again: {picky.seen} {found.stderr}")
    (results / "run.json").write_text("{")
    found = run("bulk_asyncio.py", *ask, *WORDS)
    check(found.returncode == 1 and f"cannot read {results / 'run.json'}" in found.stderr, found.stderr)


if __name__ == "__main__":
    main()
