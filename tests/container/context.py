"""The build context: what .dockerignore leaves of the repository, by the rules of Docker's own Python client."""

import pathlib

from docker.utils import exclude_paths

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def files() -> list[pathlib.Path]:
    """Every file that `COPY` may see, relative to the repository."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    # The client always sends these two, for the engine and not for COPY.
    sent = exclude_paths(str(REPOSITORY), patterns) - {"Dockerfile", ".dockerignore"}
    return sorted(path for path in map(pathlib.Path, sent) if (REPOSITORY / path).is_file())
