"""Writes text_repair.json and html_entities.txt in this folder.

Run with `pip install ftfy==6.3.1`; the files are committed, so building the server needs no Python.
"""

import html.entities
import json
import pathlib
import re

import ftfy.badness
import ftfy.chardata as chardata

HERE = pathlib.Path(__file__).parent


def plain(pattern: str) -> str:
    """A verbose regular expression without its comments and free whitespace."""
    out, in_class, in_comment, previous = [], False, False, ""
    for char in pattern:
        if in_comment:
            in_comment = char != "\n"
        elif not in_class and char == "#":
            in_comment = True
        elif in_class or char not in " \n\t":
            if char == "[" and previous != "\\":
                in_class = True
            elif char == "]" and previous != "\\":
                in_class = False
            out.append(char)
            previous = char
    # What Python means by word characters and white space differs a little from what Rust's regex means.
    return "".join(out).replace(r"\w", r"[\p{L}\p{N}_]").replace(r"\s", r"[\s\x1c-\x1f]")


def upper_half(encoding: str) -> str:
    return bytes(range(0x80, 0x100)).decode(encoding)


clues = chardata.UTF8_CLUES
# The lookbehind of the original is applied by the caller, from `continuation`.
sequence = re.sub(r"^\(\?<!\[[^]]*\]\)", "", plain(chardata.UTF8_DETECTOR_RE.pattern))
repair = {
    "encodings": [
        {"name": name, "sloppy": name.startswith("sloppy"), "upper_half": upper_half(name)}
        for name in chardata.CHARMAP_ENCODINGS
    ],
    "badness": plain(ftfy.badness.BADNESS_RE.pattern),
    "utf8_sequence": sequence,
    "continuation": f"[{clues['utf8_continuation_strict']}]",
    "ligatures": {chr(char): text for char, text in chardata.LIGATURES.items()},
}
(HERE / "text_repair.json").write_text(json.dumps(repair, indent=1) + "\n", encoding="utf-8")
entities = "".join(
    f"{name}\t{' '.join(f'{ord(char):x}' for char in text)}\n" for name, text in sorted(html.entities.html5.items())
)
(HERE / "html_entities.txt").write_text(entities, encoding="utf-8")
