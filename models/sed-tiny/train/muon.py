"""Muon (momentum, orthogonalised by Newton-Schulz) for matrices, AdamW for all other parameters."""

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest half-orthogonal matrix to g [r, c], roughly (quintic iteration)."""
    a, b, c = COEFFICIENTS
    x = g.bfloat16()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Step = lr * sqrt(max(1, rows / columns)) * orthogonal(momentum)."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.1):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every matrix."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "v" not in state:
                    state["v"] = torch.zeros_like(p)
                v = state["v"].mul_(group["momentum"]).add_(p.grad)
                g = (p.grad + group["momentum"] * v).flatten(1)
                scale = max(1.0, g.shape[0] / g.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonal(g).view_as(p), alpha=-group["lr"] * scale)


def optimizers(module: torch.nn.Module, lr_matrix: float, lr_rest: float, skip: tuple = ()) -> list:
    """[Muon, AdamW] over a module's trainable parameters.

    Matrices and dense kernels go to Muon; depthwise kernels, embeddings, vectors, and the parameters whose
    name contains one of ``skip`` go to AdamW.
    """
    matrices, rest = [], []
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        dense = p.ndim == 2 or (p.ndim == 4 and p.shape[1] > 3 and p.shape[0] > 1)
        (matrices if dense and not any(s in name for s in skip) else rest).append(p)
    return [Muon(matrices, lr=lr_matrix), torch.optim.AdamW(rest, lr=lr_rest, betas=(0.9, 0.98), weight_decay=0.0)]
