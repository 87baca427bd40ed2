"""Hyperparameters of mirrored unlearning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from mucs import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Unlearning:
    """How an item is unlearned; the defaults are the paper's.

    Attributes:
        learning_rate: Of AdamW; a tenth of the rate that the model was trained with.
        weight_decay: Of AdamW.
        forget_weight: λ, the weight of the forget loss against the retain loss.
        null_loss: L₀, the loss of a model that knows nothing: "auto" tells it by level (`null_loss_by_level`), "zero output"
            as the authors' one number for all levels (`zero_output_null_loss`), or it is given as a number.
        tolerance: Unlearning stops when the mean bounded forget loss reaches (1 − tolerance)·L₀, in [0, 1).
        converged_at: An item counts as converged, which is forgotten, where the mean bounded loss under the fixed probe of 32
            noises reaches this share of L₀, in (0, 1], whatever ended the ascent.
        max_steps: The step cap.
        batch_size: Training items a step, and as many copies of the generated item.
        trainable: "feedforward", "attention", "all" or "adapter", or parameter names and patterns (`*`, `?`).
        stop: Where the mean bounded forget loss is taken: over the step's "batch", or over a fixed "probe" of 32 noises,
            every 4 steps.
        shared_noise: Training items and generated item under the same draws (the paper's ablation).
        antithetic: Unlearn a second copy at −λ, with the same draws for as many steps: it learns the generated item. The score is
            then half the skew between the two copies, from which what merely drifts with retaining is gone; at twice the cost.
        augment: Mirror half of a batch's images, left to right.
        down_weight: From 0 to 1, how much less a training item that looks like the generated one is retained: its loss
            is weighed by 1 − down_weight · max(0, likeness). An option of ours: the paper's ablation leaves out the tenth of
            each batch that is most alike.
        micro_batch_size: Samples that go forward and backward at once, training items and copies together, and samples
            of the probe; None for a step's whole batch. It changes memory, and of the result what rounding does.
        gradient_checkpointing: Compute activations again in the backward pass and keep few: less memory, a third more
            time.
        precision: Of the network's matrix products while it is unlearned; "bfloat16" is meant for GPUs.
        efficient_attention: On a GPU, attention that takes little memory while gradients are taken too. Torch cannot
            promise the same bits each time then.

    Raises:
        InputError: If one is out of range.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    forget_weight: float = 0.2
    null_loss: float | Literal["auto", "zero output"] = "auto"
    tolerance: float = 0.05
    converged_at: float = 0.9
    max_steps: int = 500
    batch_size: int = 100
    trainable: str | Sequence[str] = "feedforward"
    stop: Literal["batch", "probe"] = "batch"
    shared_noise: bool = False
    antithetic: bool = False
    augment: bool = False
    down_weight: float = 0.0
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    efficient_attention: bool = False

    @property
    def copies(self) -> int:
        """Of the weights that are trained for one item."""
        return 2 if self.antithetic else 1

    @property
    def samples_at_once(self) -> int:
        """Samples that go forward and backward at once in a step of full batches."""
        return self.micro_batch_size or 2 * self.batch_size

    def __post_init__(self) -> None:
        rates = (
            *(self.learning_rate, self.forget_weight, self.weight_decay),
            *(self.tolerance, self.converged_at, self.down_weight),
        )
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in rates) or not all(
            isinstance(n, int) for n in (self.max_steps, self.batch_size)
        ):
            raise InputError(
                "Rates, weights and the tolerance must be finite numbers, the step cap and the batch size whole ones; change them."
            )
        if self.learning_rate <= 0 or self.forget_weight <= 0 or self.weight_decay < 0:
            raise InputError(
                "The learning rate and the forget weight must be above 0 and the weight decay at least 0; change them."
            )
        if not 0 < self.converged_at <= 1:
            raise InputError(
                f"An item is to count as converged at {self.converged_at} of the null loss; give a share in (0, 1]."
            )
        if not 0 <= self.tolerance < 1 or self.max_steps < 0 or self.batch_size < 1:
            raise InputError(
                "The tolerance must lie in [0, 1), the step cap be at least 0 and the batch size at least 1; change them."
            )
        if self.null_loss not in ("auto", "zero output") and not (
            isinstance(self.null_loss, int | float) and math.isfinite(self.null_loss) and self.null_loss > 0
        ):
            raise InputError(f'The null loss is {self.null_loss!r}; give "auto", "zero output" or a number above 0.')
        flags = (
            self.shared_noise,
            self.antithetic,
            self.augment,
            self.gradient_checkpointing,
            self.efficient_attention,
        )
        if not all(isinstance(flag, bool) for flag in flags):
            raise InputError(
                "Shared noise, antithetic copies, augmentation, gradient checkpointing and efficient attention are True or False; change them."
            )
        if self.micro_batch_size is not None and (type(self.micro_batch_size) is not int or self.micro_batch_size < 1):
            raise InputError(f"The micro-batch size is {self.micro_batch_size!r}; give a whole number from 1 on.")
        if self.precision not in PRECISIONS:
            raise InputError(f"The precision {self.precision!r} is not known; use float32 or bfloat16.")
        if not self.trainable:
            raise InputError("No parameter is chosen by the setting trainable; name a policy, or parameters.")
        if self.stop not in ("batch", "probe"):
            raise InputError(f"The stop rule {self.stop!r} is not known; use batch or probe.")
        if not 0 <= self.down_weight <= 1:
            raise InputError(f"The down-weighting is {self.down_weight}; give a number from 0 to 1.")
