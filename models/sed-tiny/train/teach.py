"""Runs the teacher over the corpus once: ``MADE/teacher.pt`` (phrases and their embeddings)."""

import time

import torch

import vocabulary
from phrases import corpus
from settings import CONFIG, MADE
from teacher import Teacher
from tokenizer import Tokenizer


def main() -> None:
    """Writes texts, senses, weights and f16 embeddings [n, 384] (zero rows where there is no sense)."""
    torch.set_num_threads(1)
    tokenizer, teacher = Tokenizer(CONFIG["text"]["vocab_size"]), Teacher()
    phrases = corpus(lambda text: len(tokenizer.encode(text)))
    started = time.time()
    plain = teacher([p.text for p in phrases])
    print(f"{len(phrases)} phrases in {time.time() - started:.0f} s", flush=True)
    prompted = teacher([f"a photo of a {p.text}." for p in phrases])
    senses = sorted({p.sense for p in phrases if p.sense})
    row = {s: i for i, s in enumerate(senses)}
    sense_rows = teacher(senses)
    sense = torch.zeros_like(plain)
    for i, p in enumerate(phrases):
        if p.sense:
            sense[i] = sense_rows[row[p.sense]]
    held_out = [w for t in vocabulary.objects() + vocabulary.stuff() for w in t.held_out]
    MADE.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "phrases": [(p.text, p.sense, p.weight) for p in phrases],
            "plain": plain.half(),
            "prompted": prompted.half(),
            "sense": sense.half(),
            "held_out": held_out,
            "held_out_plain": teacher(held_out).half(),
            "held_out_prompted": teacher([f"a photo of a {w}." for w in held_out]).half(),
        },
        MADE / "teacher.pt",
    )
    print(f"{len(senses)} senses; all in {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
