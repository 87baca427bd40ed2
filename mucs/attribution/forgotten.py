"""Forgotten: a group of training items that is forgotten from a copy of the model, and the weights that are left."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mucs import InputError
from mucs.attribution.batches import batches
from mucs.attribution.draws import different
from mucs.attribution.items import BLOCK, Items
from mucs.attribution.losses import memory_for
from mucs.attribution.model import DiffusionModel
from mucs.attribution.objective import Objective
from mucs.attribution.probe import Probe
from mucs.attribution.seeds import stream
from mucs.attribution.unlearning import unlearn
from mucs.files import replacing
from mucs.parse import load_json

MATCHED = 4  # items that each forgotten one is matched with
PROBED = 64  # items that the probe looks at, at most, and draws that it takes, at least


@dataclass(frozen=True, eq=False)
class Forgotten:
    """A model without a group of its training items.

    Attributes:
        copies: Weights of the parameters that were trained, by name, on the CPU, all others being the original's: of the copy
            that forgot the group, and, with antithetic unlearning, of the one that learned it. The weights themselves and
            not their change, so that a model from a file is the same to the bit.
        steps: How many it took.
        converged: Whether the group's loss reached `probe_unseen` before the step cap.
        probe_before, probe_after: Mean bounded loss of the group's items under the fixed probe, of the original and now.
        probe_unseen: What it is expected to be had the group not been trained on: where forgetting ends.
    """

    copies: tuple[Mapping[str, Tensor], ...]
    steps: int
    converged: bool
    probe_before: float
    probe_after: float
    probe_unseen: float

    def models(self, original: DiffusionModel) -> list[DiffusionModel]:
        """The copies themselves; they share all other weights with the original."""
        found = []
        for weights in self.copies:
            copied = original.copy(weights)
            with torch.no_grad():
                for name, values in weights.items():
                    copied.network.get_parameter(name).copy_(values)
            found.append(copied)
        return found

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, whole or not at all."""
        about = {name: value for name, value in vars(self).items() if name != "copies"}
        tensors = {f"{k} {name}": values for k, weights in enumerate(self.copies) for name, values in weights.items()}
        with replacing(path) as partial:
            save_file(tensors, partial, {"about": json.dumps(about)})

    @classmethod
    def read(cls, path: Path, original: DiffusionModel) -> Forgotten:
        """Read one that `save` wrote.

        Args:
            path: Its file.
            original: The model that the group was forgotten from.

        Raises:
            InputError: If it is not one, or not of this model.
        """
        shapes = {name: values.shape for name, values in original.network.named_parameters()}
        try:
            with safe_open(path, "pt") as f:
                about = load_json(f.metadata()["about"])
                copies: dict[int, dict[str, Tensor]] = {}
                for each in sorted(f.keys()):
                    copy, name = each.split(" ", 1)
                    copies.setdefault(int(copy), {})[name] = f.get_tensor(each)
                    if shapes.get(name) != copies[int(copy)][name].shape:
                        raise ValueError
            if not copies:
                raise ValueError
            return cls(tuple(copies.values()), **about)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            raise InputError(f"{path} is not what is left of a model; delete it, and it is made anew.") from None


def detail(items: Items) -> Tensor:
    """How rich in detail each item is, (N,) float64: the mean square of the differences of neighbours.

    Detail is what makes an item hard to denoise that the model was not trained on.
    """
    found = torch.empty(len(items), dtype=torch.float64)
    for k in range(0, len(items), BLOCK):
        images = items[k : k + BLOCK].images
        across, down = images.diff(dim=3), images.diff(dim=2)
        found[k : k + BLOCK] = sum(each.square().mean(dim=(1, 2, 3)) for each in (across, down))
    return found


def _classes(items: Items) -> Tensor | None:
    classes = items.conditioning.get("class_labels")
    return classes if classes is None or items.condition_of is None else classes[items.condition_of]


def matched(items: Items, others: Items) -> list[Items]:
    """Other items that stand for the given ones: up to four sets, each with one for each item, the closest first.

    Those of an item's class, where there are classes, come before others; then those that are as rich in detail.
    """
    apart = (detail(items)[:, None] - detail(others)).abs()
    classes, of_others = _classes(items), _classes(others)
    if classes is not None and of_others is not None:
        apart += (classes[:, None] != of_others) * (1 + apart.max())
    nearest = apart.argsort(dim=1, stable=True)[:, :MATCHED]
    return [others[column] for column in nearest.T]


def unseen_loss(model: DiffusionModel, probe: Probe, held_out: Items, retained: Items) -> float:
    """What the probed items would lose had the model not been trained on them, as bounded losses.

    That is what they lose now, and beyond that what held-out items lose more than training items, both matched with
    them. So an item that is hard by itself counts as hard before and after.
    """
    by_kind = ([probe.of(each, model) for each in matched(probe.forgotten, others)] for others in (held_out, retained))
    of_held_out, of_retained = (sum(of) / len(of) for of in by_kind)
    return probe(model) + of_held_out - of_retained


def forget(
    model: DiffusionModel, items: Items, group: Tensor, held_out: Items, objective: Objective, seed: int
) -> Forgotten:
    """Mirrored unlearning (paper, section 3.1) of a group of training items; all others are retained.

    It ends where the group's mean loss under a fixed probe is what it would be had the group not been trained on
    (`unseen_loss`). L₀ still bounds the loss, sample by sample, and the probe's mean is of bounded losses.

    Args:
        model: The original.
        items: N training items.
        group: Indices (n,), int64, rising, 1 ≤ n < N. These items are held in memory.
        held_out: Items of the same kind that the model was not trained on.
        objective: L₀ and the settings; their rules of stopping and converging are of single items, and say nothing here.
        seed: Of all random streams, with the digest of the group's items.

    Raises:
        InputError: If memory is too small, or weights do not stay finite.
    """
    lost = items[group]
    chosen = torch.randperm(len(lost), generator=stream(0, "probed items", lost.digest))[:PROBED]
    probed = lost[chosen.sort().values]
    probe = Probe(model, probed, objective, samples=len(probed) * math.ceil(PROBED / len(probed)))
    kept = torch.ones(len(items), dtype=torch.bool)
    kept[group] = False
    retained = kept.nonzero()[:, 0]
    few = different(len(retained), min(len(retained), len(held_out)), stream(0, "matched items", lost.digest))
    with memory_for("micro_batch_size", objective.settings.samples_at_once):
        unseen = unseen_loss(model, probe, held_out, items[retained[few.sort().values]])
    steps = batches(model, items, lost, objective.settings, seed, retained=retained)
    done = unlearn(model, objective, steps, probe, unseen, unseen, by_probe=True)
    return Forgotten(
        copies=tuple(
            {name: copy.network.get_parameter(name).detach().cpu().contiguous() for name in done.trained}
            for copy in (done.model, done.antithetic)
            if copy is not None
        ),
        steps=done.steps,
        converged=done.converged,
        probe_before=done.probe_before,
        probe_after=done.probe_after,
        probe_unseen=unseen,
    )
