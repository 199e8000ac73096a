"""Pictures chosen by hand: ``clipart.txt`` (Open Clipart, public domain, trained on) and ``photos.txt``
(photo cut-outs of Tux Paint, for evaluation only). Each line: category | files.
"""

from collections.abc import Iterator

from PIL import Image

from settings import HERE, SOURCES

ROOTS = {
    "clipart": SOURCES / "openclipart" / "usr" / "share" / "openclipart" / "png",
    "photos": SOURCES / "tuxpaint" / "usr" / "share" / "tuxpaint" / "stamps",
}


def chosen(source: str) -> dict[str, list[str]]:
    """Hand-checked pictures of a source: category name -> paths below the source's folder."""
    lines = (HERE / f"{source}.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in lines if line and line[0] != "#"]
    return {name.strip(): files.split() for name, files in rows}


def pictures(source: str, name: str, side: int) -> Iterator[tuple[str, Image.Image]]:
    """The pictures of a category, RGBA, longest side at most ``side``."""
    for stem in chosen(source).get(name, []):
        picture = Image.open(ROOTS[source] / stem).convert("RGBA")
        box = picture.getbbox()
        if box is None:
            continue
        picture = picture.crop(box)
        picture.thumbnail((side, side), Image.LANCZOS)
        yield stem, picture
