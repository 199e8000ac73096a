"""The implementations that ``speed.py`` times, all with the same three pieces of work.

Each piece gives seconds. ``decode`` also gives the survivors of the three rejections (empty where rejection cannot be
turned on) and, where ``look`` is set, the index map ``[height, width]``.
"""

import pathlib
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from beside import Beside
from twin import Sed
from twin.sed import index_map

Decoded = tuple[float, list[list[int]], Tensor | None]


class Ours:
    """This project's network."""

    def __init__(self, beside: Beside, pixels: Tensor, text: Tensor, words: list[str], size: tuple[int, int]):
        beside.load(pixels, text)
        self.beside, self.words, self.size = beside, words, size

    def can_decode(self, top_k: int) -> bool:
        return True

    def encode(self) -> float:
        return self.beside.encode()["seconds"]

    def decode(self, categories: int, top_k: int, look: bool = False) -> Decoded:
        answer = self.beside.decode(categories, top_k, self.size, read_back=look)
        return answer["seconds"], answer["survivors"], answer["tensors"]["map"].long() if look else None

    def embed(self, whole: bool) -> float | None:
        """One category of many new ones. Columns that nothing reads are never computed, whatever ``whole`` says."""
        return self.beside.embed(self.words)["seconds"] / len(self.words)


class Torch:
    """The twin in PyTorch, eager or compiled, with or without channels-last memory."""

    def __init__(
        self, model: Sed, pixels: Tensor, text: Tensor, ids: Tensor, size: tuple[int, int], *, compiled: bool
    ):
        """Uses ``model`` as it is: its number format, device and memory format are those of the contest. ``ids`` are
        those of one category's prompts, ``[80, T]``."""
        like = model.transformer.conv1.weight
        self.model, self.size = model, size
        channels_last = like.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.pixels = pixels.to(like.device, like.dtype).contiguous(memory_format=layout)
        self.text, self.ids = text.to(like.device, like.dtype), ids.to(like.device)
        if compiled:
            torch._dynamo.config.cache_size_limit = 64  # each number of categories may need a compilation
            decoder = model.transformer
            model.clip_model.visual.compile()
            decoder.start = torch.compile(decoder.start)
            for level in (decoder.decoder1, decoder.decoder2, decoder.decoder3):
                level.compile()

    def can_decode(self, top_k: int) -> bool:
        return True

    def _timed(self, work: Callable):
        """Seconds until the device is done, and the result."""
        cuda = self.pixels.is_cuda
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.inference_mode():
            result = work()
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, result

    def encode(self) -> float:
        seconds, self.features = self._timed(lambda: self.model.encode(self.pixels))
        return seconds

    def decode(self, categories: int, top_k: int, look: bool = False) -> Decoded:
        def work():
            logits, kept = self.model.decode(self.features, self.text[:categories], top_k)
            return kept, index_map(logits.float(), kept[-1], self.size).cpu()

        seconds, (kept, found) = self._timed(work)
        return seconds, [level.tolist() for level in kept], found if look else None

    def embed(self, whole: bool) -> float | None:
        """One category's 80 prompts: at the whole context length, as the official code does it, or cut behind the
        longest."""
        longest = self.ids.argmax(dim=1).max().item() + 1
        ids = self.ids if whole else self.ids[:, :longest]
        return self._timed(lambda: self.model.clip_model.embed_category(ids))[0]


class EncoderOnly(nn.Module):
    """The exported encoder: pixels to dense features and three guidances."""

    def __init__(self, model: Sed):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        dense, guidance = self.model.encode(pixels)
        return dense, *guidance


class DecoderOnly(nn.Module):
    """The exported decoder: features and text embeddings ``[N, 80, D]`` to an index map, rejection off."""

    def __init__(self, model: Sed, size: tuple[int, int]):
        super().__init__()
        self.transformer, self.size = model.transformer, size

    def forward(self, dense: Tensor, *rest: Tensor) -> Tensor:
        *guidance, text = rest
        logits, kept = self.transformer(dense, guidance, text, 0)
        return index_map(logits, kept[-1], self.size)


class Onnx:
    """ONNX Runtime on exports of the twin in f32. The number of categories of a graph is fixed, so there is no
    rejection."""

    def __init__(
        self, model: Sed, pixels: Tensor, text: Tensor, size: tuple[int, int], *, folder: pathlib.Path, threads: int
    ):
        import onnxruntime

        wanted = "CUDAExecutionProvider" if next(model.parameters()).is_cuda else "CPUExecutionProvider"
        if wanted not in onnxruntime.get_available_providers():
            raise SystemExit(f"this ONNX Runtime has no {wanted}; leave onnx out with --beside")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = lambda file: onnxruntime.InferenceSession(str(file), options, providers=[wanted])
        self.model, self.folder, self.size = model.cpu(), folder, size
        self.pixels, self.text = pixels.numpy(), text
        self.decoders: dict[int, object] = {}
        self.encoder = self._export(EncoderOnly(self.model), (pixels,), "encoder", ["dense", "g0", "g1", "g2"])
        self.features = self.encoder.run(None, {"pixels": self.pixels})

    def _export(self, module: nn.Module, inputs: tuple[Tensor, ...], name: str, outputs: list[str]):
        """A session of a module exported for inputs of these sizes."""
        names = ["pixels"] if name == "encoder" else ["dense", "g0", "g1", "g2", "text"]
        file = self.folder / f"{name}.onnx"
        with torch.no_grad():
            torch.onnx.export(
                module, inputs, str(file), input_names=names, output_names=outputs, opset_version=17, dynamo=False
            )
        return self.session(file)

    def can_decode(self, top_k: int) -> bool:
        return top_k == 0

    def encode(self) -> float:
        start = time.perf_counter()
        self.features = self.encoder.run(None, {"pixels": self.pixels})
        return time.perf_counter() - start

    def decode(self, categories: int, top_k: int, look: bool = False) -> Decoded:
        text = self.text[:categories]
        if categories not in self.decoders:
            inputs = (*map(torch.from_numpy, self.features), text)
            module = DecoderOnly(self.model, self.size)
            self.decoders[categories] = self._export(module, inputs, f"decoder{categories}", ["map"])
        feed = dict(zip(["dense", "g0", "g1", "g2", "text"], [*self.features, text.numpy()], strict=True))
        start = time.perf_counter()
        (found,) = self.decoders[categories].run(None, feed)
        return time.perf_counter() - start, [], torch.from_numpy(found)

    def embed(self, whole: bool) -> float | None:
        return None
