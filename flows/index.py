"""Index: make what tells at once, from all scores that were measured, which training items are likely behind a picture."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from prefect import flow

from flows.engine import Engine
from flows.inputs import Job
from flows.settings import GivenSettings
from flows.units import run_units
from tasks.calibrate import find_calibration
from tasks.embed import embed, parts, project, projection_name
from tasks.fit_index import Indexed, fit_index
from tasks.ledgers import writing
from tasks.load import sync
from tasks.narrate import narrate
from tasks.pull import pull
from tasks.validate import validate_generated

log_of_index = logging.getLogger("mucs.index")


def check_index(job: Job, ledger: str) -> None:
    """InputError for what can be seen to be wrong with an index before it is begun; all are as `audit` takes them."""
    job.check()
    writing(ledger, job.log).connection.close()


@flow(name="index", flow_run_name="{checkpoint} at {revision}")
def index(
    registry: str,
    log: str,
    licences: list[str],
    revision: str = "main",
    checkpoint: str = "checkpoint",
    training_set: str = "train",
    held_out: str | None = "held_out",
    batch: str | None = None,
    ledger: str = "mucs.ledger",
    settings: GivenSettings | None = None,
    device: str = "auto",
    cache: Path | None = None,
    engine: Engine = Engine(),
    work: str | None = None,
) -> Indexed:
    """Fit an index to the scores of decoys, and to those of a batch's generated items that were attributed without screening.

    It replaces the one that is used only if it tells pictures better which that one was not fitted to. All is as `audit` takes it, but
    that `batch` may be None, for decoys alone.

    Raises:
        InputError: For anything that cannot be used.
    """
    narrate()
    job = Job.given(locals())
    check_index(job, ledger)
    if sync(ledger, log):
        log_of_index.info("sync      the ledger is up to the log %s", log)
    generated = pull(registry, revision, batch, job.cache, log) if batch else None
    inputs = job.pull()
    validations = inputs.validations
    if generated:
        validations = validations + validate_generated(generated, inputs.spec, job.cache, return_state=True).result()
    log_of_index.info("validate  %d gates passed", len(validations))

    plan = job.plan(inputs.checkpoint, inputs.training, inputs.held_out, generated)
    calibration = find_calibration(plan, log) if held_out else None
    if not calibration:
        log_of_index.info(
            "calibrate first: there are no decoys' scores for these inputs and settings; `mucs calibrate` makes them"
        )
    with job.engine.runner(device) as runner:
        shared = job.for_workers(plan)
        failed: dict[Any, BaseException] = {}
        failed |= run_units(runner, project, shared, [projection_name(plan)], "embed", lambda _: "a sample")
        failed |= {} if failed else run_units(runner, embed, shared, parts(plan), "embed")
    for error in failed.values():
        raise error
    done = fit_index(plan, calibration, ledger, log)
    log_of_index.info("fit       to %d pictures, of %d training items", done.pictures, done.training)
    return done
