"""CLIP's byte-pair tokenizer, cut to the first merges.

With ``vocab_size`` V the first ``V - 514`` merges are used; ids 0..511 are the bytes (alone and at
a word's end), then the merges, then start-of-text (V-2) and end-of-text (V-1).
"""

import gzip
import html

import ftfy
import numpy as np
import regex

from settings import SOURCES

BPE_FILE = SOURCES / "clip-bpe" / "open_clip" / "bpe_simple_vocab_16e6.txt.gz"
PATTERN = regex.compile(
    r"""<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""",
    regex.IGNORECASE,
)


def byte_alphabet() -> dict[int, str]:
    """The printable stand-in of every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


class Tokenizer:
    """Text to ids, int64 [context_length]."""

    def __init__(self, vocab_size: int, context_length: int = 77):
        self.bytes = byte_alphabet()
        merges = gzip.open(BPE_FILE, "rt", encoding="utf-8").read().split("\n")[1 : vocab_size - 514 + 1]
        pairs = [tuple(m.split()) for m in merges]
        letters = list(self.bytes.values())
        pieces = letters + [c + "</w>" for c in letters] + ["".join(p) for p in pairs]
        self.ids = {piece: i for i, piece in enumerate(pieces)}
        self.ranks = {pair: i for i, pair in enumerate(pairs)}
        self.start, self.end = vocab_size - 2, vocab_size - 1
        self.context_length = context_length
        self.cache: dict[str, list[int]] = {}

    def _word(self, word: str) -> list[int]:
        if word in self.cache:
            return self.cache[word]
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            ranked = [(self.ranks.get(pair, len(self.ranks)), pair) for pair in zip(parts, parts[1:])]
            rank, best = min(ranked)
            if rank == len(self.ranks):
                break
            merged, i = [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        self.cache[word] = [self.ids[p] for p in parts]
        return self.cache[word]

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone, without start, end and padding."""
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        text = regex.sub(r"\s+", " ", text).strip().lower()
        out: list[int] = []
        for word in PATTERN.findall(text):
            if word == "<start_of_text>":
                out.append(self.start)
            elif word == "<end_of_text>":
                out.append(self.end)
            else:
                out += self._word("".join(self.bytes[b] for b in word.encode("utf-8")))
        return out

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Padded ids with start and end: int64 [len(texts), context_length]."""
        out = np.zeros((len(texts), self.context_length), np.int64)
        for row, text in zip(out, texts):
            ids = [self.start, *self.encode(text), self.end]
            if len(ids) > self.context_length:
                ids = [*ids[: self.context_length - 1], self.end]
            row[: len(ids)] = ids
        return out
