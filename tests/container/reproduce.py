"""Compiles the program of target cpu twice, the second time with nothing compiled before, and compares.

python reproduce.py --work FOLDER --cache FOLDER
"""

import argparse
import hashlib
import pathlib
import sys

from chroot import Builder


def program(work: pathlib.Path, cache: pathlib.Path, mounts: pathlib.Path) -> str:
    """The digest of what the stage makes."""
    work.mkdir()
    image = Builder(work, cache, {}, mounts).build("build-cpu")
    return hashlib.sha256((image.root / "out/sed-serve").read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    given = parser.parse_args()
    first = program(given.work / "first", given.cache, given.cache / "mounts")
    second = program(given.work / "second", given.cache, given.work / "mounts")
    print(f"  {first} with what was compiled before\n  {second} from nothing")
    if first != second:
        sys.exit("  they differ")


if __name__ == "__main__":
    main()
