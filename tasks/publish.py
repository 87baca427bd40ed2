"""Publish: write a run's evidence to S3 under the run's digest, never over something else."""

from __future__ import annotations

import base64
import datetime
import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.evidence import EDGE_SCHEMA, edges_root, write_edges
from mucs.evidence.signing import run_statement, sign
from mucs.ledger import Run
from tasks.attribute import Outcome
from tasks.prepare import opened
from tasks.pull import Pulled
from tasks.s3 import client, plain_errors, split_url
from tasks.validate import Validation, to_json

if TYPE_CHECKING:
    from mucs.attribution import Attribution, Settings

RECORD, ENVELOPE = "run.json", "run.dsse.json"


def artifact(kind: str, pulled: Pulled) -> dict[str, Any]:
    return {"kind": kind, "sha256": pulled.digest, "files": pulled.files, "bytes": pulled.bytes}


def file_artifact(kind: str, path: Path) -> dict[str, Any]:
    return {
        "kind": kind,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "files": 1,
        "bytes": path.stat().st_size,
    }


@task(cache_policy=NO_CACHE)
def stage_edges(
    outcome: Outcome, training: Pulled, rows: Sequence[dict[str, str]]
) -> tuple[Path, list[dict[str, Any]], dict[str, int]]:
    """Write the run's edge file; also gives each item's outcome, and how many edges it must have, by its row's SHA-256."""
    images = opened(training, "training set")
    row_digests, ids, digests = images.row_sha256.to_pylist(), images.column("id"), images.column("sha256")
    columns: dict[str, list[object]] = {name: [] for name in EDGE_SCHEMA.names}
    attributions, expected = [], {}
    for row, found in zip(rows, outcome.attributions(), strict=True):
        generated = digest(row)
        numbers = zip(
            found.scores.tolist(),
            found.standard_errors.tolist(),
            found.seed_spread.tolist(),
            found.p_values.tolist(),
            found.decoy_p_values.tolist(),
            found.decoy_z.tolist(),
            strict=True,
        )
        for rank, (i, values) in enumerate(zip(found.items.tolist(), numbers, strict=True), start=1):
            edge = (generated, row["id"], row["sha256"], row_digests[i], ids[i], digests[i], rank, *values)
            for name, value in zip(EDGE_SCHEMA.names, edge, strict=True):
                columns[name].append(value)
        expected[generated] = len(found.items)
        attributions.append({"row_sha256": generated, **outcome_record(found), "candidates": len(images)})
    name = digest([outcome.calibration, [path.name for path in outcome.items]])[:16]
    place = outcome.bank.parent / f"edges-{name}.parquet"
    write_edges(columns, place)
    return place, attributions, expected


def outcome_record(found: Attribution) -> dict[str, Any]:
    """What a run says of a generated item, besides its edges; null for what was not measured."""
    auc, low, high = found.seen_auc or (None, None, None)
    return {
        "converged": found.converged,
        "steps": found.steps,
        "null_loss": found.null_loss,
        "forget_loss": found.forget_loss,
        "retain_loss": found.retain_loss,
        "probe_before": found.probe_before,
        "probe_after": found.probe_after,
        "survivors": len(found.items),
        "seen_auc": auc,
        "seen_auc_low": low,
        "seen_auc_high": high,
        "held_out_ks": None if found.held_out_ks is None or math.isnan(found.held_out_ks) else found.held_out_ks,
        "discoveries": found.discoveries,
        "decoy_discoveries": found.decoy_discoveries,
        "recall": found.recall,
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def recall_record(attributions: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The mean recall of screening, by K, and on how many generated items it was measured; None if on none."""
    measured = [a["recall"] for a in attributions if a["recall"] is not None]
    return (
        {"items": len(measured), "mean": {k: mean(r[k] for r in measured) for k in measured[0]}} if measured else None
    )


@task(cache_policy=NO_CACHE)
def stage_run(
    edges: Path,
    attributions: Sequence[dict[str, Any]],
    outcome: Outcome,
    settings: Settings,
    inputs: dict[str, Pulled | None],
    registry: str,
    rows: Sequence[dict[str, str]],
    validations: Sequence[Validation],
    results: str,
    replaces: Sequence[str] = (),
) -> Run:
    """The run record, and with it everything that the ledger loads.

    inputs: checkpoint, training_set, held_out and batch. results: the `s3://bucket/prefix` that evidence goes to. replaces:
    withdrawn runs whose items it attributes again, so that it is another run although all else may be the same.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(edges)
    pulled = {kind: p for kind, p in inputs.items() if p is not None}
    record = {
        "method": "MUCS (arXiv 2605.17938)",
        "code": outcome.code,
        "device": outcome.device,
        "nondeterministic": outcome.nondeterministic,
        "trained": outcome.trained,
        "registry": registry,
        "inputs": {
            kind: {"path": p.path, "commit": p.commit, "sha256": p.digest} if p else None for kind, p in inputs.items()
        },
        "calibration": outcome.calibration,
        "generated": [{"id": row["id"], "sha256": row["sha256"]} for row in rows],
        "settings": settings.record(),
        "noise_bank": outcome.bank_sha256,
        "results": {
            "edges_sha256": hashlib.sha256(edges.read_bytes()).hexdigest(),
            "edges_root": edges_root(table),
            "edges": table.num_rows,
            "attributions": list(attributions),
            "recall": recall_record(attributions),
            "controls": outcome.controls
            and {**outcome.controls, "held_out_ks": mean(a["held_out_ks"] for a in attributions)},
        },
        "validations": [{"suite": v["suite"], "success": v["success"], "sha256": digest(v)} for v in validations],
    }
    if replaces:
        record["replaces"] = list(replaces)
    run = digest(record)
    return Run(
        record=record,
        artifacts=[
            *(artifact(kind, p) for kind, p in pulled.items()),
            *([file_artifact("calibration", outcome.calibration_file)] if outcome.calibration_file else []),
            file_artifact("noise_bank", outcome.bank),
            file_artifact("edges", edges),
        ],
        training=opened(pulled["training_set"], "training set").to_rows(),
        generated=rows,
        attributions=attributions,
        edges=edges,
        validations=validations,
        location=f"{results.rstrip('/')}/{run}",
    )


@task(cache_policy=NO_CACHE)
def publish(run: Run, bank: Path, key: Path | None = None, retention_days: int | None = None) -> str:
    """Put the run's files at its location, each with its SHA-256 checked by S3; what is there already must be the same bytes.

    key: a private key to sign the run with, as run.dsse.json. retention_days: for how long S3 is to keep the files from
    being deleted or replaced, by anyone. Neither changes the run, its digest or its files.
    Raises InputError if S3 does not answer or refuses, or holds other bytes under one of the names.
    """
    files = {
        RECORD: canonical(run.record),
        "noise_bank.safetensors": bank.read_bytes(),
        "edges.parquet": run.edges.read_bytes(),
        "validations.json": to_json(run.validations),
    }
    if key:
        digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
        files[ENVELOPE] = canonical(sign(run_statement(run.record, digests), key))
    bucket, prefix = split_url(run.location)
    until = until_days(retention_days) if retention_days else None
    for name, body in files.items():
        put_once(bucket, f"{prefix}/{name}", body, until)
    return run.location


def until_days(days: int) -> datetime.datetime:
    """That many days from now."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def put_once(bucket: str, key: str, body: bytes, until: datetime.datetime | None = None) -> None:
    """A conditional put, locked until a time if one is given; InputError if other bytes are there already."""
    from botocore.exceptions import ClientError

    s3 = client()
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    # compliance rather than governance: whoever pays for the bucket must not be able to remove evidence against themselves
    lock: dict[str, Any] = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until} if until else {}
    with plain_errors(f"writing s3://{bucket}/{key}"):
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ChecksumSHA256=checksum, IfNoneMatch="*", **lock)
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            if s3.get_object(Bucket=bucket, Key=key)["Body"].read() != body:
                raise InputError(
                    f"s3://{bucket}/{key} holds other bytes; find out who wrote them, and publish elsewhere."
                ) from None
            if until:
                lock_longer(bucket, key, until)


def lock_longer(bucket: str, key: str, until: datetime.datetime) -> None:
    """Have S3 keep an object that is there until a time, unless it does so for longer already."""
    from botocore.exceptions import ClientError

    s3 = client()
    try:
        kept = s3.get_object_retention(Bucket=bucket, Key=key)["Retention"].get("RetainUntilDate")
    except ClientError as error:
        # the second is what SeaweedFS says of an object that was never locked
        never = ("NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError")
        if error.response["Error"]["Code"] not in never:
            raise
        kept = None
    if kept is None or kept < until:
        s3.put_object_retention(
            Bucket=bucket,
            Key=key,
            Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
            ChecksumAlgorithm="SHA256",
        )


def check_retention(bucket: str, days: int) -> None:
    """InputError unless objects of the bucket can be locked for that many days."""
    if days < 1:
        raise InputError(f"The retention is {days} days; give at least 1, or leave it out.")
    from botocore.exceptions import ClientError

    with plain_errors(f"the object lock of s3://{bucket}"):
        try:
            found = client().get_object_lock_configuration(Bucket=bucket).get("ObjectLockConfiguration", {})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
            found = {}
    if found.get("ObjectLockEnabled") != "Enabled":
        raise InputError(
            f"The bucket {bucket} has no object lock, so nothing in it can be retained; publish to one that was made with"
            " object lock, or leave out the retention."
        )
