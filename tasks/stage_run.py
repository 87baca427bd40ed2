"""Stage a run: its record, and with it everything that the ledger loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.evidence.layout import run_url
from mucs.evidence.record import Failed, artifact, run_record
from mucs.evidence.rows import canonical_rows
from mucs.ledger import Run
from tasks.attribute import Outcome, Settings
from tasks.prepare import Manifest, manifest
from tasks.pull import Pulled
from tasks.validate import Validation


@task(cache_policy=NO_CACHE)
def stage_run(
    edges: Path,
    attributions: Sequence[Mapping[str, Any]],
    outcome: Outcome,
    settings: Settings,
    inputs: Mapping[str, Pulled | None],
    registry: str,
    rows: Manifest,
    validations: Sequence[Validation],
    results: str,
    replaces: Sequence[str] = (),
    failed: Sequence[Failed] = (),
) -> Run:
    """The run, with all that the ledger loads.

    Args:
        edges: the edge file, with `attributions` as `stage_edges` gives them.
        attributions: what the record says of each item.
        outcome: what was computed.
        settings: the method's.
        inputs: checkpoint, training_set, held_out and batch.
        registry: where the inputs come from.
        rows: manifest rows of the generated items that were attributed.
        validations: results of the gates.
        results: the `s3://bucket/prefix` that evidence goes to.
        replaces: withdrawn runs whose items it attributes again, so that it is another run although all else may be the same.
        failed: generated items that could not be attributed.
    """
    pulled = {kind: each for kind, each in inputs.items() if each is not None}
    record = run_record(
        code=outcome.code,
        trained=outcome.trained,
        nondeterministic=outcome.nondeterministic,
        registry=registry,
        inputs={kind: _named(each) if each else None for kind, each in inputs.items()},
        calibration=outcome.calibration,
        noise_bank=outcome.bank_sha256,
        settings=settings.record(),
        generated=rows,
        failed=failed,
        edges=edges,
        attributions=attributions,
        controls=outcome.controls,
        validations=validations,
        replaces=replaces,
    )
    files = {"calibration": outcome.calibration_file, "noise_bank": outcome.bank, "edges": edges}
    return Run(
        record=record,
        artifacts=[
            *(_artifact(kind, each) for kind, each in pulled.items()),
            *(artifact(kind, path) for kind, path in files.items() if path),
        ],
        training=canonical_rows(manifest(pulled["training_set"], "training set")),
        generated=canonical_rows(rows),
        edges=edges,
        validations=validations,
        location=run_url(results, digest(record)),
    )


def _named(pulled: Pulled) -> dict[str, str]:
    return {"path": pulled.path, "commit": pulled.commit, "sha256": pulled.digest}


def _artifact(kind: str, pulled: Pulled) -> dict[str, Any]:
    return {"kind": kind, "sha256": pulled.digest, "files": len(pulled.files), "bytes": pulled.bytes}
