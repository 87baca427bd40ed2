"""Audit: pull, validate, attribute, publish, load and report, as one Prefect flow."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows import lineage
from flows.engine import Engine
from flows.inputs import Job
from flows.settings import GivenSettings
from flows.units import NoneAttributed, measure_losses, raise_bad_input, reason, run_units
from mucs.canonical import digest
from mucs.evidence.record import Failed
from mucs.evidence.signing import read_private_key
from mucs.files import check_writable, file_sha256
from mucs.images.rows import rows_and_holders
from mucs.ledger import Run
from mucs.ledger.lake import Lake
from tasks.attribute import Unit, attribute, units
from tasks.bucket import check_retention
from tasks.calibrate import find_calibration
from tasks.collect import Outcome, collect
from tasks.indexes import find_index
from tasks.ledgers import reading, writing
from tasks.load import load, sync
from tasks.narrate import narrate
from tasks.plan import Plan
from tasks.publish import publish
from tasks.pull import pull
from tasks.registry import recorded
from tasks.report import page_path, report
from tasks.shrink import shrink
from tasks.stage_edges import stage_edges
from tasks.stage_run import stage_run
from tasks.unit import different
from tasks.validate import Validation, validate_generated
from tasks.validate_edges import validate_edges

log_of_audit = logging.getLogger("mucs.audit")


@dataclass(frozen=True)
class Audit:
    """What an audit came to.

    Attributes:
        run: The run's SHA-256, None if there was nothing to do.
        attributed: How many generated items it attributed.
        held: How many the ledger held already.
        report: The page of the run.
        failed: How many items could not be attributed.
    """

    run: str | None
    attributed: int
    held: int
    report: Path | None
    failed: int = 0


def check_audit(
    job: Job, ledger: str, reports: Path, key: Path | None = None, retention_days: int | None = None
) -> None:
    """InputError for what can be seen to be wrong with an audit before it begins; all are as `audit` takes them."""
    check_writable(reports, "the reports")
    if key:
        read_private_key(key)
    job.check()
    if retention_days is not None:
        check_retention(job.log, retention_days)
    writing(ledger, job.log).connection.close()  # the last, as a missing one is made


@flow(
    name="audit",
    flow_run_name="{batch} at {revision}",
    on_running=[lineage.started],
    on_completion=[lineage.completed],
    on_failure=[lineage.failed],
    on_crashed=[lineage.failed],
)
def audit(
    registry: str,
    log: str,
    licences: list[str],
    revision: str = "main",
    checkpoint: str = "checkpoint",
    training_set: str = "train",
    held_out: str | None = "held_out",
    batch: str = "generated",
    ledger: str = "mucs.ledger",
    reports: Path = Path("reports"),
    settings: GivenSettings | None = None,
    device: str = "auto",
    cache: Path | None = None,
    key: Path | None = None,
    retention_days: int | None = None,
    engine: Engine = Engine(),
    work: str | None = None,
    again_if_older: bool = False,
) -> Audit:
    """Attribute the generated items that the ledger does not hold yet for this checkpoint, data, calibration and settings.

    Args:
        registry: Path or address of a Git repository whose DVC remote is on S3.
        log: The log that the evidence goes to, a folder or `s3://bucket/prefix`; a calibration is looked for there.
        licences: Those that a training item may have.
        revision: Tag, branch or commit of the registry.
        checkpoint: The checkpoint's DVC-tracked folder in it.
        training_set: The training set's.
        held_out: The held-out set's; None without one.
        batch: The generated batch's; or `object:<SHA-256>`, one that was sent and lies in the log.
        ledger: The ledger, which is brought up to the log first.
        reports: The folder for the run's page.
        settings: The method's; the paper's without.
        device: "cpu", "cuda" or "auto".
        cache: The folder for what is pulled; the user's cache folder without.
        key: A private key to sign the run with.
        retention_days: For how long S3 keeps the evidence under object lock.
        engine: Where items are attributed: threads of this machine, processes, or a Ray cluster.
        work: The work store, a folder or `s3://bucket/prefix`; without, one in the cache, or beside the log for a fleet.
        again_if_older: Attribute again what runs of another version of the method attributed.

    Returns:
        What it came to. An item that fails after all tries is named in the run's record, and left to the next audit.

    Raises:
        InputError: For anything that cannot be used, with the log as it was.
        NoneAttributed: If no item could be.
    """
    narrate()
    job = Job.given(locals())
    check_audit(job, ledger, reports, key, retention_days)

    if sync(ledger, log):
        log_of_audit.info("sync      the ledger is up to the log %s", log)
    generated = pull(registry, revision, batch, job.cache, log)
    inputs = job.pull()
    gated = validate_generated(generated, inputs.spec, job.cache, return_state=True)
    validations = inputs.validations + gated.result()
    log_of_audit.info("validate  %d gates passed", len(validations))
    plan = job.plan(inputs.checkpoint, inputs.training, inputs.held_out, generated)
    images = plan.images("batch")

    calibration = find_calibration(plan, log) if inputs.held_out else None
    if inputs.held_out and not calibration:
        log_of_audit.info(
            "calibrate first: there is no calibration for these inputs and settings, and so no p-value against decoys;"
            " `mucs calibrate` makes it, and an audit after it adds them without unlearning anything again"
        )
    if job.settings.screening and job.settings.screening.candidates:
        job.settings.screening.check(len(plan.images("training")))
        plan = dataclasses.replace(plan, index=find_index(plan, ledger))
    rows, replaces = missing_rows(job, plan, calibration, ledger, reports, again_if_older)
    held = len(images) - len(rows)
    if not rows:
        log_of_audit.info("nothing to do: the ledger holds all %d items for these inputs and settings", held)
        return Audit(None, 0, held, None)
    if held:
        log_of_audit.info("attribute %d items; the ledger holds the other %d already", len(rows), held)

    plan = dataclasses.replace(plan, replaces=tuple(replaces))
    asked = units(plan, rows)
    failed = attribute_all(job, plan, asked)
    done = [k for k in rows if k not in failed]
    given_up = [Failed(images.row(k), why) for k, why in failed.items()]
    if not done:
        raise NoneAttributed(f"None of {len(rows)} items could be attributed: {given_up[0].reason}.")

    answered = [unit for unit in asked if unit.is_control or unit.row not in failed]
    outcome = collect(plan, answered, calibration)
    run = stage(job, outcome, given_up, validations)
    run = dataclasses.replace(run, thumbnails=shrink(plan, done, ledger))
    said = publish(run, ledger, log, key, retention_days)
    log_of_audit.info("publish   run %s to %s", run.sha256[:16], log)
    load(ledger, log, said)
    log_of_audit.info("load      %d edges of %d generated items", run.record["results"]["edges"], len(done))
    page = report(ledger, log, run.sha256, reports)
    log_of_audit.info("report    %s", page)
    return Audit(run.sha256, len(done), held, page, len(given_up))


def missing_rows(
    job: Job, plan: Plan, calibration: Path | None, ledger: str, reports: Path, again_if_older: bool = False
) -> tuple[list[int], list[str]]:
    """The rows of the batch that the ledger lacks for these inputs, and the withdrawn runs that had attributed some of them.

    Runs that hold the others get their pages where these are lost, or never were written because an audit was killed.
    """
    holding, withdrawn = holding_runs(ledger, plan, calibration, again_if_older)
    row_sha256 = plan.images("batch").row_sha256.to_pylist()
    for run in sorted({holding[row] for row in row_sha256 if row in holding}):
        if not page_path(reports, run).exists():
            log_of_audit.info("report    %s", report(ledger, job.log, run, reports))
    rows = [k for k, row in enumerate(row_sha256) if row not in holding]
    return rows, sorted({withdrawn[row_sha256[k]] for k in rows if row_sha256[k] in withdrawn})


def holding_runs(
    ledger: str, plan: Plan, calibration: Path | None, again_if_older: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """The run that attributed each generated row (both by SHA-256) with a plan's inputs and settings, and a calibration.

    Those of runs that were withdrawn come second. With `again_if_older`, runs of another version of the method count as none.
    """
    if not Lake.at(ledger).exists():
        return {}, {}
    inputs = {"checkpoint": plan.checkpoint, "training_set": plan.training, "held_out": plan.held_out}
    asked = {name: given.digest if given else "" for name, given in inputs.items()}
    sha256 = file_sha256(calibration) if calibration else ""
    asked |= {"calibration": sha256, "settings": digest(plan.settings.record())}
    with reading(ledger) as opened:
        found = opened.ask("covered", **asked, items=" ".join(plan.images("batch").row_sha256.to_pylist()))
    if again_if_older:
        found = [row for row in found if row["method_sha256"] == plan.method_sha256]
    held, withdrawn = (
        {row["row_sha256"]: row["run"] for row in found if row["withdrawn"] is so} for so in (False, True)
    )
    return held, withdrawn


def attribute_all(job: Job, plan: Plan, asked: Sequence[Unit]) -> dict[int, str]:
    """Attribute items side by side; gives why, by row, of those that failed after all tries.

    Raises:
        InputError: If what is wrong is wrong with all of them.
    """
    with job.engine.runner(job.device) as runner:
        measure_losses(job, plan, runner)
        once = different(asked)
        failed = run_units(runner, attribute, job.for_workers(plan), once, "attribute", lambda unit: unit.name)
    if len(failed) == len(once):
        raise_bad_input(failed)
    reasons = {unit.address: reason(error) for unit, error in failed.items()}
    return {unit.row: reasons[unit.address] for unit in asked if unit.address in reasons and not unit.is_control}


def stage(job: Job, outcome: Outcome, failed: Sequence[Failed], validations: list[Validation]) -> Run:
    """Stage a run's edges and record, and gate them."""
    rows = rows_and_holders(outcome.plan.images("training").rows)
    edges, unseen, attributions, nondeterministic = stage_edges(outcome, rows)
    decoys = outcome.calibration["decoys"] if outcome.calibration else None
    bounded = job.settings.scoring.score == "skew"
    validations = validations + validate_edges(edges, attributions, bounded=bounded, decoys=decoys)
    made = (edges, unseen, attributions, nondeterministic, outcome, rows)
    return stage_run(*made, recorded(job.registry), validations, failed)
