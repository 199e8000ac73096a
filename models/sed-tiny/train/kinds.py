"""More words for each category: WordNet's other words for it and its kinds (dog: mutt, poodle, ...).

The image side hears them now and then in place of the category's name. Words it never hears then find their
category more often, as they lie near it in all directions, not only where the few hand-picked synonyms lie.
"""

import torch

import wordnet
from vocabulary import Thing

DEPTH = 4
# How near a word's meaning must be to the name's: drops second meanings ("admiral" for a butterfly).
NEAR = 0.35


def _words(name: str, synsets: dict, senses: dict) -> list[str]:
    """All words for and below the concrete meanings of a name."""
    level = [o for o in senses.get(name, []) if synsets[o].file in wordnet.CONCRETE]
    out: dict[str, None] = {}
    for _ in range(DEPTH):
        out.update(dict.fromkeys(w for o in level for w in synsets[o].lemmas))
        level = [k for o in level for k in synsets[o].kinds]
    return list(out)


def kinds(things: list[Thing], kept: set[str], data: dict) -> list[list[str]]:
    """For each category its further words; ``data`` holds the targets of the text tower.

    Leaves out every word in ``kept`` (those kept for evaluation), every hand-picked word of any category, and
    words that are nearer to the words of another category.
    """
    rows = {text: i for i, text in enumerate(data["texts"])}
    spoken = [[w for w in [t.name, *t.synonyms] if w in rows] for t in things]
    owner = torch.tensor([i for i, words in enumerate(spoken) for _ in words])
    heads = data["target"][[rows[w] for words in spoken for w in words]]
    taken = kept | {w for t in things for w in [t.name, *t.synonyms, *t.broader]}
    synsets, senses = wordnet.synsets(), wordnet.senses()
    out = []
    for i, thing in enumerate(things):
        words = [w for w in _words(thing.name, synsets, senses) if w in rows and w not in taken]
        near = [(heads @ data["target"][rows[w]]).max(0) for w in words]
        out.append([w for w, n in zip(words, near) if n.values >= NEAR and owner[n.indices] == i])
    return out
