"""Losses that the image side is trained with."""

import torch
import torch.nn.functional as F

SHARPNESS = 16.0


def coverage(label: torch.Tensor, categories: int, cell: int) -> torch.Tensor:
    """Share of each category in every cell: label int64 [b, h, w] to f32 [b, categories, h/cell, w/cell]."""
    b, h, w = label.shape
    cells = label.view(b, h // cell, cell, w // cell, cell).permute(0, 1, 3, 2, 4).reshape(b, h // cell, w // cell, -1)
    counts = torch.zeros(b, h // cell, w // cell, categories, device=label.device)
    counts.scatter_add_(-1, cells, torch.ones_like(cells, dtype=counts.dtype))
    return (counts / cell**2).permute(0, 3, 1, 2)


def dense_loss(dense: torch.Tensor, sheet: torch.Tensor, share: torch.Tensor, objects: int) -> torch.Tensor:
    """Each cell of the embedding names what it covers, objects counting more than stuff.

    dense [b, d, h, w], sheet [categories, d], share [b, categories, h, w].
    """
    cosine = torch.einsum("bdhw,kd->bkhw", F.normalize(dense.float(), dim=1), F.normalize(sheet, dim=-1))
    emphasis = torch.ones(share.shape[1], device=share.device)
    emphasis[:objects] = 2.0
    wanted = share * emphasis.view(1, -1, 1, 1)
    logp = (SHARPNESS * cosine).log_softmax(1)
    return -(wanted * logp).sum() / wanted.sum()


def pooled_loss(dense: torch.Tensor, sheet: torch.Tensor, share: torch.Tensor, objects: int) -> tuple:
    """The whole crop names its object: (loss, share of right answers). Crops without one do not count."""
    whole = share.mean((2, 3))[:, :objects]
    amount, target = whole.max(1)
    seen = amount > 0.04
    # Cells are averaged by how much of the object they show.
    weight = share[:, :objects].amax(1, keepdim=True) + 0.02
    feature = (dense.float() * weight).sum((2, 3))[seen]
    logits = SHARPNESS * F.normalize(feature, dim=-1) @ F.normalize(sheet[:objects], dim=-1).T
    if not len(logits):
        return dense.sum() * 0, 0.0
    right = (logits.argmax(1) == target[seen]).float().mean().item()
    return F.cross_entropy(logits, target[seen]), right


def candidate_masks(label: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """One-hot masks of the candidates: label [b, h, w], owner [b, categories] to f32 [b, count, h, w]."""
    b, h, w = label.shape
    index = torch.gather(owner, 1, label.view(b, -1)).view(b, h, w)
    masks = F.one_hot(index + 1, count + 1)[..., 1:]
    return masks.permute(0, 3, 1, 2).float()


def decoder_loss(out: dict, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross-entropy of the final maps, and of the rejection heads on pooled masks."""
    final = F.binary_cross_entropy_with_logits(out["logits"].float(), masks)
    auxiliary = torch.zeros((), device=masks.device)
    for level in out["rejection"]:
        cell = masks.shape[-1] // level.shape[-1]
        # The square root makes small things count: a cell keeps what it shows a little of.
        share = F.avg_pool2d(masks, cell).sqrt()
        auxiliary = auxiliary + F.binary_cross_entropy_with_logits(level.float(), share)
    return final, auxiliary
