"""The words the model is taught: objects, stuff, their synonyms and broader words."""

from dataclasses import dataclass, field

from settings import HERE


@dataclass
class Thing:
    """One category. ``emoji`` are the pictograms that show it (empty for stuff)."""

    name: str
    emoji: list[str] = field(default_factory=list)
    synonyms: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    broader: list[str] = field(default_factory=list)
    place: str = "stuff"
    size: int = 0


def _rows(file: str) -> list[list[str]]:
    lines = (HERE / file).read_text(encoding="utf-8").splitlines()
    return [[c.strip() for c in line.split("|")] for line in lines if line and line[0] != "#"]


def _words(cell: str) -> list[str]:
    return [w.strip() for w in cell.split(",") if w.strip()]


def split_emoji(text: str) -> list[str]:
    """Cuts a run of emoji into single ones (joined sequences stay whole)."""
    out: list[str] = []
    for ch in text:
        joins = out and (ch in "\ufe0f\u200d\u2640\u2642" or out[-1].endswith("\u200d"))
        # A gender sign or black square that follows a joiner belongs to the sequence.
        if joins and (ch != "\u2640" and ch != "\u2642" or out[-1].endswith("\u200d")):
            out[-1] += ch
        else:
            out.append(ch)
    return out


def _things(file: str) -> list[Thing]:
    return [
        Thing(r[0], split_emoji(r[1]), _words(r[2]), _words(r[3]), _words(r[4]), r[5], int(r[6]))
        for r in _rows(file)
    ]


def objects() -> list[Thing]:
    """The trained object categories, in the order of ``vocabulary.txt``."""
    return _things("vocabulary.txt")


def unseen() -> list[Thing]:
    """Object categories kept away from training, for evaluation only."""
    return _things("unseen.txt")


def stuff() -> list[Thing]:
    """The trained stuff categories (sky, grass, ...)."""
    return [Thing(r[0], [], _words(r[1]), _words(r[2])) for r in _rows("stuff.txt")]


def code(emoji: str) -> str:
    """``1f415``-style key of an emoji, variation selectors dropped."""
    return "-".join(f"{ord(c):x}" for c in emoji if c != "\ufe0f")
