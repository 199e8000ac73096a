"""Executes the notebook of the Python client, and renders it as a page with pictures.

python render.py [--write]    at the server $SED_ADDRESS; without --write it only compares with the page that is there
"""

import base64
import difflib
import io
import pathlib
import re
import sys

import nbformat
from nbclient import NotebookClient
from PIL import Image

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "clients" / "python" / "examples"
NOTEBOOK = EXAMPLES / "segment.ipynb"
PAGE = NOTEBOOK.with_suffix(".md")
PICTURES = EXAMPLES / "segment"
WIDTH = 400
LARGEST = 60_000
"""Bytes of a picture of the page."""


def main() -> None:
    """Executes, and writes or compares."""
    source = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in source.cells), "the notebook is committed without outputs"
    NotebookClient(source, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    pictures: dict[str, bytes] = {}
    page = "\n".join(part for cell in source.cells for part in rendered(cell, pictures))
    large = [name for name, content in pictures.items() if len(content) > LARGEST]
    assert not large, f"pictures that are too large for the repository: {large}"
    if "--write" in sys.argv:
        PAGE.write_text(page)
        PICTURES.mkdir(exist_ok=True)
        for old in PICTURES.glob("*.jpg"):
            old.unlink()
        for name, content in pictures.items():
            (PICTURES / name).write_bytes(content)
    compare(page, pictures)
    print(f"the notebook runs: {len(source.cells)} cells, {len(pictures)} pictures; its page has the same structure")


def rendered(cell: nbformat.NotebookNode, pictures: dict[str, bytes]) -> list[str]:
    """The lines of a cell and of its outputs; adds the pictures among them."""
    if cell.cell_type == "markdown":
        return [cell.source, ""]
    lines = ["```python", cell.source, "```", ""]
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            name = f"{len(pictures)}.jpg"
            pictures[name] = small(base64.b64decode(data["image/png"]))
            lines += [f"![output of the code above](segment/{name})", ""]
        elif output.output_type == "stream":
            assert output.name == "stdout", output.text
            lines += ["```text", output.text.rstrip(), "```", ""]
        else:
            lines += ["```text", data["text/plain"].rstrip(), "```", ""]
    return lines


def small(png: bytes) -> bytes:
    """A picture as it stands on the page."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80, optimize=True)
    return file.getvalue()


def compare(page: str, pictures: dict[str, bytes]) -> None:
    """The committed page has the same text, code and pictures; measured numbers may differ."""
    committed = PAGE.read_text() if PAGE.exists() else ""
    old, new = (re.sub(r"\d+(\.\d+)?", "#", text).splitlines() for text in (committed, page))
    difference = "\n".join(difflib.unified_diff(old, new, "segment.md", "the notebook", lineterm=""))
    names = {file.name for file in PICTURES.glob("*")}
    if difference or names != pictures.keys():
        sys.exit(f"{difference}\nthe page is older than the notebook: run tests/clients/notebook/run --write")
    for name, content in pictures.items():
        sizes = [Image.open(io.BytesIO(file)).size for file in ((PICTURES / name).read_bytes(), content)]
        assert sizes[0] == sizes[1], f"{name}: {sizes}"


if __name__ == "__main__":
    main()
