"""This project's network as another process (``beside.rs``), with the same weights as the twin."""

import json
import os
import pathlib
import subprocess

from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write_model(folder: pathlib.Path, config: dict, weights: dict[str, Tensor]) -> None:
    """Writes the files that :class:`Beside` loads."""
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "weights.safetensors")


def write_inputs(folder: pathlib.Path, pixels: Tensor, text: Tensor) -> pathlib.Path:
    """A file of pixels ``[1, 3, S, S]`` and text embeddings ``[N, 80, D]``, as ``load`` takes it."""
    file = folder / "inputs.safetensors"
    save_file({"pixels": pixels.permute(0, 2, 3, 1).contiguous(), "text": text.contiguous()}, file)
    return file


def binary() -> pathlib.Path:
    """The program: ``SED_BESIDE``, or as cargo builds it."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    found = pathlib.Path(os.environ.get("SED_BESIDE", target / "release" / "beside"))
    if not found.exists():
        raise SystemExit(f"{found} is missing; run `cargo build --release --workspace` first")
    return found


class Beside:
    """A running process; use it as a context. Each method gives the seconds the work itself took."""

    def __init__(self, folder: pathlib.Path, threads: int, dtype: str = "f32", device: str = "cpu"):
        self.folder = folder
        self.process = subprocess.Popen(
            [binary(), folder, dtype, device],
            env=os.environ | {"RAYON_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started = self._answer()["threads"]
        if started != threads:
            raise SystemExit(f"the network runs on {started} threads, not on {threads}")

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"beside ended with {self.process.wait()}; its error stands above")
        return json.loads(line)

    def _ask(self, work: str, **request) -> dict:
        if request.pop("read_back", False):
            request["write"] = str(self.folder / "answer.safetensors")
        print(json.dumps({"work": work, **request}), file=self.process.stdin, flush=True)
        answer = self._answer()
        if "write" in request:
            answer["tensors"] = load_file(request["write"])
        return answer

    def load(self, pixels: Tensor, text: Tensor) -> None:
        """Pixels ``[1, 3, S, S]`` and text embeddings ``[N, 80, D]`` for all that follows."""
        self._ask("load", file=str(write_inputs(self.folder, pixels, text)))

    def encode(self, read_back: bool = False) -> dict:
        """``seconds``; read back ``tensors``: ``dense [1, h, w, D]``."""
        return self._ask("encode", read_back=read_back)

    def decode(self, categories: int, top_k: int, size: tuple[int, int], read_back: bool = False) -> dict:
        """``seconds`` and ``survivors`` of three rejections; read back ``tensors``: ``logits`` and ``map``."""
        request = {"categories": categories, "height": size[0], "width": size[1], "top_k": top_k or None}
        return self._ask("decode", read_back=read_back, **request)

    def embed(self, words: list[str], read_back: bool = False) -> dict:
        """``seconds``; read back ``tensors``: ``text [N, 80, D]`` and ``tokens.i [80 * phrases, T]``."""
        return self._ask("embed", read_back=read_back, words=words)
