"""The command line of the bulk examples: the pictures, the question that all of them are asked, and the servers."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulk_results import Results, pictures_of

from sed_serve_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = 5
"""Fewer words than this have contrast words of the server's choice, as with `sed-serve segment`: an arg-max over one
word has no choice, and claims every pixel."""


@dataclasses.dataclass(frozen=True)
class Task:
    """The question and the servers; another machine can use it: certificates are contents of files, not their names.

    words: categories, or None if the server knows them as `vocabulary`. options: those of `AsyncClient.segment`.
    security: the token and certificates, arguments of `AsyncClient`. in_flight: requests at a time for each server.
    timeout: seconds for each call. patience: seconds that a server may be away before it is given up.
    """

    servers: list[str]
    words: list[list[str]] | None
    vocabulary: str | None
    options: dict[str, Any]
    security: dict[str, Any]
    in_flight: int
    timeout: float
    patience: float


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that the bulk examples have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("results", type=Path, help="folder for the results; on a cluster one that all machines share")
    parser.add_argument(
        "--retry-failed", action="store_true", help="segment pictures again that failed in earlier runs"
    )
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="COCO file: its `images` say the image_id of each file_name"
    )
    _question(parser)
    _servers(parser)
    return parser


def _question(parser: argparse.ArgumentParser) -> None:
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--words", type=_words, help="separated by commas, synonyms by |")
    asked.add_argument("--vocabulary", metavar="NAME", help="words that the server knows by name, such as ade20k-150")
    parser.add_argument(
        "--contrast",
        metavar="auto|off|WORDS",
        help="words that compete with yours, and whose pixels stay unlabelled; auto: the server's choice. "
        f"[default: auto with fewer than {FEW} words; else off, or what the named vocabulary says]",
    )
    parser.add_argument("--top-k", type=number(int, 0), metavar="N", help="categories that stay at each level; 0: all")
    parser.add_argument(
        "--threshold",
        type=_threshold,
        action="append",
        default=[],
        metavar="SCORE|NAME=SCORE",
        help="pixels whose score is below stay unlabelled; NAME=SCORE: for one category; may be given several times",
    )


def _servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--servers",
        required=True,
        type=lambda text: [server.strip() for server in text.split(",")],
        metavar="HOST:PORT,...",
        help="the replicas; https://HOST:PORT for TLS",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the bearer token [default: the token in SED_TOKEN]"
    )
    parser.add_argument("--ca-certificate", type=Path, metavar="FILE", help="authorities to trust, PEM; turns TLS on")
    parser.add_argument("--client-certificate", type=Path, metavar="FILE", help="certificate to show, PEM")
    parser.add_argument("--client-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--in-flight", type=number(int, 1), default=8, metavar="N", help="requests at a time for each server"
    )
    parser.add_argument(
        "--timeout", type=number(float, 0.001), default=60.0, metavar="SECONDS", help="for each call; inf: no limit"
    )
    parser.add_argument(
        "--patience",
        type=number(float, 0),
        default=600.0,
        metavar="SECONDS",
        help="a server that is away longer is given up",
    )


def task_of(given: argparse.Namespace) -> Task:
    """The question and the servers of a command line."""
    options: dict[str, Any] = {}
    contrast = given.contrast or ("auto" if given.words and len(given.words) < FEW else None)
    if contrast is not None:
        options["contrast"] = (
            {"auto": "auto", "off": None}[contrast] if contrast in {"auto", "off"} else _words(contrast)
        )
    if given.top_k is not None:
        options["top_k"] = given.top_k
    for name, score in given.threshold:
        if name is None:
            options["score_threshold"] = score
        else:
            options.setdefault("category_thresholds", {})[name] = score
    token = _content(given.token_file).decode().strip() if given.token_file else os.environ.get("SED_TOKEN")
    security = {
        "token": token or None,
        "ca": _content(given.ca_certificate),
        "certificate": _content(given.client_certificate),
        "key": _content(given.client_key),
    }
    try:
        for server in given.servers:
            Client(server, **security).close()
    except ValueError as error:  # of the target, the token or the certificates
        sys.exit(f"error: {error}")
    return Task(
        given.servers,
        given.words,
        given.vocabulary,
        options,
        security,
        given.in_flight,
        given.timeout,
        given.patience,
    )


def pictures_and_results(given: argparse.Namespace, task: Task) -> tuple[list[Path], Results]:
    """The pictures of a command line, and the place of their results.

    Ends the program where there are no pictures, or the results are those of other words or options.
    """
    folder = given.pictures.resolve()
    if not folder.is_dir():
        sys.exit(f"error: {given.pictures} is not a folder")
    pictures, left_out = pictures_of(folder)
    if left_out:
        what = "1 entry that is" if len(left_out) == 1 else f"{len(left_out)} entries that are"
        print(f"left out: {what} no file, such as {left_out[0]}", file=sys.stderr, flush=True)
    if not pictures:
        sys.exit(f"error: the folder {given.pictures} holds no pictures")
    question = {"words": task.words, "vocabulary": task.vocabulary, "options": task.options}
    results = Results(folder, given.results.resolve(), question, retry_failed=given.retry_failed)
    results.check_question()
    if given.annotations is not None:
        results.number_by(given.annotations)
        unknown = next((picture for picture in pictures if not results.has_number(picture)), None)
        if unknown is not None:
            sys.exit(f"error: {given.annotations} has no image with the file_name {results.name_of(unknown)}")
    return pictures, results


def _content(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        sys.exit(f"error: cannot read {file}: {error.strerror}")


def _words(text: str) -> list[list[str]]:
    """Reads words, separated by commas, with synonyms by `|`."""
    return [[phrase.strip() for phrase in category.split("|")] for category in text.split(",")]


def number(kind: type, least: float) -> Callable[[str], Any]:
    """Reads numbers of a kind that are not below the least one."""

    def read(text: str) -> Any:  # noqa: ANN401
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not value >= least:  # NaN, too
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} of {least} or more")
        return value

    return read


def _threshold(text: str) -> tuple[str | None, float]:
    """Reads SCORE or NAME=SCORE."""
    name, equals, score = text.rpartition("=")
    return (name.strip() if equals else None), float(score)
