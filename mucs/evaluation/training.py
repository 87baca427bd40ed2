"""Training from scratch, as the demo's checkpoint was trained: on all items, or on a part of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import DiffusionModel, Items
from mucs.attribution.seeds import stream
from mucs.files import replacing

EVERY = 500  # steps between two saved states
INITIALISING = threading.Lock()  # fresh weights are drawn from torch's one global stream


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW on the training loss of its parameterisation, gradients clipped to length 1.

    The learning rate rises over the warm-up, stays, and falls in a straight line over the last `cooldown` of the steps.

    Attributes:
        ema_decay: Of the weights' moving average, which is what training gives.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 100
    cooldown: float = 0.25
    ema_decay: float = 0.995

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise InputError("Steps and batch size must be at least 1 and the learning rate above 0; change them.")
        if self.warmup_steps < 1 or not 0 < self.cooldown <= 1 or not 0 <= self.ema_decay < 1:
            raise InputError(
                "The warm-up must be at least 1 step, the cool-down in (0, 1] and the average's decay in [0, 1); change them."
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        falling = (self.steps - step) / (self.cooldown * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, falling)


def small_unet(
    size: int,
    classes: int | None,
    channels: Sequence[int],
    *,
    norm_num_groups: int = 16,
    attention_head_dim: int = 32,
    prediction_type: str = "v_prediction",
) -> tuple[Any, Any]:
    """A UNet for square RGB images with attention at every resolution but the finest, and its scheduler, as the demo's are."""
    import diffusers

    kinds: Any = diffusers
    coarse = len(channels) - 1
    unet = kinds.UNet2DModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        block_out_channels=list(channels),
        down_block_types=["DownBlock2D"] + ["AttnDownBlock2D"] * coarse,
        up_block_types=["AttnUpBlock2D"] * coarse + ["UpBlock2D"],
        layers_per_block=1,
        attention_head_dim=attention_head_dim,
        norm_num_groups=norm_num_groups,
        num_class_embeds=classes,
    )
    scheduler = kinds.DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type=prediction_type, clip_sample=True
    )
    return unet, scheduler


def fresh(model: DiffusionModel, seed: int) -> DiffusionModel:
    """An untrained model of the same configuration, with weights that the seed chooses."""
    with INITIALISING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "initial weights").initial_seed())
        network = type(model.network).from_config(model.network.config)
    size = model.shape[1] * model.pixels_per_latent
    twin = DiffusionModel(network, model.scheduler, model.device, checkpoint=model.checkpoint, size=size)
    twin.shape = model.shape  # which need not be square
    return twin


def train(
    model: DiffusionModel,
    items: Items,
    recipe: Recipe,
    seed: int = 0,
    *,
    present: Tensor | None = None,
    state: Path | None = None,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a fresh model in place on N items; gives the loss of each step.

    Whatever is present, the draws are those of training on all: only in the place of a missing item another is drawn. So
    two trainings differ by what is missing, and by little else. Dropout is off.

    Args:
        model: What is trained, from the weights that it has.
        items: N of them.
        recipe: Steps, batch size, rates.
        seed: Of every random draw.
        present: (N,) bool, which of them it may see.
        state: A file to resume from, written every 500 steps and removed at the end.
        report: Called every 100 steps with the step and the mean loss since.

    Raises:
        InputError: If nothing is present, if items do not fit the model, or if the state is of another training.
    """
    from diffusers.training_utils import EMAModel

    model.check(items, "training images")
    kept = torch.arange(len(items)) if present is None else present.nonzero()[:, 0]
    if not len(kept):
        raise InputError("No training image is left; keep at least one.")
    parameters = list(model.network.requires_grad_().parameters())
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, fused=True)
    average = EMAModel(parameters, decay=recipe.ema_decay, use_ema_warmup=True, power=0.75)
    about = {"recipe": asdict(recipe), "seed": seed, "items": items.digest, "kept": kept.tolist()}
    losses: list[float] = []
    if state is not None and state.exists():
        losses = _resume(state, about, model, optimizer, average)
    for step in range(len(losses), recipe.steps):
        # seeded by step, so that a resumed training is the same training
        random = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(items), (recipe.batch_size,), generator=random)
        noise = torch.randn((recipe.batch_size, *model.shape), generator=random)
        levels = model.parameterisation.draw_levels(recipe.batch_size, random)
        if len(kept) < len(items):
            others = kept[torch.randint(len(kept), (recipe.batch_size,), generator=random)]
            chosen = torch.where(torch.isin(chosen, kept), chosen, others)
        batch = items[chosen]
        loss = model.losses(batch.images, noise, levels, batch.conditioning).mean()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.step(parameters)
        losses.append(loss.item())
        if report is not None and (step + 1) % 100 == 0:
            report(step + 1, sum(losses[-100:]) / 100)
        if state is not None and (step + 1) % EVERY == 0:
            with replacing(state) as partial:
                parts: dict[str, Any] = {"network": model.network, "optimizer": optimizer, "average": average}
                saved = {name: part.state_dict() for name, part in parts.items()}
                torch.save({"about": about, "losses": losses, **saved}, partial)
    average.copy_to(parameters)
    model.network.requires_grad_(False)
    if state is not None:
        state.unlink(missing_ok=True)
    return losses


def _resume(
    state: Path, about: dict[str, object], model: DiffusionModel, optimizer: torch.optim.Optimizer, average: Any
) -> list[float]:
    """Take a saved training up again; gives the losses so far."""
    saved = torch.load(state, weights_only=True)
    if saved["about"] != about:
        raise InputError(f"{state} is of a training with other parameters; delete it, or restore the parameters.")
    parts: dict[str, Any] = {"network": model.network, "optimizer": optimizer, "average": average}
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return list(saved["losses"])
