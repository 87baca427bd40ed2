"""Publish: write a run's evidence to S3 under the run's digest, never over something else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.ledger import EDGE_SCHEMA, Run, write_edges
from mucs.ledger.ledger import edge_rows_digest
from tasks.attribute import Manifest, Outcome, Settings, manifest, read_item
from tasks.pull import Pulled
from tasks.s3 import client, plain_errors, split_url
from tasks.validate import Validation, to_json


def artifact(kind: str, pulled: Pulled) -> dict[str, Any]:
    return {"kind": kind, "sha256": pulled.digest, "files": len(pulled.files), "bytes": pulled.bytes}


def file_artifact(kind: str, path: Path) -> dict[str, Any]:
    return {
        "kind": kind,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "files": 1,
        "bytes": path.stat().st_size,
    }


@task(cache_policy=NO_CACHE)
def stage_edges(
    outcome: Outcome, training: Pulled, rows: Manifest
) -> tuple[Path, list[dict[str, Any]], dict[str, int]]:
    """Write the run's edge file; also gives each item's outcome, and how many edges it must have, by its row's SHA-256."""
    training_rows = manifest(training, "training set")
    row_digests = [digest(row) for row in training_rows]
    columns: dict[str, list[object]] = {name: [] for name in EDGE_SCHEMA.names}
    attributions, expected = [], {}
    for row, path in zip(rows, outcome.items, strict=True):
        tensors, numbers = read_item(path)
        generated = digest(row)
        items = tensors["items"].tolist()
        for rank, (i, score, error, p) in enumerate(
            zip(
                items,
                tensors["scores"].tolist(),
                tensors["standard_errors"].tolist(),
                tensors["p_values"].tolist(),
                strict=True,
            ),
            start=1,
        ):
            edge = (
                generated,
                row["id"],
                row["sha256"],
                row_digests[i],
                training_rows[i]["id"],
                training_rows[i]["sha256"],
                rank,
                score,
                error,
                p,
            )
            for name, value in zip(EDGE_SCHEMA.names, edge, strict=True):
                columns[name].append(value)
        expected[generated] = len(items)
        attributions.append(
            {
                "row_sha256": generated,
                **{name: numbers[name] for name in ("converged", "steps", "null_loss", "forget_loss", "retain_loss")},
                "candidates": len(training_rows),
                "survivors": len(items),
            }
        )
    name = digest([path.name for path in outcome.items])[:16]
    place = outcome.bank.parent / f"edges-{name}.parquet"
    write_edges(columns, place)
    return place, attributions, expected


@task(cache_policy=NO_CACHE)
def stage_run(
    edges: Path,
    attributions: Sequence[dict[str, Any]],
    outcome: Outcome,
    settings: Settings,
    inputs: dict[str, Pulled | None],
    registry: str,
    rows: Manifest,
    validations: Sequence[Validation],
    results: str,
) -> Run:
    """The run record, and with it everything that the ledger loads.

    inputs: checkpoint, training_set, held_out and batch. results: the `s3://bucket/prefix` that evidence goes to.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(edges)
    compared = ["generated_row_sha256", "training_row_sha256", "rank", "score", "standard_error", "p_value"]
    edge_rows = sorted(
        zip(*(table[name].to_pylist() for name in compared), strict=True), key=lambda row: (row[0], row[2])
    )
    pulled = {kind: p for kind, p in inputs.items() if p is not None}
    record = {
        "method": "MUCS (arXiv 2605.17938)",
        "code": outcome.code,
        "device": outcome.device,
        "registry": registry,
        "inputs": {
            kind: {"path": p.path, "commit": p.commit, "sha256": p.digest} if p else None for kind, p in inputs.items()
        },
        "generated": [{"id": row["id"], "sha256": row["sha256"]} for row in rows],
        "settings": settings.record(),
        "noise_bank": outcome.bank_sha256,
        "results": {
            "edges_sha256": hashlib.sha256(edges.read_bytes()).hexdigest(),
            "edge_rows_sha256": edge_rows_digest(edge_rows),
            "edges": table.num_rows,
            "attributions": list(attributions),
        },
        "validations": [{"suite": v["suite"], "success": v["success"], "sha256": digest(v)} for v in validations],
    }
    run = digest(record)
    return Run(
        record=record,
        artifacts=[
            *(artifact(kind, p) for kind, p in pulled.items()),
            file_artifact("noise_bank", outcome.bank),
            file_artifact("edges", edges),
        ],
        training=manifest(pulled["training_set"], "training set"),
        generated=rows,
        attributions=attributions,
        edges=edges,
        validations=validations,
        location=f"{results.rstrip('/')}/{run}",
    )


@task(cache_policy=NO_CACHE)
def publish(run: Run, bank: Path) -> str:
    """Put the run's files at its location, each with its SHA-256 checked by S3; what is there already must be the same bytes.

    Raises InputError if S3 does not answer or refuses, or holds other bytes under one of the names.
    """
    files = {
        "run.json": canonical(run.record),
        "noise_bank.safetensors": bank.read_bytes(),
        "edges.parquet": run.edges.read_bytes(),
        "validations.json": to_json(run.validations),
    }
    bucket, prefix = split_url(run.location)
    for name, body in files.items():
        put_once(bucket, f"{prefix}/{name}", body)
    return run.location


def put_once(bucket: str, key: str, body: bytes) -> None:
    """A conditional put; InputError if other bytes are there already."""
    from botocore.exceptions import ClientError

    s3 = client()
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    with plain_errors(f"writing s3://{bucket}/{key}"):
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ChecksumSHA256=checksum, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            if s3.get_object(Bucket=bucket, Key=key)["Body"].read() != body:
                raise InputError(
                    f"s3://{bucket}/{key} holds other bytes than this run's; find out who wrote them, and publish elsewhere."
                ) from None
