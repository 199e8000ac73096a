"""Builds a target of the Dockerfile into a folder and runs it as a container: what an image of it would do.

python prove.py TARGET --work FOLDER --cache FOLDER --client PROGRAM [--program FILE] [--build-arg NAME=VALUE]...

With --program, that program takes the place of the one that the stage build-TARGET compiles.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

from chroot import Builder
from container import Container
from context import REPOSITORY, files
from image import Image

PICTURES = REPOSITORY / "models/sed-tiny/examples"
HEALTH = ["/usr/local/bin/sed-serve", "health"]
# Not 127.0.0.1: a server that listens there alone could not be reached from outside of its container.
HOST = "127.0.0.2"
SEGMENT = ["segment", str(PICTURES / "farm.png"), "--no-output", "--json", "--server", f"http://{HOST}:50051"]
MIB = 1 << 20
# In a process of its own, which is ready before the request begins.
SEES_A_REQUEST = f"""
import time, urllib.request
def metrics(): return urllib.request.urlopen("http://{HOST}:9464/metrics", timeout=10).read().decode()
assert "\\nsed_requests_in_flight 0\\n" in metrics()
print("watching", flush=True)
while "\\nsed_requests_in_flight 1\\n" not in metrics(): time.sleep(0.005)
"""


def say(what: str) -> None:
    print(f"  {what}", flush=True)


def wait_until_healthy(container: Container) -> None:
    """Asks by the image's own health check, as an engine does."""
    assert container.image.health == HEALTH, "the health check is another command"
    begun = time.monotonic()
    while (answer := container.execute(container.image.health)).returncode != 0:
        waiting = container.outer.poll() is None and time.monotonic() < begun + 120
        assert waiting, container.log.read_text() + answer.stderr
        time.sleep(0.1)
    # A check that cannot fail shows nothing.
    elsewhere = container.execute(HEALTH, {"SED_LISTEN": "0.0.0.0:50052"})
    assert elsewhere.returncode == 1 and "cannot reach" in elsewhere.stderr, elsewhere


def segment(container: Container, client: str) -> dict:
    """A request over the network, from a program of this machine."""
    command = container.beside([client, *SEGMENT, "--words", "sky, grass, tractor", "--contrast", "off"])
    answer = json.loads(subprocess.check_output(command, text=True))
    assert all(category["pixels"] > 0 for category in answer["categories"]), answer["categories"]
    return answer


def page(container: Container, path: str) -> str:
    """A page of the operations port."""
    read = f"import urllib.request as r; print(r.urlopen('http://{HOST}:9464{path}', timeout=10).read().decode())"
    return subprocess.check_output(container.beside([sys.executable, "-c", read]), text=True)


def stop_while_it_works(container: Container, client: str) -> None:
    """SIGTERM with a request under way: the request is answered, and the server ends with 0."""
    watcher = subprocess.Popen(container.beside([sys.executable, "-c", SEES_A_REQUEST]), stdout=subprocess.PIPE)
    assert watcher.stdout and watcher.stdout.readline() == b"watching\n"
    long = container.beside([client, *SEGMENT, "--vocabulary", "ade20k-150", "--top-k", "0"])
    request = subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watcher.wait(timeout=120) == 0
    os.kill(container.process, signal.SIGTERM)
    output, errors = request.communicate(timeout=120)
    assert request.returncode == 0, errors
    assert len(json.loads(output)["rejection"]["levels"]) == 3
    code = container.outer.wait(timeout=60)
    assert code == 0, f"it ended with {code}: {container.log.read_text()}"
    say("SIGTERM with a request under way: the request was answered, the server ended with 0")


def prove_settings(image: Image, arguments: dict[str, str]) -> None:
    """Labels and the like, as an engine would record them."""
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.labels.items()}
    workspace = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]
    assert labels["version"] == workspace["version"] and labels["licenses"] == workspace["license"], labels
    for name in ["REVISION", "CREATED", "SOURCE"]:
        assert labels[name.lower()] == arguments[name], labels
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"]), labels
    settings = (image.stop_signal, image.user, image.ports)
    assert settings == ("SIGTERM", "65532:65532", "50051 9464"), settings


def prove_contents(image: Image) -> None:
    """No shell, no package manager, and no file that another user than root could change."""
    found = {path.name for path in image.root.rglob("*") if path.is_file() and os.access(path, os.X_OK)}
    unwanted = found & {"sh", "bash", "dash", "busybox", "apt-get", "dpkg", "python3", "perl"}
    assert not unwanted, f"the image has {unwanted}"
    assert "sed-serve" in found
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    writable = [path for path in files if path.stat().st_uid != 0 or path.stat().st_mode & 0o022]
    assert not writable, f"another user than root can change {writable}"


def size(root: pathlib.Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def prove(image: Image, target: str, work: pathlib.Path, client: str) -> None:
    """Everything that a running container shows."""
    with Container(image) as container:
        wait_until_healthy(container)
        status = container.status()
        assert (status["Uid"][0], status["CapEff"][0], status["NoNewPrivs"][0]) == ("65532", "0" * 16, "1"), status
        say(f"started with no arguments as uid {status['Uid'][0]}, without capabilities, its root read-only")
        answer = segment(container, client)
        page(container, "/readyz")
        say(f"{answer['model']['name']} segmented a picture; /readyz is 200")
        if target == "cuda":
            no_driver(container)
        stop_while_it_works(container, client)
    # A new volume has the owner of its folder in the image.
    volume = work / "text-embeddings"
    volume.mkdir()
    owner = (image.root / "var/cache/sed-serve").stat()
    os.chown(volume, owner.st_uid, owner.st_gid)
    models = work / "models"
    models.mkdir()
    for name in ["sed-tiny.safetensors", "config.json"]:
        shutil.copy(REPOSITORY / "models/sed-tiny" / name, models)
    environment = {"SED_TEXT_CACHE_DIR": "/var/cache/sed-serve", "SED_MODEL": "/models/sed-tiny.safetensors"}
    with Container(image, environment, {"/var/cache/sed-serve": volume, "/models": models}) as container:
        wait_until_healthy(container)
        assert segment(container, client)["model"]["digest"] == answer["model"]["digest"]
        kept = sum(path.is_file() for path in volume.rglob("*"))
        assert kept >= 3, f"{kept} files of text embeddings for three words"
        say(f"weights from /models, text embeddings kept in a volume ({kept} files)")


def no_driver(container: Container) -> None:
    """The libraries are found, and without a driver the server says that it computes on the CPU."""
    for library in ["libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"]:
        listed = container.execute(["/lib64/ld-linux-x86-64.so.2", "--list", f"/usr/local/cuda/lib64/{library}"])
        assert listed.returncode == 0 and "not found" not in listed.stdout, listed
    assert "computing on the cpu" in container.log.read_text()
    refused = container.execute(["/usr/local/bin/sed-serve", "serve", "--device", "cuda:0"])
    assert refused.returncode == 1 and "driver" in refused.stderr, refused
    say("CUDA's libraries load; without a driver it serves on the CPU, and refuses cuda:0")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=["cpu", "cuda"])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--client", required=True)
    parser.add_argument("--program", type=pathlib.Path)
    parser.add_argument("--build-arg", action="append", default=[])
    given = parser.parse_args()
    arguments = dict(pair.split("=", 1) for pair in given.build_arg)
    context = files()
    say(f"build context: {len(context)} files, {sum((REPOSITORY / f).stat().st_size for f in context) / MIB:.1f} MiB")
    builder = Builder(given.work, given.cache, arguments)
    if given.program:
        folder = given.work / "given/out"
        folder.mkdir(parents=True)
        subprocess.run(["strip", "-o", folder / "sed-serve", given.program], check=True)
        (folder / "sed-serve").chmod(0o755)
        builder.stand_in(f"build-{given.target}", folder.parent)
        (given.work / "base/volumes/sed-serve").mkdir(parents=True)
        builder.stand_in("base", given.work / "base")
    image = builder.build(given.target)
    prove_settings(image, arguments)
    prove_contents(image)
    layers = ", ".join(f"{bytes / MIB:.1f} MiB {name.split()[-1]}" for name, bytes in image.layers if bytes > MIB)
    say(f"size of the root: {size(image.root) / MIB:.1f} MiB, in it {layers}")
    prove(image, given.target, given.work, given.client)
    baked(builder, given)


def baked(builder: Builder, given: argparse.Namespace) -> None:
    """The same with weights inside."""
    weights = "models/sed-tiny/sed-tiny.safetensors"
    (given.work / "baked").mkdir()
    other = Builder(given.work / "baked", given.cache, builder.given | {"MODEL": weights})
    for stage in ["base", f"build-{given.target}", "cuda-tools", "cuda-libraries"]:
        if stage in builder.built:
            other.built[stage] = builder.built[stage]
    image = other.build(given.target)
    with Container(image) as container:
        wait_until_healthy(container)
        segment(container, given.client)
        assert "the embedded model" not in container.log.read_text(), "the weights of MODEL were not used"
    say(f"MODEL={weights} is baked in, and served")


if __name__ == "__main__":
    main()
