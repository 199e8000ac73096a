"""Results of a bulk run: one JSON file for each picture, written at once or not at all, so that runs can be resumed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}


def pictures_of(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it, in a fixed order."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


class Results:
    """A folder with the tree of the pictures' folder, and a JSON file in the place of each picture."""

    def __init__(self, pictures: Path, folder: Path) -> None:
        self._pictures = pictures
        self._folder = folder

    def file_of(self, picture: Path) -> Path:
        """The file of a picture's result; its name keeps the picture's ending: a.png and a.jpg both have one."""
        return self._folder / f"{picture.relative_to(self._pictures)}.json"

    def has(self, picture: Path) -> bool:
        """True if the picture has its result, of this run or an earlier one."""
        return self.file_of(picture).exists()

    def write(self, picture: Path, result: dict[str, Any]) -> None:
        """Stores a result under its name in one step: a killed process leaves all of it or none."""
        file = self.file_of(picture)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        unfinished.write_text(json.dumps({"picture": str(picture.relative_to(self._pictures)), **result}))
        unfinished.replace(file)
