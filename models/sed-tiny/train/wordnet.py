"""WordNet's nouns: what each word can mean, and which kinds of a thing there are."""

from dataclasses import dataclass

from settings import SOURCES

# The lexicographer files of things one can see.
CONCRETE = {5: "animal", 6: "artifact", 8: "body", 13: "food", 17: "object", 18: "person", 19: "phenomenon",
            20: "plant", 25: "shape", 27: "substance", 15: "location"}


@dataclass
class Synset:
    """One meaning: its lexicographer file, its words, the meanings it is the broader one of, its first gloss."""

    file: int
    lemmas: list[str]
    kinds: list[str]
    gloss: str


def _lines(file: str) -> list[str]:
    text = (SOURCES / "wordnet/usr/share/wordnet" / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("  ")]


def synsets() -> dict[str, Synset]:
    """offset -> meaning (the format of the WordNet manual page wndb(5WN))."""
    out = {}
    for line in _lines("data.noun"):
        head, gloss = line.split(" | ", 1)
        cells = head.split()
        count = int(cells[3], 16)
        lemmas = [cells[4 + 2 * i].replace("_", " ") for i in range(count)]
        pointers = cells[5 + 2 * count :]
        kinds = [offset for symbol, offset in zip(pointers[::4], pointers[1::4]) if symbol == "~"]
        out[cells[0]] = Synset(int(cells[1]), lemmas, kinds, gloss.split(";")[0].strip())
    return out


def senses() -> dict[str, list[str]]:
    """word -> offsets of its meanings, the most frequent first."""
    out = {}
    for line in _lines("index.noun"):
        cells = line.split()
        out[cells[0].replace("_", " ")] = cells[-int(cells[2]) :]
    return out
