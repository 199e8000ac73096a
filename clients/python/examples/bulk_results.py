"""Results of a bulk run: one JSON file for each picture, written at once or not at all, so that runs can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def pictures_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures in a folder and those below it, in a fixed order, and entries with such names that are no files.

    Hidden entries are in neither, as with `sed-serve segment`; links to folders are not followed. A link that leads
    nowhere is a picture that cannot be read. A folder that cannot be listed is an entry that is no file.
    """
    pictures: list[Path] = []
    left_out: list[Path] = []
    for path, folders, files in os.walk(folder, onerror=lambda error: left_out.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            entry = Path(path, name)
            if entry.suffix.lower() in SUFFIXES and not name.startswith("."):
                (pictures if _is_readable(entry) else left_out).append(entry)
    return sorted(pictures), sorted(left_out)


def _is_readable(entry: Path) -> bool:
    """True unless reading would not end with the content of a file, or with an error: folders, pipes, devices."""
    try:
        return entry.is_file() or not entry.exists()
    except OSError:
        return True


class Results:
    """A folder with the tree of the pictures' folder, and a JSON file in the place of each picture.

    `NAME.json` is a result, `NAME.error.json` the error of a picture that failed. With `retry_failed`, a picture that
    failed counts as one without a result. `run.json` has the question that all results answer.
    """

    def __init__(self, pictures: Path, folder: Path, question: dict[str, Any], *, retry_failed: bool = False) -> None:
        """Describes a folder; the question are the words and options, in JSON."""
        self._pictures = pictures
        self._folder = folder
        self._question: dict[str, Any] = json.loads(json.dumps(question))
        self._retry_failed = retry_failed
        self._numbers: dict[str, int] | None = None

    def check_question(self) -> None:
        """Ends the program where the folder has the results of another question."""
        try:
            asked = json.loads(self._question_file.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            sys.exit(f"error: cannot read {self._question_file}: {error}")
        differences = [
            f"{name} {json.dumps(asked.get(name))}, not {json.dumps(now)}"
            for name, now in self._question.items()
            if asked.get(name) != now
        ]
        if differences:
            known = "; ".join(differences)
            sys.exit(f"error: the results in {self._folder} are those of {known}; give this run another folder")

    @property
    def _question_file(self) -> Path:
        return self._folder / "run.json"

    def number_by(self, annotations: Path) -> None:
        """Reads the image ids from a COCO file, whose `images` have `id` and `file_name`."""
        self._numbers = {image["file_name"]: image["id"] for image in json.loads(annotations.read_text())["images"]}

    def has_number(self, picture: Path) -> bool:
        """True if the COCO file has the picture, or there is none."""
        return self._numbers is None or self.name_of(picture) in self._numbers

    def number_of(self, picture: Path) -> int:
        """The `image_id`, an integer as in COCO files: that of the COCO file, or 53 bits of a digest of the name.

        So every run and machine has the same number for a picture, also after others were added to the folder.
        """
        if self._numbers is not None:
            return self._numbers[self.name_of(picture)]
        digest = hashlib.blake2b(self.name_of(picture).encode(errors="surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 11  # JSON numbers are exact up to 53 bits

    def name_of(self, picture: Path) -> str:
        """The `file_name`: the path within the pictures' folder."""
        return picture.relative_to(self._pictures).as_posix()

    def file_of(self, picture: Path) -> Path:
        """The file of a picture's result; its name keeps the picture's ending: a.png and a.jpg both have one."""
        return self._folder / f"{self.name_of(picture)}.json"

    def error_file_of(self, picture: Path) -> Path:
        """The file that says why a picture failed."""
        return self._folder / f"{self.name_of(picture)}.error.json"

    def has(self, picture: Path) -> bool:
        """True if nothing is left to do for the picture, after this run or an earlier one."""
        return self.file_of(picture).exists() or (not self._retry_failed and self.error_file_of(picture).exists())

    def has_failed(self, picture: Path) -> bool:
        """True if the picture has an error and no result."""
        return self.error_file_of(picture).exists() and not self.file_of(picture).exists()

    def write(self, picture: Path, result: dict[str, Any]) -> None:
        """Stores a result, or the `error` in its place."""
        head = {"file_name": self.name_of(picture), "image_id": self.number_of(picture)}
        if "error" in result:
            _write(self.error_file_of(picture), {**head, **result})
            return
        if not self._question_file.exists():  # now that a server has accepted the question
            _write(self._question_file, self._question)
        _write(self.file_of(picture), {**head, **result})
        self.error_file_of(picture).unlink(missing_ok=True)

    def end(self, pictures: Iterable[Path]) -> None:
        """Ends the program with 1 if pictures have failed in this run or an earlier one."""
        failed = [picture for picture in pictures if self.has_failed(picture)]
        if failed:
            what = "1 picture" if len(failed) == 1 else f"{len(failed)} pictures"
            why = f"{self.error_file_of(failed[0])} says why the first one did"
            sys.exit(f"error: {what} failed: {why}; they are skipped by the next run, unless it has --retry-failed")


def _write(file: Path, content: dict[str, Any]) -> None:
    """Writes a file under its name in one step: a killed process leaves all of it or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(file)
