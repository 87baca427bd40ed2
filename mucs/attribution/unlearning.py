"""Mirrored unlearning: forget one generated item, retain the training items (paper, section 3.1)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution.model import DiffusionModel
from mucs.attribution.seeds import image_digest, stream

Draw = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

# The matching choice for UNets of a transformer's feed-forward matrices: the residual blocks' convolutions.
POLICIES = {"feedforward": re.compile(r"\.resnets\.\d+\.conv[12]\.weight$|\.ff\.net\..*weight$")}


@dataclass(frozen=True)
class Unlearning:
    """Settings of mirrored unlearning; the defaults are the paper's.

    learning_rate: of AdamW; a tenth of the rate that the model was trained with.
    forget_weight: λ, the weight of the forget loss against the retain loss.
    null_loss: L₀, the loss of a model that knows nothing; "auto" estimates it.
    tolerance: unlearning stops when the mean bounded forget loss reaches (1 − tolerance)·L₀.
    batch_size: training items a step, and as many copies of the generated item.
    trainable: "feedforward", or the names of the parameters to train.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    forget_weight: float = 0.2
    null_loss: float | Literal["auto"] = "auto"
    tolerance: float = 0.05
    max_steps: int = 500
    batch_size: int = 100
    trainable: str | Sequence[str] = "feedforward"

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.forget_weight <= 0 or self.weight_decay < 0:
            raise InputError(
                "The learning rate and the forget weight must be above 0 and the weight decay at least 0; change them."
            )
        if not 0 <= self.tolerance < 1 or self.max_steps < 0 or self.batch_size < 1:
            raise InputError(
                "The tolerance must lie in [0, 1), the step cap be at least 0 and the batch size at least 1; change them."
            )
        if self.null_loss != "auto" and not (
            isinstance(self.null_loss, int | float) and math.isfinite(self.null_loss) and self.null_loss > 0
        ):
            raise InputError(f'The null loss is {self.null_loss!r}; give "auto" or a number above 0.')


@dataclass(frozen=True)
class Unlearned:
    """The outcome of mirrored unlearning.

    forget_loss, retain_loss: (batches, batch size) float32, each sample's loss before the step that its batch led to,
    before bounding; the last row was measured after the last step where the stop rule or the cap ended the work.
    """

    model: DiffusionModel
    steps: int
    converged: bool
    forget_loss: Tensor
    retain_loss: Tensor


def trainable_names(network: nn.Module, trainable: str | Sequence[str]) -> list[str]:
    """The parameters that a policy or a list of names chooses; InputError if it chooses none or an unknown one."""
    names = [name for name, _ in network.named_parameters()]
    if isinstance(trainable, str):
        if trainable not in POLICIES:
            raise InputError(
                f"The policy {trainable!r} is not known; use one of {', '.join(POLICIES)}, or a list of parameter names."
            )
        chosen = [name for name in names if POLICIES[trainable].search(name)]
    else:
        unknown = sorted(set(trainable) - set(names))
        if unknown:
            raise InputError(f"The network has no parameter {unknown[0]!r}; name parameters as the checkpoint does.")
        chosen = [name for name in names if name in set(trainable)]
    if not chosen:
        raise InputError(f"No parameter is chosen by {trainable!r}; name at least one.")
    return chosen


def estimate_null_loss(
    model: DiffusionModel, images: Tensor, *, labels: Tensor | None = None, samples: int = 256, seed: int = 0
) -> float:
    """L₀: mean loss, over training items and levels drawn as in training, of a freshly initialised network of the same configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "fresh network").initial_seed())
        fresh = DiffusionModel(type(model.network).from_config(model.network.config), model.scheduler, model.device)
    draws = stream(seed, "null loss")
    which = torch.randint(len(images), (samples,), generator=draws)
    noise = torch.randn((samples, *model.shape), generator=draws)
    levels = model.parameterisation.draw_levels(samples, draws)
    with torch.inference_mode():
        losses = [
            fresh.losses(
                images[which[k : k + 64]],
                noise[k : k + 64],
                levels[k : k + 64],
                None if labels is None else labels[which[k : k + 64]],
            )
            for k in range(0, samples, 64)
        ]
    return float(torch.cat(losses).double().mean())


def random_draws(model: DiffusionModel, count: int, batch_size: int, generator: torch.Generator) -> Iterator[Draw]:
    """Endless independent draws: (indices, retain noise, retain levels, forget noise, forget levels)."""
    size = min(batch_size, count)
    while True:
        yield (
            torch.randperm(count, generator=generator)[:size],
            torch.randn((size, *model.shape), generator=generator),
            model.parameterisation.draw_levels(size, generator),
            torch.randn((size, *model.shape), generator=generator),
            model.parameterisation.draw_levels(size, generator),
        )


def mirrored_unlearning(
    model: DiffusionModel,
    generated: Tensor,
    images: Tensor,
    settings: Unlearning = Unlearning(),
    *,
    label: int | None = None,
    labels: Tensor | None = None,
    seed: int = 0,
    draws: Iterable[Draw] | None = None,
) -> Unlearned:
    """Unlearn one generated item (C, H, W) from a copy of the model, retaining the training images (N, C, H, W), all in [-1, 1].

    A step minimises mean ℓ(x_r) − λ·mean min(ℓ(x_g), L₀). Random draws are seeded by (seed, generated item); given
    draws are used in order, one a step. Raises InputError if images or labels do not fit the model.
    """
    model.check(images, labels, "training images")
    model.check(generated[None], None if label is None else torch.tensor([label]), "generated images")
    null_loss = (
        estimate_null_loss(model, images, labels=labels, seed=seed)
        if settings.null_loss == "auto"
        else float(settings.null_loss)
    )
    if draws is None:
        draws = random_draws(
            model, len(images), settings.batch_size, stream(seed, "unlearning", image_digest(generated))
        )

    unlearned = model.copy()
    chosen = set(trainable_names(unlearned.network, settings.trainable))
    parameters = [p.requires_grad_() for name, p in unlearned.network.named_parameters() if name in chosen]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    forget_trace, retain_trace = [], []
    steps, converged = 0, False
    for indices, retain_noise, retain_levels, forget_noise, forget_levels in draws:
        x = torch.cat([images[indices], generated.expand(len(forget_noise), *generated.shape)])
        y = (
            None
            if labels is None or label is None
            else torch.cat([labels[indices], torch.full((len(forget_noise),), label)])
        )
        losses = unlearned.losses(
            x, torch.cat([retain_noise, forget_noise]), torch.cat([retain_levels, forget_levels]), y
        )
        retain, forget = losses[: len(indices)], losses[len(indices) :]
        bounded = forget.clamp(max=null_loss).mean()
        retain_trace.append(retain.detach().cpu())
        forget_trace.append(forget.detach().cpu())
        converged = bounded.item() >= (1 - settings.tolerance) * null_loss
        if converged or steps == settings.max_steps:
            break
        optimizer.zero_grad()
        (retain.mean() - settings.forget_weight * bounded).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
    if not all(p.isfinite().all() for p in parameters):
        raise InputError(
            f"Unlearning left numbers that are not finite after {steps} steps; lower the learning rate {settings.learning_rate}."
        )
    unlearned.network.requires_grad_(False)
    return Unlearned(unlearned, steps, converged, torch.stack(forget_trace), torch.stack(retain_trace))
