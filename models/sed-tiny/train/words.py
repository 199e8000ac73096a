"""The text features of every word in use, and which candidate names a training image is asked."""

import os

import torch

import targets
import vocabulary
from distill import class_features
from kinds import kinds
from phrases import hash_of
from settings import CONFIG, MADE, RUNS
from text_tower import TextTower
from tokenizer import Tokenizer

FOREIGN = 360
# Share of the words that drift, and how many times the way from a name to another word at most, twice.
DRIFTING = 0.35
REACH = 1.5


def foreign_words(data: dict, taught: list[str]) -> list[str]:
    """Common concrete nouns whose meaning is far from every taught word."""
    rows = {t: i for i, t in enumerate(data["texts"])}
    near = (data["target"] @ data["target"][[rows[w] for w in taught if w in rows]].T).max(1).values
    tokenizer = Tokenizer(CONFIG["text"]["vocab_size"])
    fit = [
        t
        for t, i in rows.items()
        if data["weight"][i] == 1.5 and near[i] < 0.45 and len(t) > 3 and len(tokenizer.encode(t)) == 1
    ]
    return sorted(fit, key=lambda t: (hash_of(t) * 2654435761) % 2**32)[:FOREIGN]


class Bank:
    """Text features [80, d] of all words; ``rows`` finds a word's row in ``features`` [w, 80, d]."""

    def __init__(self):
        things = vocabulary.objects() + vocabulary.stuff()
        self.names = [t.name for t in things]
        self.synonyms = [[t.name, *t.synonyms] for t in things]
        self.held_out = [t.held_out for t in things]
        self.broader = [t.broader for t in things]
        taught = sorted({w for t in things for w in [t.name, *t.synonyms, *t.broader]})
        held = sorted({w for t in things for w in t.held_out} | {t.name for t in vocabulary.unseen()})
        words, foreign, self.kinds, self.features = self._load(things, taught, held)
        # Half of the foreign words serve in training, the other half is for evaluation.
        self.foreign, self.foreign_held_out = foreign[::2], foreign[1::2]
        self.rows = {w: i for i, w in enumerate(words)}
        self.means = self.features.float().mean(1)
        names = torch.nn.functional.normalize(self.means[[self.rows[n] for n in self.names]], dim=-1)
        self.neighbours = (names @ names.T).topk(13, -1).indices[:, 1:]
        # How far, and which way, other words of a category lie from its name: [steps, d].
        unit = torch.nn.functional.normalize(self.means, dim=-1)
        others = [(w, n) for n, s, k in zip(names, self.synonyms, self.kinds) for w in [*s[1:], *k]]
        self.steps = torch.stack([unit[self.rows[w]] - n for w, n in others])

    @staticmethod
    def _load(things: list, taught: list[str], held: list[str]) -> tuple:
        """All words, the foreign ones and the kinds among them, and the features; kept in ``MADE/words.pt``."""
        path, saved = MADE / "words.pt", None
        if (RUNS / "text.pt").exists():
            saved = torch.load(RUNS / "text.pt", map_location="cpu")
        key = (saved["step"] if saved else -1, tuple(taught), tuple(held))
        if path.exists():
            cached = torch.load(path)
            if cached["key"] == key:
                return cached["words"], cached["foreign"], cached["kinds"], cached["features"]
        data = targets.build()
        foreign = foreign_words(data, taught + held)
        kinds_of = kinds(things, set(held) | set(foreign), data)
        words = list(dict.fromkeys(taught + held + foreign + [w for k in kinds_of for w in k]))
        features = Bank._features(words, saved) if saved else Bank._targets(data, words)
        out = {"key": key, "words": words, "foreign": foreign, "kinds": kinds_of, "features": features}
        part = path.with_suffix(f".{os.getpid()}.part")  # both ranks may make it at the same time
        torch.save(out, part)
        part.rename(path)
        return words, foreign, kinds_of, features

    @staticmethod
    def _targets(data: dict, words: list[str]) -> torch.Tensor:
        """The targets in place of features: crops can be trained while the text tower still learns."""
        known = dict(zip(data["held_out"], data["held_out_target"])) | dict(zip(data["texts"], data["target"]))
        nothing = torch.zeros(CONFIG["embed_dim"])
        return torch.stack([known.get(w, nothing) for w in words])[:, None].repeat(1, 80, 1)

    @staticmethod
    def _features(words: list[str], saved: dict) -> torch.Tensor:
        tower = TextTower(**CONFIG["text"], embed_dim=CONFIG["embed_dim"])
        # The features of the weights as they are exported.
        tower.load_state_dict({k: v.half().float() for k, v in saved["tower"].items()})
        return class_features(tower, Tokenizer(CONFIG["text"]["vocab_size"]), words)

    def of(self, words: list[str]) -> torch.Tensor:
        """Features of words, f32 [len(words), 80, d]."""
        return self.features[[self.rows[w] for w in words]].float()

    def spoken(self, rng, category: int) -> str:
        """The category's name (every second time), one of its trained synonyms or one of its kinds."""
        draw = rng.random()
        others = self.synonyms[category][1:] if draw < 0.75 else self.kinds[category]
        return self.names[category] if draw < 0.5 or not others else others[rng.integers(len(others))]

    def drift(self, features: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Moves some words as other categories' words lie from their names: features [..., 80, d], unit length.

        So the image side hears words that no one taught it, at the distance (cosine 0.4 to 1) at which real ones lie.
        """
        shape = features.shape[:-2]
        moved = torch.rand(*shape, 1, generator=generator) < DRIFTING
        for _ in range(2):
            step = self.steps[torch.randint(len(self.steps), shape, generator=generator)]
            reach = REACH * torch.rand(*shape, 1, generator=generator) * moved
            features = features + (reach * step)[..., None, :]
        return torch.nn.functional.normalize(features, dim=-1)

    def sheet(self, rng) -> torch.Tensor:
        """One direction per category, names and synonyms mixed: f32 [categories, d]."""
        words = [self.spoken(rng, c) for c in range(len(self.names))]
        return self.means[[self.rows[w] for w in words]]

    def candidates(self, rng, present: list[int], count: int) -> tuple[list[str], torch.Tensor]:
        """``count`` words to ask about an image, and for each category the index of its word or -1.

        Holds the present categories (some are dropped when there are too many, or by chance), sometimes a
        broader word in place of its members, near neighbours, random names and foreign words.
        """
        owner = torch.full((len(self.names),), -1)
        present = [p for p in rng.permutation(present) if rng.random() > 0.07][:count]
        words: list[str] = []
        covered: set[int] = set()
        broad = sorted({b for p in present for b in self.broader[p]})
        if broad and rng.random() < 0.25:
            word = broad[rng.integers(len(broad))]
            members = [c for c, b in enumerate(self.broader) if word in b and self.names[c] != word]
            if word in self.names:
                # "tree" is a name of its own: it then also covers the pine trees.
                members.append(self.names.index(word))
            owner[members] = 0
            covered.update(members)
            words.append(word)
        near = [int(c) for p in present for c in self.neighbours[p][rng.permutation(12)[:3]]]
        pool = present + [c for c in dict.fromkeys(near)] + list(rng.permutation(len(self.names)))
        strangers = int(rng.integers(0, 1 + max(1, count // 3))) if rng.random() < 0.6 else 0
        for category in pool:
            if len(words) >= count - strangers and len(words) >= len(present):
                break
            if category in covered:
                continue
            covered.add(int(category))
            owner[category] = len(words)
            words.append(self.spoken(rng, category))
        while len(words) < count:
            words.append(self.foreign[rng.integers(len(self.foreign))])
        return words[:count], torch.where(owner >= count, -1, owner)


def blur(features: torch.Tensor, generator: torch.Generator, amount: float) -> torch.Tensor:
    """Moves every word's features by the same random step on all templates: [..., n, 80, d], unit length.

    ``amount`` is the longest step; most are short.
    """
    step = torch.randn(*features.shape[:-2], 1, features.shape[-1], generator=generator)
    length = amount * torch.rand(*features.shape[:-2], 1, 1, generator=generator).square()
    scale = length / features.shape[-1] ** 0.5
    return torch.nn.functional.normalize(features + step * scale, dim=-1)
