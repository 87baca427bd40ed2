"""What unlearning takes: `python benchmarks/memory.py demo`, `sd15` and `sdxl`.

demo: the demo's checkpoint; sd15: a UNet of Stable Diffusion 1.5's size with random weights (16 GB of memory). Each takes
one step on this machine and is held against (1 + 4f) networks, f being the trained share: the original, the changed
weights, their gradients and AdamW's two moments.
sdxl: one micro-batch of a step of 100 + 100 at 1024 pixels, nothing of it computed: torch's fake tensors have shapes and no
numbers, and every one that the library makes is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel

from mucs.attribution import DiffusionModel, Items, Settings, Unlearning, mirrored_unlearning
from mucs.attribution.estimate import estimate
from mucs.attribution.trainable import trainable_names

GB = 1e9
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}


def size(tensors: Any) -> int:
    """Bytes of different storages."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def peak() -> float:
    """The most memory that the process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(model: DiffusionModel, conditioning: dict[str, torch.Tensor], settings: Unlearning) -> None:
    """Unlearn for two steps, count all tensors of a weight's kind while it is under way, and print."""
    network = size(model.network.parameters())
    names = trainable_names(model.network, settings.trainable)
    share = size(model.network.get_parameter(name) for name in names) / network
    counted = []
    step = torch.optim.AdamW.step

    def counting(optimizer: Any, *given: Any) -> Any:
        done = step(optimizer, *given)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        state = [t for of in optimizer.state.values() for t in of.values() if t.ndim]
        counted.append(size([*model.network.parameters(), *trained, *(p.grad for p in trained), *state]))
        return done

    torch.optim.AdamW.step = counting  # type: ignore[method-assign]
    items = Items(torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1, conditioning)
    before = peak()
    mirrored_unlearning(model, items[:1], items, settings)
    allowed = (1 + 4 * share) * network
    print(
        f"| {network / GB:.3f} GB | {share:.3f} | {1 + 4 * share:.3f} networks = {allowed / GB:.3f} GB"
        f" | {max(counted) / GB:.3f} GB, {max(counted) / allowed - 1:+.2%} | {before / GB:.2f} → {peak() / GB:.2f} GB |"
    )


def demo(settings: Unlearning) -> None:
    model = DiffusionModel.from_pretrained(Path(__file__).parents[1] / "data" / "checkpoint")
    measure(model, {"class_labels": torch.zeros(2, dtype=torch.long)}, settings)


def sd15(settings: Unlearning) -> None:
    network = UNet2DConditionModel(**SD15 | {"sample_size": 8})  # type: ignore[arg-type]  # few activations
    model = DiffusionModel(network, DDIMScheduler())
    measure(model, {"encoder_hidden_states": torch.randn(2, 77, 768)}, settings)


def sdxl(micro: int, precision: Any, checkpointing: bool, fused: bool) -> None:
    """The peak of one micro-batch, forward and backward, and of the optimizer's step after it."""
    settings = Settings(
        unlearning=Unlearning(micro_batch_size=micro, precision=precision, gradient_checkpointing=checkpointing)
    )
    with torch.device("meta"):
        network = UNet2DConditionModel(**SDXL)  # type: ignore[arg-type]
    model = DiffusionModel(network, EulerDiscreteScheduler(), "meta")
    with contextlib.nullcontext() if fused else sdpa_kernel(SDPBackend.MATH):
        found = estimate(model, settings, 1_000_000, 1000, 1000, 1_000_000)
    print(
        f"| {micro} | {precision} | {checkpointing} | {'fused' if fused else 'math'} | {found.step_bytes / GB:.1f} GB"
        f" | {found.weights_bytes / GB:.1f} GB |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("demo", "sd15", "sdxl"))
    given = parser.parse_args()
    settings = Unlearning(learning_rate=1e-5, null_loss=100.0, max_steps=2, batch_size=2, micro_batch_size=1)
    if given.what == "sdxl":
        for micro, precision, checkpointing, fused in (
            (2, "float32", False, False),
            (2, "bfloat16", False, False),
            (2, "bfloat16", True, False),
            (2, "bfloat16", True, True),
            (4, "bfloat16", True, False),
            (4, "bfloat16", True, True),
        ):
            sdxl(micro, precision, checkpointing, fused)
    else:
        {"demo": demo, "sd15": sd15}[given.what](settings)


if __name__ == "__main__":
    main()
