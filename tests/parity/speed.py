"""Times this project's network beside PyTorch's eager mode: same weights, pixels and text embeddings, one
program after the other on the same machine, alternating.

cargo build --release -p sed-tests --bin speed
python tests/parity/speed.py [rounds]      needs: torch, safetensors (models/sed-tiny/train/requirements.txt)

The PyTorch network is the one that the embedded model is trained with (models/sed-tiny/train), at the
sizes of SED-B. It checks that both keep the same categories, and prints a table.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models" / "sed-tiny" / "train"))

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from sed import PREFIX, Sed  # noqa: E402

SED_B = {
    "name": "sed-b",
    "image_size": 768,
    "embed_dim": 640,
    "vision": {"dims": [128, 256, 512, 1024], "depths": [3, 3, 27, 3], "head": {"type": "linear"}},
    "text": {"width": 640, "heads": 10, "layers": 12, "context_length": 77, "vocab_size": 49408},
    "decoder": {
        "hidden_dim": 128,
        "dims": [64, 32, 16],
        "guidance_dims": [32, 16, 8],
        "corr_guidance_dims": [32, 16, 8],
        "kernel_size": 9,
        "attention_heads": 4,
    },
}
RUNS = [(20, 0), (20, 8), (150, 1), (150, 8), (150, 0)]


def best(rounds: int, work) -> tuple[float, object]:
    """The shortest of some runs in seconds, and the last result."""
    seconds, result = [], None
    for _ in range(rounds):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


@torch.inference_mode()
def time_torch(folder: str, rounds: int) -> dict:
    """Encoder, decoder and one category's text in eager f32."""
    model = Sed(SED_B).eval()
    weights = load_file(f"{folder}/weights.safetensors")
    missing = model.load_state_dict({k.removeprefix(PREFIX): v for k, v in weights.items()}, strict=True)
    assert not missing.missing_keys
    inputs = load_file(f"{folder}/inputs.safetensors")
    pixels = inputs["pixels"].permute(0, 3, 1, 2).contiguous()
    results = {}
    results["encoder"], (stages, dense) = best(rounds, lambda: model.clip_model.visual(pixels))
    for categories, top_k in RUNS:
        text = inputs["text"][None, :categories]

        def decode():
            out = model.transformer(stages, dense, text, top_k)
            scores = torch.sigmoid(out["logits"])
            mask = torch.nn.functional.interpolate(scores, (480, 640), mode="bilinear")[0].argmax(0)
            return [len(k) for k in out["kept"]], mask

        name = f"top_k {top_k}" if top_k else "off"
        seconds, (kept, _) = best(rounds, decode)
        results[f"decoder, {categories} categories, {name}"] = {"seconds": seconds, "survivors": kept}
    ids = torch.zeros(80, 77, dtype=torch.int64)
    ids[:, :12], ids[:, 12] = 320, 49407  # the values do not matter for the time
    results["text, 1 category at 77 columns"], _ = best(1, lambda: model.clip_model.encode_text(ids))
    return results


def main() -> None:
    rounds = sys.argv[1] if len(sys.argv) > 1 else "3"
    with tempfile.TemporaryDirectory() as folder:
        binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "speed"
        command = [str(binary)]
        subprocess.run([*command, "1", "f32", folder], check=True, stdout=subprocess.DEVNULL)
        theirs = time_torch(folder, int(rounds))
        ours = json.loads(subprocess.check_output([*command, rounds]))
        again = time_torch(folder, int(rounds))
    print(f"| SED-B, 768×768, f32, {ours['threads']} threads | survivors | ours, s | PyTorch {torch.__version__}, s | ratio |")
    print("|---|---|---|---|---|")
    encoder = min(theirs["encoder"], again["encoder"])
    print(f"| encoder | | {ours['encoder']:.2f} | {encoder:.2f} | {encoder / ours['encoder']:.2f} |")
    for categories, top_k in RUNS:
        name = f"decoder, {categories} categories, " + (f"top_k {top_k}" if top_k else "off")
        a, b = ours[name], min(theirs[name]["seconds"], again[name]["seconds"])
        kept = theirs[name]["survivors"]
        assert not kept or kept == a["survivors"], f"{name}: {kept} and {a['survivors']} categories survive"
        survivors = ", ".join(map(str, a["survivors"]))
        print(f"| {name} | {survivors} | {a['seconds']:.2f} | {b:.2f} | {b / a['seconds']:.2f} |")
    text = min(theirs["text, 1 category at 77 columns"], again["text, 1 category at 77 columns"])
    cold = ours["text, 20 cold categories"] / 20
    print(f"| text, one cold category (80 prompts) | | {cold:.3f} | {text:.2f} at 77 columns | {text / cold:.1f} |")
    print(f"\npeak memory of ours, loading included: {ours['peak memory after loading, MiB']:.0f} MiB")


if __name__ == "__main__":
    main()
