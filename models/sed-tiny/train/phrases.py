"""The phrases the text tower is taught, and what each shall mean (from WordNet and the vocabulary).

A phrase comes with up to two explanations for the teacher: the phrase itself and, for concrete
nouns of WordNet, "lemma, lemma: gloss" of its sense, which draws words of one meaning together.
"""

from dataclasses import dataclass

import vocabulary
import wordnet

SEEN = {5, 6, 8, 13, 17, 18, 20}
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink", "small", "big", "old", "wooden")


@dataclass
class Phrase:
    """A phrase, an explanation of its sense (or "") and how much it matters in training."""

    text: str
    sense: str = ""
    weight: float = 1.0


def _wordnet(tokens_of) -> list[Phrase]:
    synsets = wordnet.synsets()
    out = []
    for text, offsets in wordnet.senses().items():
        if not text.replace(" ", "").replace("-", "").isalpha() or text.count(" ") > 2:
            continue
        # Words that CLIP's first merges spell in few pieces are the common ones.
        if tokens_of(text) > 2 + 2 * text.count(" ") + (text.count(" ") == 0) * 1:
            continue
        senses = [synsets[o] for o in offsets]
        concrete = next((s for s in senses[:3] if s.file in wordnet.CONCRETE), None)
        if concrete is None:
            if len(text) < 12 and tokens_of(text) <= 1:
                out.append(Phrase(text, "", 0.3))
            continue
        # Names of people and places are written with capitals in the synset.
        if all(lemma != lemma.lower() for lemma in concrete.lemmas):
            continue
        first = concrete is senses[0] or (len(senses) > 1 and concrete is senses[1])
        sense = ", ".join(concrete.lemmas[:3]) + ": " + concrete.gloss if first else ""
        out.append(Phrase(text, sense, 1.5 if concrete.file in SEEN else 0.7))
    return out


def _taught() -> list[Phrase]:
    """The trained names, their trained synonyms and their broader words."""
    out, broad = [], set()
    for thing in vocabulary.objects() + vocabulary.stuff():
        together = ", ".join([thing.name, *thing.synonyms])
        kind = f" ({thing.broader[0]})" if thing.broader else ""
        out += [Phrase(w, together + kind, 12.0) for w in [thing.name, *thing.synonyms]]
        broad.update(thing.broader)
    return out + [Phrase(w, "", 12.0) for w in sorted(broad)]


def corpus(tokens_of) -> list[Phrase]:
    """All phrases, each once. ``tokens_of(text)`` counts its ids."""
    taught = _taught()
    out = {p.text: p for p in _wordnet(tokens_of)}
    out.update({p.text: p for p in taught})
    coloured = [f"{c} {t.name}" for t in vocabulary.objects() for c in COLOURS[hash_of(t.name) % 3 :: 3]]
    for text in coloured:
        out.setdefault(text, Phrase(text, "", 0.5))
    return list(out.values())


def hash_of(text: str) -> int:
    """A small hash that does not change from run to run."""
    return sum((i + 1) * ord(c) for i, c in enumerate(text))
