"""Trains the text tower: any of the 80 templates around a phrase shall give the phrase's target.

``python distill.py --minutes 20`` resumes from ``RUNS/text.pt`` where there is one.
"""

import argparse
import logging
import time

import torch
import torch.nn.functional as F

import targets
from muon import optimizers
from settings import CONFIG, RUNS, templates
from text_tower import TextTower
from tokenizer import Tokenizer

LOG = logging.getLogger("text")


class Prompts:
    """Token ids of prompts, joined from those of template and phrase instead of tokenizing each prompt."""

    def __init__(self, texts: list[str], tokenizer: Tokenizer):
        halves = [t.split("{}") for t in templates()]
        self.before = [[tokenizer.start, *tokenizer.encode(a)] for a, _ in halves]
        self.after = [[*tokenizer.encode(b), tokenizer.end] for _, b in halves]
        self.words = [tokenizer.encode(t) for t in texts]

    def __call__(self, rows: list[int], template: list[int]) -> torch.Tensor:
        """ids int64 [len(rows), longest]."""
        ids = [self.before[t] + self.words[r] + self.after[t] for r, t in zip(rows, template)]
        out = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
        for row, seq in zip(out, ids):
            row[: len(seq)] = torch.tensor(seq)
        return out


@torch.no_grad()
def class_features(tower: TextTower, tokenizer: Tokenizer, names: list[str]) -> torch.Tensor:
    """Text features as SED uses them: f32 [names, 80, embed_dim], unit length."""
    out, device = [], tower.text_projection.device
    for name in names:
        ids = torch.from_numpy(tokenizer([t.format(name) for t in templates()]))
        longest = int((ids == tokenizer.end).int().argmax(1).max()) + 1
        out.append(tower.encode_text(ids[:, :longest].to(device)).cpu())
    return torch.stack(out)


def loss_of(features: torch.Tensor, target: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Distance to the own target, and a contest against the other targets of the batch."""
    own = 1 - (features * target).sum(-1).mean()
    contest = F.cross_entropy(features @ target.T / 0.07, torch.arange(len(rows), device=rows.device))
    return 2 * own + 0.25 * contest


def evaluate(tower: TextTower, tokenizer: Tokenizer, data: dict) -> str:
    """Agreement with the targets and the retrieval of held-out synonyms, as text."""
    words, owners, order = targets.held_out_owners()
    names = class_features(tower, tokenizer, order).mean(1)
    index = {t: i for i, t in enumerate(data["texts"])}
    teacher = data["target"][[index[n] for n in order]]
    cosine = (F.normalize(names, dim=-1) * teacher).sum(-1).mean()
    first, five = targets.retrieval(class_features(tower, tokenizer, words).mean(1), owners, names, order)
    top, top5 = targets.retrieval(data["held_out_target"], owners, teacher, order)
    return f"cosine on names {cosine:.3f}; synonym to name {first:.2f}/{five:.2f} (teacher {top:.2f}/{top5:.2f})"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="CPU minutes of this sitting")
    parser.add_argument("--batch", type=int, default=384)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    RUNS.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=RUNS / "text.log", level=logging.INFO, format="%(asctime)s %(message)s")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data, tokenizer = targets.build(), Tokenizer(CONFIG["text"]["vocab_size"])
    prompts = Prompts(data["texts"], tokenizer)
    torch.manual_seed(0)
    tower = TextTower(**CONFIG["text"], embed_dim=CONFIG["embed_dim"]).to(device)
    step, path = 0, RUNS / "text.pt"
    if path.exists():
        saved = torch.load(path, map_location=device)
        tower.load_state_dict(saved["tower"])
        step = saved["step"]
    opts = optimizers(tower, 0.02, 3e-3, ("token_embedding", "positional_embedding"))
    rates = [o.param_groups[0]["lr"] for o in opts]
    generator = torch.Generator().manual_seed(step)
    target, began, shown, used = data["target"].to(device), step, time.process_time(), 0.0
    start = time.process_time()
    while used < 1:
        used = (time.process_time() - start) / (60 * args.minutes)
        rows = torch.multinomial(data["weight"], args.batch, replacement=False, generator=generator)
        shapes = torch.randint(80, (args.batch,), generator=generator)
        ids = prompts(rows.tolist(), shapes.tolist()).to(device)
        loss = loss_of(tower.encode_text(ids), target[rows], rows.to(device))
        loss.backward()
        warm = min(1.0, (step - began + 1) / 50) * min(1.0, 2 * (1 - used) + 0.02)
        for o, rate in zip(opts, rates):
            o.param_groups[0]["lr"] = rate * warm
            o.step()
            o.zero_grad(set_to_none=True)
        step += 1
        if time.process_time() - shown > 60 or used >= 1:
            shown = time.process_time()
            LOG.info("step %d used %.2f loss %.3f; %s", step, used, loss.item(), evaluate(tower, tokenizer, data))
            torch.save({"tower": tower.state_dict(), "step": step}, path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)


if __name__ == "__main__":
    main()
