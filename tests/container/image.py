"""The result of a stage."""

import dataclasses
import os
import pathlib


@dataclasses.dataclass
class Image:
    """A root folder, and the settings that an engine would record with it."""

    root: pathlib.Path
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = dataclasses.field(default_factory=list)
    command: list[str] = dataclasses.field(default_factory=list)
    health: list[str] = dataclasses.field(default_factory=list)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    ports: str = ""
    stop_signal: str = ""
    # Folders of this machine that RUN sees, by where it sees them.
    binds: dict[str, str] = dataclasses.field(default_factory=dict)
    # What each COPY added, in bytes.
    layers: list[tuple[str, int]] = dataclasses.field(default_factory=list)


def inside(root: pathlib.Path, path: str) -> pathlib.Path:
    """An absolute path of an image as a path of this machine."""
    return root / os.path.normpath(path).lstrip("/")
