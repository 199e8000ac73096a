"""Target embedding of each phrase: the teacher's embeddings, mixed, centred and turned to the text width.

A target mixes the teacher's embeddings of the bare phrase, of the phrase in a prompt and of its WordNet sense. The
mixture is centred, turned onto its principal axes (the first ``embed_dim`` of them, partly whitened, so that nouns of
one kind stand further apart) and scaled to unit length.
"""

import torch
import torch.nn.functional as F

import vocabulary
from settings import CONFIG, MADE

MIX = {"plain": 1.0, "prompted": 0.7, "sense": 1.0}
WHITENING = 0.25


def mixture(data: dict, prefix: str = "") -> torch.Tensor:
    """Mixed unit embeddings of the phrases (or of the held-out words), f32 [n, 384]."""
    mixed = MIX["plain"] * data[prefix + "plain"].float() + MIX["prompted"] * data[prefix + "prompted"].float()
    if not prefix:
        mixed = mixed + MIX["sense"] * data["sense"].float()
    return F.normalize(mixed, dim=-1)


def axes(mixed: torch.Tensor, weight: torch.Tensor, whitening: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean [384] and the projection [384, embed_dim]."""
    w = weight / weight.sum()
    mean = (mixed * w[:, None]).sum(0)
    centred = (mixed - mean) * w[:, None].sqrt()
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    keep = CONFIG["embed_dim"]
    values, vectors = values.flip(0)[:keep], vectors.flip(1)[:, :keep]
    return mean, vectors * values.clamp_min(1e-8) ** -whitening


def build() -> dict:
    """Texts, weights [n] and unit targets [n, embed_dim]; also those of the held-out words."""
    data = torch.load(MADE / "teacher.pt")
    weight = torch.tensor([p[2] for p in data["phrases"]])
    mixed = mixture(data)
    mean, project = axes(mixed, weight.clamp_max(1.5), WHITENING)
    turn = lambda x: F.normalize((x - mean) @ project, dim=-1)
    return {
        "texts": [p[0] for p in data["phrases"]],
        "weight": weight,
        "target": turn(mixed),
        "held_out": data["held_out"],
        "held_out_target": turn(mixture(data, "held_out_")),
    }


def retrieval(words: torch.Tensor, owners: list[str], names: torch.Tensor, order: list[str]) -> tuple[float, float]:
    """Shares of words whose right name is the nearest, and among the nearest five."""
    near = (F.normalize(words, dim=-1) @ F.normalize(names, dim=-1).T).topk(5, -1).indices
    hits = near == torch.tensor([order.index(o) for o in owners])[:, None]
    return hits[:, 0].float().mean().item(), hits.any(1).float().mean().item()


def held_out_owners() -> tuple[list[str], list[str], list[str]]:
    """The synonyms kept for evaluation, the names they stand for, and all trained names."""
    things = vocabulary.objects() + vocabulary.stuff()
    pairs = [(w, t.name) for t in things for w in t.held_out]
    return [w for w, _ in pairs], [n for _, n in pairs], [t.name for t in things]
