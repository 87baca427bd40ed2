"""Stage a run: its record, and with it everything that the ledger loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.evidence.record import Failed, artifact, run_record
from mucs.ledger import Run
from tasks.collect import Outcome
from tasks.plan import code_version
from tasks.pull import Pulled
from tasks.validate import Validation


@task(task_run_name="stage run", cache_policy=NO_CACHE)
def stage_run(
    edges: Path,
    unseen: Path | None,
    attributions: Sequence[Mapping[str, Any]],
    nondeterministic: Sequence[str],
    outcome: Outcome,
    rows: pa.Table,
    registry: str,
    validations: Sequence[Validation],
    failed: Sequence[Failed] = (),
) -> Run:
    """The run, with all that the ledger loads.

    Args:
        edges: The edge file, with all up to `nondeterministic` as `stage_edges` gives it.
        unseen: The file of the unseen edges; None without held-out items.
        attributions: What the record says of each item.
        nondeterministic: Operations on their way that torch had no deterministic form of.
        outcome: What was computed.
        rows: The training items' rows, as `rows_and_holders` gives them.
        registry: Where the inputs come from.
        validations: Results of the gates.
        failed: Generated items that could not be attributed.
    """
    plan = outcome.plan
    inputs = {
        "checkpoint": plan.checkpoint,
        "training_set": plan.training,
        "held_out": plan.held_out,
        "batch": plan.batch,
    }
    record = run_record(
        code=code_version(),
        trained=outcome.trained,
        nondeterministic=nondeterministic,
        registry=registry,
        inputs={kind: _named(each) if each else None for kind, each in inputs.items()},
        calibration=outcome.calibration,
        index=plan.index,
        noise_bank=outcome.bank_sha256,
        settings=plan.settings.record(),
        generated=outcome.rows,
        failed=failed,
        edges=edges,
        unseen=unseen,
        attributions=attributions,
        controls=outcome.controls,
        validations=validations,
        replaces=plan.replaces,
    )
    files = {
        "calibration": outcome.calibration_file,
        "noise_bank": outcome.bank,
        "edges": edges,
        "unseen_edges": unseen,
    }
    return Run(
        record=record,
        artifacts=[
            *(_artifact(kind, each) for kind, each in inputs.items() if each),
            *(artifact(kind, path) for kind, path in files.items() if path),
        ],
        training=rows,
        generated=plan.images("batch").canonical_rows.take([unit.row for unit in outcome.units]),
        edges=edges,
        unseen=unseen,
        validations=validations,
        noise_bank=outcome.bank,
        calibration=outcome.calibration_file,
        batch=plan.batch.sent if plan.batch else None,
    )


def _named(pulled: Pulled) -> dict[str, str]:
    return {"path": pulled.path, "commit": pulled.commit, "sha256": pulled.digest}


def _artifact(kind: str, pulled: Pulled) -> dict[str, Any]:
    return {"kind": kind, "sha256": pulled.digest, "files": pulled.files, "bytes": pulled.bytes}
