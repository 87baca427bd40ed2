"""Mirrored unlearning: forget one generated item, or several, and retain the training items (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.batches import Batch, batches
from mucs.attribution.draws import Draw
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items, as_items
from mucs.attribution.losses import memory_for
from mucs.attribution.model import DiffusionModel
from mucs.attribution.objective import Objective
from mucs.attribution.probe import Probe
from mucs.attribution.trainable import trainable_names

Progress = Callable[[str, int, int], None]  # what is under way, how much of it is done, and of how much
PROBE_EVERY = 4  # steps between two looks at the probe where it decides


@dataclass(frozen=True)
class Unlearned:
    """The outcome of mirrored unlearning.

    Attributes:
        model: The unlearned one.
        antithetic: The copy that learned the generated item instead, where there is one.
        steps: How many it took.
        stopped: Whether the stop rule ended the ascent; the step cap, or the end of the draws that were given, otherwise.
        converged: Whether the item is forgotten: `probe_after` is at least the share `converged_at` of L₀.
        null_loss: L₀; 1 where it goes by level, and bounded losses are then shares of it.
        bounded_loss: Mean bounded forget loss of the last batch.
        probe_before, probe_after: The same under the fixed probe, of the original and the unlearned model.
        trained: Names of the parameters that were trained.
        forget_loss, retain_loss: (batches, batch size) float32, each sample's loss before the step that its batch led
            to, before bounding; the last row was measured after the last step where the stop rule or the cap ended the
            work.
    """

    model: DiffusionModel
    antithetic: DiffusionModel | None
    steps: int
    stopped: bool
    converged: bool
    null_loss: float
    bounded_loss: float
    probe_before: float
    probe_after: float
    trained: tuple[str, ...]
    forget_loss: Tensor
    retain_loss: Tensor


class Unlearner:
    """A copy of the trained weights that goes down the objective by steps of AdamW.

    Attributes:
        model: The copy; it shares all weights with the original that are not trained.
        trained: Names of the parameters that are.

    Raises:
        InputError: If no parameter is chosen, or the network has no gradient checkpointing where that is asked for.
    """

    def __init__(self, original: DiffusionModel, objective: Objective) -> None:
        how = objective.settings
        self.objective = objective
        self.trained = trainable_names(original.network, how.trainable)
        self.model = original.copy(self.trained)
        self.parameters = [self.model.network.get_parameter(name).requires_grad_() for name in self.trained]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
        )
        if how.gradient_checkpointing:
            try:
                self.model.network.enable_gradient_checkpointing()
            except (AttributeError, ValueError):
                raise InputError(
                    f"{type(original.network).__name__} has no gradient checkpointing; leave gradient_checkpointing out."
                ) from None

    def losses(self, batch: Batch) -> Tensor:
        """Each sample's loss, (B + F,), and, where gradients are on, the gradient for the next step."""
        self.optimizer.zero_grad()
        return self.objective.losses(self.model, batch)

    def step(self) -> None:
        """Go down the gradient of the batch before."""
        self.optimizer.step()

    def end(self, steps: int) -> None:
        """Take no more gradients, and free their memory; InputError if weights are not finite after so many steps."""
        if self.objective.settings.gradient_checkpointing:
            self.model.network.disable_gradient_checkpointing()
        self.model.network.requires_grad_(False)
        self.optimizer.zero_grad()
        if not all(p.isfinite().all() for p in self.parameters):
            raise InputError(
                f"Unlearning left numbers that are not finite after {steps} steps;"
                f" lower the learning rate {self.objective.settings.learning_rate}."
            )


def mirrored_unlearning(
    model: DiffusionModel,
    generated: Tensor | Items,
    images: Tensor | Items,
    settings: Unlearning = Unlearning(),
    *,
    seed: int = 0,
    draws: Iterable[Draw] | None = None,
    progress: Progress | None = None,
) -> Unlearned:
    """Unlearn one generated item from a copy of the trained weights, retaining the training images.

    Args:
        model: The original, which stays as it is; the copy shares all weights with it that are not trained.
        generated: (C, H, W) in [-1, 1], or Items of one.
        images: (N, C, H, W) in [-1, 1], or Items.
        settings: How.
        seed: Of the random draws, with the generated item.
        draws: To be used in order, one a step, instead: (indices (B,), retain noise (B, C, H, W) and levels (B,), forget
            noise (F, C, H, W) and levels (F,)).
        progress: Called with ("unlearning", steps done, step cap).

    Returns:
        The unlearned model, and how it went.

    Raises:
        InputError: If images or draws do not fit the model, memory is too small, or weights do not stay finite.
    """
    items, generated = as_items(images), _one(model, generated)
    model.check(items, "training images")
    objective = Objective.of(model, items, settings)
    null_loss, by_probe = objective.null_loss.value, settings.stop == "probe"
    ends_at, forgotten_at = (1 - settings.tolerance) * null_loss, settings.converged_at * null_loss
    steps = batches(model, items, generated, settings, seed, draws)
    probe = Probe(model, generated, objective)
    return unlearn(model, objective, steps, probe, ends_at, forgotten_at, by_probe=by_probe, progress=progress)


def unlearn(
    model: DiffusionModel,
    objective: Objective,
    batches: Iterable[Batch],
    probe: Probe,
    ends_at: float,
    forgotten_at: float,
    *,
    by_probe: bool,
    progress: Progress | None = None,
) -> Unlearned:
    """Go down the objective until what it forgets is forgotten.

    Args:
        model: As `mirrored_unlearning` takes it.
        objective: With the step cap among its settings.
        batches: One for each step.
        probe: Of what is to be forgotten.
        ends_at: The mean bounded forget loss that ends the ascent.
        forgotten_at: That of the probe from which on what is forgotten has converged.
        by_probe: Whether the probe ends the ascent, every 4 steps, or a batch.
        progress: As `mirrored_unlearning` takes it.

    Raises:
        InputError: If there are no batches, memory is too small, or weights do not stay finite.
    """
    settings = objective.settings
    copied = Unlearner(model, objective)
    learner = Unlearner(model, replace(objective, sign=-1.0)) if settings.antithetic else None
    retain, forget = [], []
    steps, stopped = 0, False
    with memory_for("micro_batch_size", settings.samples_at_once):
        probe_before = probe(model)
        for batch in batches:
            ends = steps == settings.max_steps
            with torch.set_grad_enabled(not ends):
                losses = copied.losses(batch)
            retain.append(losses[: batch.retained].cpu())
            forget.append(losses[batch.retained :].cpu())
            bounded_loss = objective.bounded_forget_loss(losses, batch)
            if not by_probe:
                stopped = bounded_loss >= ends_at
            elif ends or steps % PROBE_EVERY == 0:
                stopped = probe(copied.model) >= ends_at
            if stopped or ends:
                break
            copied.step()
            if learner:
                learner.losses(batch)
                learner.step()
            steps += 1
            if progress:
                progress("unlearning", steps, settings.max_steps)
        if not forget:
            raise InputError("There are no draws; give one for each step.")
        copied.end(steps)
        if learner:
            learner.end(steps)
        probe_after = probe(copied.model)
        return Unlearned(
            model=copied.model,
            antithetic=learner.model if learner else None,
            steps=steps,
            stopped=stopped,
            converged=probe_after >= forgotten_at,
            null_loss=objective.null_loss.value,
            bounded_loss=bounded_loss,
            probe_before=probe_before,
            probe_after=probe_after,
            trained=tuple(copied.trained),
            forget_loss=torch.stack(forget),
            retain_loss=torch.stack(retain),
        )


def _one(model: DiffusionModel, generated: Tensor | Items) -> Items:
    """One generated item, in memory; InputError if it is none or several, or does not fit the model."""
    given = as_items(generated[None] if isinstance(generated, Tensor) else generated)
    model.check(given, "generated images")
    if len(given) > 1:
        raise InputError(f"{len(given)} generated items are to be unlearned at once; give one at a time.")
    return given[:]
