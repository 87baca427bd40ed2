"""Calibrate: score the training items for images that they have nothing to do with, for all audits of a model to share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.engine import Engine
from flows.inputs import Job
from flows.settings import GivenSettings
from flows.units import measure_losses, run_units
from mucs import InputError
from tasks.calibrate import assemble_calibration, decoys, find_calibration, publish_calibration, score_decoy
from tasks.narrate import narrate
from tasks.unit import different

log_of_calibrate = logging.getLogger("mucs.calibrate")


@dataclass(frozen=True)
class Calibrated:
    """What a calibration came to.

    Attributes:
        address: What it is kept under.
        decoys, noises: How many it is made of.
        made: False if it was there already.
    """

    address: str
    decoys: int
    noises: int
    made: bool


def check_calibrate(job: Job) -> None:
    """InputError for what can be seen to be wrong with a calibration before it begins; all are as `calibrate` takes them."""
    if not job.held_out:
        raise InputError("A calibration is made of held-out images; give the folder of a held-out set.")
    job.check()


@flow(name="calibrate", flow_run_name="{checkpoint} at {revision}")
def calibrate(
    registry: str,
    log: str,
    licences: list[str],
    revision: str = "main",
    checkpoint: str = "checkpoint",
    training_set: str = "train",
    held_out: str = "held_out",
    settings: GivenSettings | None = None,
    device: str = "auto",
    cache: Path | None = None,
    engine: Engine = Engine(),
    work: str | None = None,
) -> Calibrated:
    """Make the calibration that audits with these inputs and settings look for, unless it is there; all are as `audit` takes them.

    Raises:
        InputError: For anything that cannot be used.
    """
    from mucs.attribution import Calibration

    narrate()
    job = Job.given(locals())
    check_calibrate(job)
    inputs = job.pull()
    log_of_calibrate.info("validate  %d gates passed", len(inputs.validations))

    plan = job.plan(inputs.checkpoint, inputs.training, inputs.held_out, None)
    place = find_calibration(plan, log)
    made = place is None
    if place is None:
        chosen = decoys(plan)
        with job.engine.runner(device) as runner:
            measure_losses(job, plan, runner)
            failed = run_units(
                *(runner, score_decoy, job.for_workers(plan), different(chosen), "calibrate"),
                lambda unit: f"decoy {unit.name}",
            )
        for error in failed.values():
            raise error
        place = assemble_calibration(plan, chosen)
        log_of_calibrate.info("publish   %s", publish_calibration(place, log))
    found = Calibration.read(place)
    return Calibrated(found.address, len(found.decoys), found.entries, made)
