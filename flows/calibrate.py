"""Calibrate: score the training items for images that they have nothing to do with, for all audits of a model to share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.checks import check_inputs
from flows.inputs import pull_inputs
from flows.settings import GivenSettings
from mucs import InputError
from mucs.attribution import Settings
from tasks.calibrate import calibrate as make_calibration
from tasks.calibrate import find_calibration, publish_calibration
from tasks.narrate import narrate
from tasks.pull import default_cache

log = logging.getLogger("mucs.calibrate")


@dataclass(frozen=True)
class Calibrated:
    """What a calibration came to.

    address: what it is kept under. decoys, noises: how many it is made of. made: False if it was there already.
    """

    address: str
    decoys: int
    noises: int
    made: bool


def check_calibrate(
    registry: str,
    results: str,
    revision: str = "main",
    held_out: str = "held_out",
    device: str = "auto",
    cache: Path | None = None,
    **_: Any,
) -> None:
    """InputError for what can be seen to be wrong with a calibration before it begins; all are as `calibrate` takes them."""
    if not held_out:
        raise InputError("A calibration is made of held-out images; give the folder of a held-out set.")
    check_inputs(registry, revision, results, device, cache or default_cache())


@flow(name="calibrate")
def calibrate(
    registry: str,
    results: str,
    licences: list[str],
    revision: str = "main",
    checkpoint: str = "checkpoint",
    training_set: str = "train",
    held_out: str = "held_out",
    settings: GivenSettings | None = None,
    device: str = "auto",
    cache: Path | None = None,
) -> Calibrated:
    """Make the calibration that audits with these inputs and settings look for, unless it is there; all are as `audit` takes them.

    Raises InputError for anything that cannot be used.
    """
    from mucs.attribution import Calibration

    narrate()
    cache, settings = cache or default_cache(), settings or Settings()
    check_calibrate(registry, results, revision, held_out, device, cache)

    inputs = pull_inputs(registry, revision, checkpoint, training_set, held_out, licences, cache)
    assert inputs.held_out is not None
    log.info("validate  %d gates passed", len(inputs.validations))

    place = find_calibration(inputs.checkpoint, inputs.training, inputs.held_out, settings, device, cache, results)
    made = place is None
    if place is None:
        place = make_calibration(inputs.checkpoint, inputs.training, inputs.held_out, settings, device, cache)
        log.info("publish   %s", publish_calibration(place, results))
    found = Calibration.read(place)
    return Calibrated(found.address, len(found.decoys), found.entries, made)
