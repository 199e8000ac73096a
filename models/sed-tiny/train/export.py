"""Writes the weights (f16 safetensors), their description and their digest next to the model card."""

import hashlib
import json
import os

from safetensors.torch import save

import vocabulary
from sed import Sed
from settings import MODEL_DIR


def _replace(name: str, data: bytes) -> None:
    """Writes a file under another name and renames it, so that no reader sees half of it."""
    part = MODEL_DIR / f".{name}.part"
    part.write_bytes(data)
    os.replace(part, MODEL_DIR / name)


def categories() -> list[dict]:
    """The trained names in order, with synonyms and broader words."""
    kinds = [("object", t) for t in vocabulary.objects()] + [("stuff", t) for t in vocabulary.stuff()]
    return [{"name": t.name, "kind": k, "synonyms": t.synonyms, "broader": t.broader} for k, t in kinds]


def write(model: Sed, config: dict) -> None:
    """``sed-tiny.safetensors``, ``sed-tiny.sha256``, ``config.json`` and ``categories.json``."""
    tensors = {k: v.detach().cpu().half().contiguous() for k, v in model.checkpoint().items()}
    data = save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    _replace("config.json", (json.dumps(config, indent=2) + "\n").encode())
    rows = ",\n".join("  " + json.dumps(c) for c in categories())
    _replace("categories.json", f"[\n{rows}\n]\n".encode())
    _replace("sed-tiny.safetensors", data)
    _replace("sed-tiny.sha256", f"{digest}  sed-tiny.safetensors\n".encode())
