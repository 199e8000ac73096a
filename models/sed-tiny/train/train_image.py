"""Trains the image side: first 64-pixel crops (trunk only), then whole scenes (trunk and decoder).

    python train_image.py --phase crops  --minutes 15
    python train_image.py --phase scenes --minutes 60

Every sitting resumes from ``RUNS/image.pt``, draws fresh data (seeded by the step), lowers its learning rate
over its last part, and writes the best weights by held-out validation next to the model card. ``--ranks 2``
runs two processes of one thread each that average their gradients. A GPU is used when there is one.
"""

import argparse
import copy
import logging
import os
import socket
import subprocess
import sys
import time

import torch
import torch.distributed as dist

import export
import losses
import measure
from data import Source, batches
from muon import optimizers
from sed import Sed, normalise
from settings import CONFIG, RUNS
from words import Bank, blur

LOG = logging.getLogger("image")
CHECKPOINT = RUNS / "image.pt"
# Number of candidate names and of images decoded with them, and how often each pair is drawn.
ASKED = [(10, 3, 0.25), (20, 2, 0.35), (40, 1, 0.2), (80, 1, 0.1), (140, 1, 0.1)]
PHASES = {
    "crops": {"batch": 64, "side": 64, "matrix": 0.012, "rest": 1.2e-3, "average": 0.99},
    "scenes": {"batch": 8, "side": CONFIG["image_size"], "matrix": 0.012, "rest": 1.2e-3, "average": 0.995},
}


class Trainer:
    """Model, its running average, optimizers and counters of one process."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.phase = args, PHASES[args.phase]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(args.seed)
        self.model = Sed(CONFIG).to(self.device, memory_format=torch.channels_last)
        for name, p in self.model.named_parameters():
            p.requires_grad = "visual" in name or (name.startswith("transformer.") and args.phase == "scenes")
        self.average = copy.deepcopy(self.model).eval()
        matrix, rest = self.phase["matrix"] * args.rate, self.phase["rest"] * args.rate
        self.opts = optimizers(self.model, matrix, rest, ("stem", "transformer.head"))
        self.rates = [o.param_groups[0]["lr"] for o in self.opts]
        self.step = self.images = 0
        self.best, self.began, self.began_wall = -1.0, time.process_time(), time.monotonic()
        self.bank = Bank()
        self.validation = measure.Validation(self.bank) if args.phase == "scenes" and args.rank == 0 else None
        self._resume()
        if args.phase == "scenes":
            text = torch.load(RUNS / "text.pt", map_location=self.device)["tower"]
            for m in (self.model, self.average):
                m.clip_model.load_state_dict(text, strict=False)

    def take_up(self) -> None:
        """Goes back to the last checkpoint, at half the rates; the data goes on."""
        LOG.info("step %d collapsed; back to the last checkpoint", self.step)
        step = self.step
        self._resume()
        self.step = step
        self.rates = [rate / 2 for rate in self.rates]

    def _resume(self) -> None:
        if not CHECKPOINT.exists():
            return
        saved = torch.load(CHECKPOINT, map_location=self.device)
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.images = saved["images"]
        if saved["phase"] == self.args.phase:
            self.step, self.best = saved["step"], saved["best"]
            for opt, state in zip(self.opts, saved["opts"]):
                opt.load_state_dict(state)
                opt.param_groups[0]["lr"] = self.rates[self.opts.index(opt)]

    def save(self) -> None:
        """Writes the checkpoint (first process only)."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "opts": [o.state_dict() for o in self.opts],
            "step": self.step,
            "images": self.images,
            "best": self.best,
            "phase": self.args.phase,
        }
        torch.save(state, CHECKPOINT.with_suffix(".part"))
        CHECKPOINT.with_suffix(".part").rename(CHECKPOINT)

    def used(self) -> float:
        """Share of this sitting that is over, by its processor time or by ``--wall``, whichever is further."""
        processor = (time.process_time() - self.began) / (60 * self.args.minutes)
        return max(processor, (time.monotonic() - self.began_wall) / (60 * self.args.wall))

    def _rate(self, warm: int) -> float:
        """Warm-up, plateau, and a straight way down over the last part of the sitting."""
        down = min(1.0, (1 - self.used()) / self.args.cooldown)
        return min(1.0, (warm + 1) / 30) * max(0.02, down)

    def forward(self, batch: dict) -> tuple[torch.Tensor, dict]:
        """Loss and figures of one batch."""
        rng = batch["rng"]
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        x = normalise(batch["images"].to(self.device)).to(memory_format=torch.channels_last)
        labels = batch["labels"].to(self.device)
        objects = len(self.bank.names) - measure.STUFF
        sheet = self.bank.drift(self.bank.sheet(rng)[:, None], generator)
        sheet = blur(sheet, generator, 0.5)[:, 0].to(self.device)
        kind = "cuda" if self.device == "cuda" else "cpu"
        with torch.autocast(kind, torch.bfloat16, enabled=self.args.bf16):
            stages, dense = self.model.clip_model.visual(x)
            share = losses.coverage(labels, len(self.bank.names), 32)
            cell = losses.dense_loss(dense, sheet, share, objects)
            if self.args.phase == "crops":
                pooled, right = losses.pooled_loss(dense, sheet, share, objects)
                return pooled + 0.5 * cell, {"cell": cell.item(), "pooled": pooled.item(), "right": right}
            names, text, masks = self._ask(labels, rng, generator)
            some = len(text)
            out = self.model.transformer([s[:some] for s in stages], dense[:some], text.to(self.device))
            final, auxiliary = losses.decoder_loss(out, masks)
        figures = {"cell": cell.item(), "bce": final.item(), "aux": auxiliary.item(), "names": names}
        return 0.25 * cell + 8 * final + 0.5 * auxiliary, figures

    def _ask(self, labels: torch.Tensor, rng, generator: torch.Generator) -> tuple:
        """Candidate words for the first images of a batch: count, text [i, n, 80, d], masks [i, n, s/4, s/4]."""
        count, images, _ = ASKED[rng.choice(len(ASKED), p=[a[2] for a in ASKED])]
        images = min(images * self.args.decode, len(labels))
        words, owners = [], []
        for label in labels[:images].cpu():
            chosen, owner = self.bank.candidates(rng, label.unique().tolist(), count)
            words.append(self.bank.of(chosen))
            owners.append(owner)
        text = blur(self.bank.drift(torch.stack(words), generator), generator, 0.6)
        small = labels[:images, 2::4, 2::4].contiguous()
        return count, text, losses.candidate_masks(small, torch.stack(owners).to(self.device), count)

    def _share_gradients(self) -> None:
        if self.args.ranks == 1:
            return
        params = [p for o in self.opts for g in o.param_groups for p in g["params"]]
        for p in params:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        flat = torch.cat([p.grad.flatten() for p in params])
        dist.all_reduce(flat)
        flat /= self.args.ranks
        for p, g in zip(params, flat.split([p.numel() for p in params])):
            p.grad.copy_(g.view_as(p))

    def update(self, batch: dict, warm: int) -> dict:
        """One optimisation step."""
        loss, figures = self.forward(batch)
        loss.backward()
        self._share_gradients()
        params = [p for p in self.model.parameters() if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(params, 5.0)
        rate = self._rate(warm)
        for opt, full in zip(self.opts, self.rates):
            opt.param_groups[0]["lr"] = full * rate
            opt.step()
            opt.zero_grad(set_to_none=True)
        keep = min(self.phase["average"], 1 - 1 / (self.step + 2))
        with torch.no_grad():
            for a, p in zip(self.average.parameters(), self.model.parameters()):
                if p.requires_grad:
                    a.lerp_(p, 1 - keep)
        self.step += 1
        self.images += len(batch["images"]) * self.args.ranks
        return figures

    def validate(self) -> bool:
        """Measures the averaged weights on held-out scenes and exports them when they are the best so far.

        False if they have collapsed: then the last checkpoint is to be taken up again.
        """
        if self.validation is None:
            return True
        figures = self.validation.score(self.average)
        LOG.info("step %d images %d validation %s", self.step, self.images, figures)
        # Foremost the objects, but not at the cost of the whole picture.
        score = figures["object_miou"] + 0.5 * figures["pixel_accuracy"]
        if score > self.best:
            self.best = score
            export.write(self.average, CONFIG)
        return score > 0.8 * self.best


def train(args: argparse.Namespace) -> None:
    """One process of a sitting."""
    torch.set_num_threads(args.threads)
    RUNS.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=RUNS / "image.log", level=logging.INFO, format="%(asctime)s %(message)s")
    if args.ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
        dist.init_process_group("gloo", rank=args.rank, world_size=args.ranks)
    trainer = Trainer(args)
    source = Source(args.phase, args.batch or trainer.phase["batch"], trainer.phase["side"], args.seed, args.rank)
    stream = batches(source, trainer.step, args.workers)
    shown, validated = time.time(), time.process_time()
    sums, first, collapsed = {}, trainer.step, False
    while True:
        figures = trainer.update(next(stream), trainer.step - first)
        for k, v in figures.items():
            sums.setdefault(k, []).append(v)
        # All processes must agree on when to stop and when to go back: the first one decides.
        signals = torch.tensor([float(trainer.used() >= 1), float(collapsed)])
        if args.ranks > 1:
            dist.broadcast(signals, 0)
        over, collapsed = signals.bool().tolist()
        if collapsed:
            trainer.take_up()
            collapsed = False
        if args.rank == 0 and (time.time() - shown > 30 or over):
            text = " ".join(f"{k} {sum(v) / len(v):.4f}" for k, v in sums.items())
            LOG.info("%s step %d images %d used %.2f %s", args.phase, trainer.step, trainer.images, trainer.used(), text)
            shown, sums = time.time(), {}
        if args.rank == 0 and (time.process_time() - validated > 60 * args.validate or over):
            collapsed = not trainer.validate()
            if not collapsed:
                trainer.save()
            validated = time.process_time()
        if over:
            break


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", choices=list(PHASES), required=True)
    parser.add_argument("--minutes", type=float, required=True, help="length of this sitting, in minutes of processor time")
    parser.add_argument("--wall", type=float, default=float("inf"), help="minutes by the clock after which it ends at the latest")
    parser.add_argument("--cooldown", type=float, default=0.35, help="share of it with a falling learning rate")
    parser.add_argument("--validate", type=float, default=2.5, help="minutes of processor time between validations and checkpoints")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share the work")
    parser.add_argument("--rank", type=int, help="set by the program itself")
    parser.add_argument("--port", type=int, help="set by the program itself")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw data, 0: none of their own")
    parser.add_argument("--batch", type=int, default=0, help="images per process and step, 0: as the phase says")
    parser.add_argument("--decode", type=int, default=1, help="multiplies the images that are decoded")
    parser.add_argument("--rate", type=float, default=1.0, help="multiplies the learning rates")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    if args.rank is not None or args.ranks == 1:
        args.rank = args.rank or 0
        train(args)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        args.port = probe.getsockname()[1]
    command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--port", str(args.port)]
    children = [subprocess.Popen([*command, "--rank", str(r)]) for r in range(1, args.ranks)]
    args.rank = 0
    try:
        train(args)
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        for child in children:
            child.wait()


if __name__ == "__main__":
    main()
