"""Calibrate: score the training items for images that they have nothing to do with, for all audits of a model to share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from mucs import InputError
from tasks.attribute import Settings
from tasks.calibrate import calibrate as make_calibration
from tasks.calibrate import find_calibration, publish_calibration
from tasks.pull import default_cache, pull
from tasks.s3 import client, plain_errors, split_url
from tasks.validate import validate_checkpoint, validate_training

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


@flow(name="calibrate")
def calibrate(
    registry: str,
    results: str,
    licences: list[str],
    revision: str = "main",
    checkpoint: str = "checkpoint",
    training_set: str = "train",
    held_out: str = "held_out",
    settings: Settings = Settings(),
    device: str = "auto",
    cache: Path | None = None,
) -> Calibrated:
    """Make the calibration that audits with these inputs and settings look for, unless it is there; all are as `audit` takes them.

    Raises InputError for anything that cannot be used.
    """
    from mucs.attribution import Calibration

    cache = cache or default_cache()
    bucket, _ = split_url(results)
    settings.check()
    if not held_out:
        raise InputError("A calibration is made of held-out images; give the folder of a held-out set.")
    with plain_errors(f"the bucket of {results}"):
        client().head_bucket(Bucket=bucket)

    pulled_checkpoint = pull(registry, revision, checkpoint, cache)
    training = pull(registry, revision, training_set, cache)
    reserve = pull(registry, revision, held_out, cache)
    validations, takes = validate_checkpoint(pulled_checkpoint)
    validations += validate_training(training, "training set", takes, licences)
    validations += validate_training(reserve, "held-out set", takes, licences)
    log.info("validate  %d gates passed", len(validations))

    place = find_calibration(pulled_checkpoint, training, reserve, settings, device, cache, results)
    made = place is None
    if place is None:
        place = make_calibration(pulled_checkpoint, training, reserve, settings, device, cache)
        log.info("publish   %s", publish_calibration(place, results))
    found = Calibration.read(place)
    return Calibrated(found.address, len(found.decoys), found.entries, made)
