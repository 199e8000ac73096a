"""Writes repair.json: random texts with what the reference cleans them to.

Run with `pip install ftfy==6.3.1`. Cleaning: ftfy, html.unescape twice, whitespace, lower case.
Usage: generate_repair.py [seed [count [output]]]
"""

import html
import json
import pathlib
import random
import sys

import ftfy

SEED, COUNT = (int(value) for value in (sys.argv[1:3] + ["1", "2000"][len(sys.argv[1:3]):]))
OUT = sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parent / "repair.json"
RANDOM = random.Random(SEED)
WORDS = (
    "cat tree floor 'quote' building café naïve Straße œuf “quoted” ‘single’ … — – ﬁne ＦＵＬＬ １２３ 猫の写真 Привет мир "
    "ΟΔΥΣΣΕΥΣ صورة קטה 고양이 रूप \u00a0 \u200b \u2028 \x85 \x1b[31m &amp; &lt; &#39; &copy &nbsp; < > \ufffd ? ﾊﾝｶｸ ｶﾞ é ñ 😀 € £ © ® ™ "
    "½ ² Å ſ ĳ ŉ ǆ \u0301 \u0327 à la là às &NTILDE; &SZLIG; &AMPX; \r \x1a"
).split(" ")
ENCODINGS = "latin-1 cp1252 cp1251 cp1250 cp1253 cp1254 cp1257 iso8859-2 mac-roman cp437".split()
ENTITIES = (
    "amp lt gt quot nbsp copy eacute Eacute EACUTE notin not #39 #x27 #128 #150 #x80 #0 #xD800 #1114112 #38 hellip "
    "amp;amp NotEqualTilde ngE #28 #8232 #12 lang semi NTILDE FRAC12 frac12 #x26;lt"
).split()
RANGES = [
    [(0x20, 0x7F), (0x80, 0x180), (0x2010, 0x2040), (0x370, 0x460), (0x20A0, 0x2123)],
    [(0, 0x20), (0x7F, 0xA1), (0x20, 0x7F), (0x300, 0x370), (0xFB00, 0xFB50), (0xFF00, 0xFFFF), (0x1F300, 0x1F700)],
]


def mojibake(text):
    for encoding in RANDOM.sample(ENCODINGS, len(ENCODINGS)):
        raw = text.encode("utf-8", "surrogatepass")
        if RANDOM.random() < 0.1:  # CESU-8: each half of a surrogate pair on its own
            units = text.encode("utf-16-be", "surrogatepass")
            halves = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
            raw = b"".join(chr(half).encode("utf-8", "surrogatepass") for half in halves)
        try:
            return raw.decode(encoding, RANDOM.choice(["strict", "strict", "replace"]))
        except UnicodeDecodeError:
            pass
    return text


def words(low, high):
    return " ".join(RANDOM.choice(WORDS) for _ in range(RANDOM.randint(low, high)))


def text():
    kind = RANDOM.random()
    if kind < 0.2:
        return words(1, 5)
    if kind < 0.55:
        made = mojibake(words(1, 4))
        if RANDOM.random() < 0.3:
            made = mojibake(made)
        if RANDOM.random() < 0.4:
            made = f"{words(0, 1)} {made} {words(0, 2)}"
        if RANDOM.random() < 0.3 and made:
            at = RANDOM.randrange(len(made))
            made = made[:at] + RANDOM.choice("?\ufffd \xa0") + made[at + 1 :]
        return made
    if kind < 0.8:
        ranges = RANDOM.choice(RANGES)
        return "".join(chr(RANDOM.randrange(*RANDOM.choice(ranges))) for _ in range(RANDOM.randint(1, 8)))
    tail = RANDOM.choice([";", "", " ;", "x"]) + RANDOM.choice(["", "b", " <b>", "=1", "&amp;lt;", "\n&lt;"])
    return RANDOM.choice(["", "a ", "x"]) + "&" + RANDOM.choice(ENTITIES) + tail


def clean(raw):
    raw = html.unescape(html.unescape(ftfy.fix_text(raw)))
    return " ".join(raw.split()).lower()


cases = []
while len(cases) < COUNT:
    made = text()
    if not any(0xD800 <= ord(char) < 0xE000 for char in made):
        cases.append([made, clean(made)])
lines = ",\n".join(json.dumps(case) for case in cases)
pathlib.Path(OUT).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
