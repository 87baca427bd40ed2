"""Prepared: what the units of a plan compute with, on this machine: the model, its noise bank, and the images as items."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mucs import InputError
from tasks.device import choose_device
from tasks.plan import Plan
from tasks.prepare import NAMES, read_items
from tasks.pull import Pulled, default_cache, pull

if TYPE_CHECKING:
    from mucs.attribution import Controls, DiffusionModel, Items, LossStore, NoiseBank, Settings
    from mucs.attribution.losses import LossTable

LOADING = threading.RLock()


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint's model, and the noise bank of a plan."""

    model: DiffusionModel
    bank: NoiseBank


@dataclass(frozen=True, eq=False)
class Prepared(Loaded):
    """All that the units of a plan share.

    Attributes:
        training, held_out, generated: Images as the model takes them.
        losses: The original model's, by content address.
    """

    training: Items
    held_out: Items | None
    generated: Items | None
    losses: LossStore

    def table(self, which: str, settings: Settings) -> LossTable:
        """The original losses of a set, "training" or "held_out"; behind "decoys_", under the bank's beginning, which decoys are scored under."""
        bank = self.bank.prefix(settings.calibration_noises) if which.startswith("decoys_") else self.bank
        items = self.held_out if which.endswith("held_out") else self.training
        assert items is not None
        return self.losses.table(self.model, items, bank, settings.scoring)

    def controls(self, seed: int) -> Controls:
        """The controls that a seed chooses among the training items."""
        from mucs.attribution import controls

        return controls(self.training, seed)


def loaded(plan: Plan) -> Loaded:
    """The model and the noise bank of a plan, which a process reads once.

    Raises:
        InputError: If the checkpoint cannot be used, or the settings do not fit it.
    """
    with LOADING:
        return _loaded(replace(plan, batch=None), choose_device(plan.device))


def described(plan: Plan) -> Loaded:
    """As `loaded`, but the model has shapes and names alone, and its weights take no memory: for who computes nothing."""
    with LOADING:
        return _loaded(replace(plan, batch=None), "meta")


def prepared(plan: Plan) -> Prepared:
    """All that the units of a plan share, which a process reads once; model and data once for all batches.

    Raises:
        InputError: If inputs cannot be had or used, or do not fit each other.
    """
    with LOADING:
        return _prepared(plan)


def cache_of(plan: Plan) -> Path:
    """Where this machine keeps what is pulled."""
    return plan.cache or default_cache()


@functools.lru_cache(2)
def _loaded(plan: Plan, device: str) -> Loaded:
    from mucs.attribution import DiffusionModel, NoiseBank

    settings = plan.settings
    folder = here(plan, plan.checkpoint).folder
    model = DiffusionModel.from_pretrained(folder, device, digest=plan.checkpoint.digest)
    return Loaded(model, NoiseBank.draw(model, settings.num_noises, settings.fraction, settings.seed))


@functools.lru_cache(1)
def _prepared(plan: Plan) -> Prepared:
    return replace(_without_batch(replace(plan, batch=None)), generated=_items(plan, plan.batch, "batch"))


@functools.lru_cache(1)
def _without_batch(plan: Plan) -> Prepared:
    from mucs.attribution import LossStore

    base, losses = loaded(plan), LossStore(cache_of(plan) / plan.fresh / "losses")
    training, held_out = _items(plan, plan.training, "training"), _items(plan, plan.held_out, "held_out")
    assert training is not None
    return Prepared(base.model, base.bank, training, held_out, None, losses)


def _items(plan: Plan, pulled: Pulled | None, role: str) -> Items | None:
    if pulled is None:
        return None
    kept = cache_of(plan) / plan.fresh
    return read_items(loaded(plan).model, here(plan, pulled), NAMES[role], plan.settings.encoding, kept)


def here(plan: Plan, pulled: Pulled) -> Pulled:
    """What was pulled on the machine that made the plan, on this one: from its cache by digest, or pulled anew.

    Raises:
        InputError: If it cannot be pulled, or is not what the plan says.
    """
    if plan.cache:
        return pulled
    folder = cache_of(plan) / "folders" / pulled.digest
    if folder.is_dir():
        return replace(pulled, folder=folder)
    anew = pull.fn(plan.registry, pulled.commit, pulled.path, cache_of(plan), plan.log)
    if anew.digest != pulled.digest:
        raise InputError(
            f"{pulled.path} of {plan.registry} at {pulled.commit[:12]} is not what the job pulled: its SHA-256 is"
            f" {anew.digest[:12]}, the job's {pulled.digest[:12]}; find out who changed its remote."
        )
    return anew
