"""Audit: pull, validate, attribute, publish, load and report, as one Prefect flow."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.checks import check_inputs
from flows.inputs import pull_inputs
from flows.narrate import narrate
from mucs import InputError
from mucs.canonical import digest
from mucs.files import check_writable
from mucs.ledger import Ledger
from mucs.ledger.signing import read_private_key
from tasks.attribute import Settings, attribute
from tasks.calibrate import find_calibration
from tasks.load import load
from tasks.prepare import opened
from tasks.publish import check_retention, publish, stage_edges, stage_run
from tasks.pull import Pulled, default_cache, pull
from tasks.registry import recorded
from tasks.report import page_path, report
from tasks.s3 import split_url
from tasks.validate import validate_edges, validate_generated

log = logging.getLogger("mucs.audit")


@dataclass(frozen=True)
class Audit:
    """What an audit came to.

    run: the run's SHA-256, None if there was nothing to do. attributed: how many generated items it attributed.
    held: how many the ledger held already. report: the page of the run.
    """

    run: str | None
    attributed: int
    held: int
    report: Path | None


def check_audit(
    registry: str,
    results: str,
    revision: str = "main",
    ledger: Path = Path("mucs.duckdb"),
    reports: Path = Path("reports"),
    settings: Settings = Settings(),
    device: str = "auto",
    cache: Path | None = None,
    key: Path | None = None,
    retention_days: int | None = None,
    **_: Any,
) -> None:
    """InputError for what can be seen to be wrong with an audit before it begins; all are as `audit` takes them."""
    if not ledger.parent.is_dir():
        raise InputError(f"The folder {ledger.parent} of the ledger does not exist; make it, or give another --ledger.")
    check_writable(ledger.parent, "the ledger")
    check_writable(reports, "the reports")
    if key:
        read_private_key(key)
    if ledger.exists():
        Ledger.open(ledger).connection.close()
    check_inputs(registry, revision, results, settings, device, cache or default_cache())
    if retention_days is not None:
        check_retention(split_url(results)[0], retention_days)


@flow(name="audit")
def audit(
    registry: str,
    results: str,
    licences: list[str],
    revision: str = "main",
    checkpoint: str = "checkpoint",
    training_set: str = "train",
    held_out: str | None = "held_out",
    batch: str = "generated",
    ledger: Path = Path("mucs.duckdb"),
    reports: Path = Path("reports"),
    settings: Settings = Settings(),
    device: str = "auto",
    cache: Path | None = None,
    key: Path | None = None,
    retention_days: int | None = None,
) -> Audit:
    """Attribute the generated items that the ledger does not hold yet for this checkpoint, data, calibration and settings.

    registry: path or address of a Git repository whose DVC remote is on S3. revision: tag, branch or commit.
    checkpoint, training_set, held_out, batch: DVC-tracked folders in it; held_out may be None.
    results: `s3://bucket/prefix` for the evidence; a calibration is looked for there. licences: those that a training item may have.
    key: a private key to sign the run with. retention_days: for how long S3 keeps the evidence under object lock.
    Raises InputError for anything that cannot be used, with the ledger as it was.
    """
    narrate()
    cache = cache or default_cache()
    check_audit(registry, results, revision, ledger, reports, settings, device, cache, key, retention_days)

    generated = pull(registry, revision, batch, cache)
    inputs = pull_inputs(registry, revision, checkpoint, training_set, held_out, licences, cache)
    training, reserve = inputs.training, inputs.held_out
    validations = inputs.validations + validate_generated(generated, inputs.takes, cache)
    log.info("validate  %d gates passed", len(validations))

    calibration = None
    if reserve:
        calibration = find_calibration(inputs.checkpoint, training, reserve, settings, device, cache, results)
        if not calibration:
            log.info(
                "calibrate first: there is no calibration for these inputs and settings, and so no p-value against decoys;"
                " `mucs calibrate` makes it, and an audit after it adds them without unlearning anything again"
            )
    everything = opened(generated, "generated batch").to_rows()
    pulled = {"checkpoint": inputs.checkpoint, "training_set": training, "held_out": reserve, "batch": generated}
    holders, withdrawn = holding_runs(ledger, pulled, calibration, settings)
    rows = [row for row in everything if digest(row) not in holders]
    held = len(everything) - len(rows)
    for run_held in sorted({holders[digest(row)] for row in everything if digest(row) in holders}):
        if not page_path(reports, run_held).exists():  # lost, or never written because the audit was killed
            log.info(
                "report    %s", report(ledger, run_held, training, batch_of(ledger, run_held, registry, cache), reports)
            )
    if not rows:
        log.info("nothing to do: the ledger holds all %d items for these inputs and settings", held)
        return Audit(None, 0, held, None)
    if held:
        log.info("attribute %d items; the ledger holds the other %d already", len(rows), held)

    replaces = sorted({withdrawn[digest(row)] for row in rows if digest(row) in withdrawn})
    # what a withdrawn run rests on may be what was wrong with it: nothing that was kept is used again
    kept = cache / "again" / digest(replaces)[:16] if replaces else cache
    outcome = attribute(inputs.checkpoint, training, reserve, generated, rows, settings, device, kept, calibration)
    edges, attributions, expected = stage_edges(outcome, training, rows)
    decoys = outcome.calibration["decoys"] if outcome.calibration else None
    validations += validate_edges(edges, expected, bounded=settings.score == "skew", decoys=decoys)
    place = recorded(registry)
    run = stage_run(edges, attributions, outcome, settings, pulled, place, rows, validations, results, replaces)
    log.info("publish   %s", publish(run, outcome.bank, key, retention_days))
    load(ledger, run)
    log.info("load      %d edges of %d generated items", sum(expected.values()), len(rows))
    page = report(ledger, run.sha256, training, generated, reports)
    log.info("report    %s", page)
    return Audit(run.sha256, len(rows), held, page)


def holding_runs(
    ledger: Path, inputs: dict[str, Pulled | None], calibration: Path | None, settings: Settings
) -> tuple[dict[str, str], dict[str, str]]:
    """The run that attributed each generated row (both by SHA-256) with these inputs, calibration and settings.

    Those of runs that were withdrawn come second.
    """
    if not ledger.exists():
        return {}, {}
    asked = {
        name: given.digest if given else ""
        for name, given in inputs.items()
        if name in ("checkpoint", "training_set", "held_out")
    }
    sha256 = hashlib.sha256(calibration.read_bytes()).hexdigest() if calibration else ""
    with Ledger.open(ledger) as opened:
        found = opened.ask("covered", **asked, calibration=sha256, settings=digest(settings.record()))
    held, withdrawn = (
        {row["row_sha256"]: row["run"] for row in found if row["withdrawn"] is so} for so in (False, True)
    )
    return held, withdrawn


def batch_of(ledger: Path, run: str, registry: str, cache: Path) -> Pulled:
    """The generated batch that a run attributed, which may be another than the one that is audited now."""
    with Ledger.open(ledger) as opened:
        given = opened.run(run)["record"]["inputs"]["batch"]
    return pull(registry, given["commit"], given["path"], cache)
