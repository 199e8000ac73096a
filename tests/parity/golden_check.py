"""The twin beside the reference outputs of the official code (``tests/golden/nano``): intermediate tensors, survivors
and index maps of every case. Exits with 1 when something differs by more than rounding.

    python tests/parity/golden_check.py
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from twin import Sed, weights
from twin.picture import network_input
from twin.sed import index_map, upsampled_scores

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "nano"
# A sound f32 implementation stays within this many times the reference's own rounding error.
SLACK = 5


class Check:
    """Compares, and remembers whether anything differed."""

    def __init__(self):
        self.failed = False
        self.compared = 0

    def that(self, holds: bool, what: str) -> None:
        self.compared += 1
        if not holds:
            self.failed = True
            print(f"DIFFERS  {what}")

    def near(self, got: Tensor, want: Tensor, bound: float, what: str) -> None:
        if got.numel() != want.numel():
            self.that(False, f"{what}: shapes {tuple(got.shape)} and {tuple(want.shape)}")
            return
        difference = (got.flatten() - want.flatten()).abs().max().item()
        self.that(difference <= bound, f"{what}: by {difference:.1e}, {bound:.1e} allowed")


def record(model: Sed) -> dict[str, Tensor]:
    """Records the outputs of the modules from now on, by the names of the reference outputs."""
    outputs: dict[str, Tensor] = {}
    trunk, decoder = model.clip_model.visual.trunk, model.transformer
    modules = {f"res{i + 2}": stage for i, stage in enumerate(trunk.stages)}
    modules |= {name: getattr(decoder, name) for name in ("conv1", "head0", "head1", "head2")}
    for i in range(3):
        modules[f"guidance{i}"] = decoder.decoder_guidance_projection[i]
        modules[f"corr_guidance{i}"] = decoder.decoder_corr_guidance_projection[i]
        level = getattr(decoder, f"decoder{i + 1}")
        modules[f"decoder{i + 1}"] = level
        modules |= {f"decoder{i + 1}.{part}": getattr(level, part) for part in ("cnext", "attention", "up")}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, __, output, name=name: outputs.__setitem__(name, output))
    return outputs


def check_outputs(check: Check, outputs: dict, want: dict, mode: str, errors: dict, case: str) -> None:
    """Every recorded tensor that the reference outputs hold for this mode."""
    for name, got in outputs.items():
        if name.endswith(".attention"):
            got = got.transpose(0, 1)  # [N, C, h, w] to [C, N, h, w]
        key = f"{mode}.{name}"
        if key in want:
            check.near(got, want[key], SLACK * errors[name], f"{case} {key}")
        if f"{key}.class0" in want:
            got = got[:, :1] if name.endswith(".attention") else got[:1]
            check.near(got, want[f"{key}.class0"], SLACK * errors[name], f"{case} {key} of category 0")


def check_mode(check: Check, model: Sed, inputs: tuple, want: dict, case: str, mode: str, info: dict) -> None:
    """One case with rejection off (``normal``) or on (``fastK``)."""
    pixels, text, size = inputs
    errors = info["max_abs_err_f32_vs_f64"]
    what = f"{case} {mode}"
    outputs = record(model)
    features = model.encode(pixels)
    top_k = int(mode.removeprefix("fast")) if mode != "normal" else 0
    logits, kept = model.decode(features, text, top_k)
    outputs["clip_vis_dense"] = features[0]
    check_outputs(check, outputs, want, mode, errors, case)
    if top_k:
        check.that([k.tolist() for k in kept] == info["kept_after_level"], f"{what}: survivors")
        check.near(logits.sigmoid(), want[f"{mode}.kept_prob"], SLACK * errors["head_out"], f"{what} scores")
    else:
        check.near(logits, want["normal.head_out"], SLACK * errors["head_out"], f"{what} logits")
    found = index_map(logits, kept[-1], size)
    expected = torch.from_numpy(np.array(Image.open(GOLDEN / f"{case}.{mode}.argmax.png"))).long()
    check.that(found.shape == expected.shape, f"{what}: size of the map")
    # Where they differ, the expected category scores as good as the best.
    scores = torch.zeros(len(text), *size).index_copy(0, kept[-1], upsampled_scores(logits, size))
    gap = scores.amax(0) - scores.gather(0, expected[None])[0]
    check.near(gap, torch.zeros(size), SLACK * errors["sem_seg"], f"{what}: index map")
    print(f"{what:28} survivors {[len(k) for k in kept]}, {(found != expected).sum().item()} near ties differ")


@torch.inference_mode()
def main() -> int:
    """0 if everything is equal, else 1."""
    meta = json.loads((GOLDEN / "meta.json").read_text())
    config = json.loads((GOLDEN / "config.json").read_text())
    mlp = json.loads(json.dumps(config))
    mlp["vision"]["head"] = {"type": "mlp", "hidden": 2 * config["embed_dim"]}
    check = Check()
    stored = load_file(GOLDEN / "sed_nano.safetensors")
    made = weights.make(config, meta["weights_seed"])
    check.that(stored.keys() == made.keys(), "names of the weights made by rule")
    check.that(all(torch.equal(stored[name], made[name]) for name in stored), "weights made by rule")
    whole_text = load_file(GOLDEN / "sed_nano.a24.safetensors")["text_features"]
    for case, info in meta["cases"].items():
        if info["variant"] == "sed_nano":
            new = lambda: Sed.load(config, GOLDEN / "sed_nano.safetensors")  # noqa: E731
        else:
            new = lambda: Sed.of(mlp, weights.make(mlp, meta["weights_seed"]))  # noqa: E731
        want = load_file(GOLDEN / f"{case}.safetensors")
        pixels, size = network_input(GOLDEN / info["image"], config["image_size"])
        if "normal.net_input" in want:
            error = info["modes"]["normal"]["max_abs_err_f32_vs_f64"]["net_input"]
            check.near(pixels, want["normal.net_input"], SLACK * error, f"{case} network input")
        text = want.get("text_features", whole_text[: len(info["classes"])])
        if "tokens" in want:
            bound = SLACK * info["max_abs_err_f32_vs_f64"]["text_features"]
            for category in want["token_class"].unique().tolist():
                ids = want["tokens"][want["token_class"] == category].long()
                embedding = new().clip_model.embed_category(ids, len(ids) // 80)
                check.near(embedding, text[category], bound, f"{case} text of category {category}")
        for mode, mode_info in info["modes"].items():
            check_mode(check, new(), (pixels, text, size), want, case, mode, mode_info)
    print(f"{check.compared} comparisons, " + ("SOME DIFFER" if check.failed else "all equal up to rounding"))
    return int(check.failed)


if __name__ == "__main__":
    sys.exit(main())
