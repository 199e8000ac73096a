"""Calls $SED_ADDRESS without a pause while the files of its server are replaced, and counts what fails."""

import os
import pathlib
import ssl
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
from sed_serve_client.v1 import image_pb2, vocabulary_pb2
from sed_serve_client.v1 import segmentation_service_pb2 as pb
from sed_serve_client.v1 import segmentation_service_pb2_grpc as services

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLD, NEW = "the-old-secret-of-the-test", "the-new-secret-of-the-test"
PICTURE = next((ROOT / "models" / "sed-tiny" / "examples").glob("*.png")).read_bytes()
CALLERS = 4
PORT = os.environ["SED_ADDRESS"].rsplit(":", 1)[1]


def channel(folder: Path, client: str | None) -> grpc.Channel:
    """A channel that trusts the authority, with a certificate of its own unless there is none."""
    read = lambda name: (folder / name).read_bytes()  # noqa: E731
    identity = (read(f"{client}.key"), read(f"{client}.pem")) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(read("authority.pem"), *identity)
    return grpc.secure_channel(f"localhost:{PORT}", credentials, options=[("grpc.use_local_subchannel_pool", 1)])


class Load:
    """Calls without a pause until it is told to stop."""

    def __init__(self, folder: Path, token: str, call: Callable[[grpc.Channel, str, bool], None]) -> None:
        self.stop, self.answered, self.failures = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(folder, token, call)) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def run(self, folder: Path, token: str, call: Callable[[grpc.Channel, str, bool], None]) -> None:
        with channel(folder, "client") as mine:
            while not self.stop.is_set():
                try:
                    call(mine, token, self.answered % 2 == 0)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failures.append(str(error))

    def end(self) -> int:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.failures:
            sys.exit(f"{len(self.failures)} of {self.answered + len(self.failures)} calls failed: {self.failures[0]}")
        return self.answered


def replace(file: Path, content: bytes) -> None:
    new = file.with_suffix(".replacing")
    new.write_bytes(content)
    new.rename(file)


def wait_for(what: str, done: Callable[[], bool]) -> None:
    for _ in range(300):
        if done():
            return
        time.sleep(0.1)
    sys.exit(f"within 30 seconds this did not happen: {what}")


def main(folder: Path) -> None:
    words = [vocabulary_pb2.Category(name=name) for name in ("cat", "dog", "sky")]
    request = pb.SegmentRequest(
        image=image_pb2.Image(encoded=PICTURE),
        vocabulary=vocabulary_pb2.Vocabulary(categories=vocabulary_pb2.CategoryList(categories=words)),
    )

    def call(channel: grpc.Channel, token: str | None, packed: bool = False) -> None:
        metadata = [("authorization", f"Bearer {token}")] if token else []
        compression = grpc.Compression.Gzip if packed else grpc.Compression.NoCompression
        stub = services.SegmentationServiceStub(channel)
        answer = stub.Segment(request, timeout=30, metadata=metadata, compression=compression)
        if len(answer.categories) != 3:
            sys.exit("an answer lacks categories")

    def refusal(client: str | None, token: str | None) -> grpc.RpcError:
        with channel(folder, client) as other:
            try:
                call(other, token)
            except grpc.RpcError as error:
                return error
        sys.exit(f"a call with certificate {client} and token {token} was answered")

    def works(token: str) -> bool:
        with channel(folder, "client") as other:
            try:
                call(other, token)
            except grpc.RpcError:
                return False
            return True

    if refusal(None, OLD).code() != grpc.StatusCode.UNAVAILABLE:
        sys.exit("a client without certificate was not refused by the handshake")
    for token in (None, NEW):
        if refusal("client", token).code() != grpc.StatusCode.UNAUTHENTICATED:
            sys.exit("a call without a known token was not refused for that")
    print("refused: no certificate, no token, an unknown token")

    load = Load(folder, OLD, call)
    time.sleep(2)
    shown = lambda: ssl.get_server_certificate(("localhost", int(PORT)))  # noqa: E731
    certificates = [ssl.PEM_cert_to_DER_cert((folder / f"{name}.pem").read_text()) for name in ("old", "new")]
    if ssl.PEM_cert_to_DER_cert(shown()) != certificates[0]:
        sys.exit("the server shows another certificate than its own")
    for kind in ("key", "pem"):
        replace(folder / f"server.{kind}", (folder / f"new.{kind}").read_bytes())
    wait_for("the new certificate is shown", lambda: ssl.PEM_cert_to_DER_cert(shown()) == certificates[1])
    replace(folder / "tokens", f'tester = ["{OLD}", "{NEW}"]\n'.encode())
    wait_for("the new token is known", lambda: works(NEW))
    time.sleep(2)
    answered = load.end()
    load = Load(folder, NEW, call)
    replace(folder / "tokens", f'tester = "{NEW}"\n'.encode())
    wait_for("the old token is revoked", lambda: not works(OLD))
    answered += load.end()
    ops = os.environ["SED_OPS_ADDRESS"]
    metrics = urllib.request.urlopen(f"http://{ops}/metrics").read().decode()
    counted = next(line for line in metrics.splitlines() if line.startswith('sed_requests_by_caller_total{caller="tester",code="OK"}'))
    if float(counted.split()[-1]) < answered or OLD in metrics or NEW in metrics:
        sys.exit(f"the metrics do not tell of {answered} calls: {counted}")
    print(f"{answered} calls over connections of half a second while certificate and tokens were replaced: none failed")


main(Path(sys.argv[1]))
