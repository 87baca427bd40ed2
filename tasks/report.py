"""Report: write a run's page, with its pictures in it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.files import replacing
from mucs.images import ImageSet
from mucs.ledger import Ledger
from mucs.report import audit_page
from tasks.prepare import opened
from tasks.pull import Pulled

TOP = 5  # training images shown beside each generated one
COUNTED = 10  # edges of each generated image that count for the shares


def pictures(images: ImageSet, wanted: set[str]) -> dict[str, str]:
    """`data:` addresses of those of a set's images that are wanted, by SHA-256."""
    found = {}
    for k, sha256 in enumerate(images.column("sha256")):
        if sha256 not in wanted or sha256 in found:
            continue
        data = images.content(k)
        kind = {b"\x89P": "png", b"\xff\xd8": "jpeg", b"RI": "webp"}[data[:2]]
        found[sha256] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return found


def page_path(folder: Path, run: str) -> Path:
    """Where a run's page lies in a folder of reports."""
    return folder / f"{run[:16]}.html"


@task(cache_policy=NO_CACHE)
def report(ledger: Path, sha256: str, training: Pulled, batch: Pulled, folder: Path) -> Path:
    """Write the page of a loaded run into a folder, and a table and a link as Prefect artifacts; gives the page's path.

    training, batch: folders that hold the run's pictures.
    """
    trained, made = opened(training, "training set"), opened(batch, "generated batch")
    training_rows, batch_rows = trained.to_rows(), made.to_rows()
    titles = {row["sha256"]: row.get("annotation") or row["id"] for row in training_rows}
    with Ledger.open(ledger) as kept:
        run = kept.run(sha256)
        shares = kept.ask("shares", run=sha256, top=COUNTED)
        edges = kept.ask("edges", run=sha256, top=TOP)
        verdicts = kept.ask("verdicts", run=sha256)
    shown = pictures(trained, {edge["training_sha256"] for edge in edges})
    shown |= pictures(made, {row["sha256"] for row in run["record"]["generated"]})
    verdict_of = {row["row_sha256"]: row["verdict"] for row in verdicts}
    outcomes = {outcome["row_sha256"]: outcome for outcome in run["record"]["results"]["attributions"]}
    items: list[dict[str, Any]] = []
    for row in batch_rows:
        outcome = outcomes.get(digest(row))
        if outcome:
            mine = [edge for edge in edges if edge["generated_row_sha256"] == digest(row)]
            pictured = [
                {**edge, "picture": shown[edge["training_sha256"]], "title": titles[edge["training_sha256"]]}
                for edge in mine
            ]
            told = {"row": row, "picture": shown[row["sha256"]], "edges": pictured, "verdict": verdict_of[digest(row)]}
            items.append(told | outcome)
    path = page_path(folder, sha256)
    with replacing(path) as partial:
        partial.write_text(audit_page(run, training_rows, items, shares, COUNTED))
    table = [
        {"rights holder": s["rights_holder"], "share": f"{s['share']:.1%}", "generated items": s["generated_items"]}
        for s in shares
    ]
    create_table_artifact(table, key="audit-shares", description=f"Share by rights holder, run {sha256}")
    create_link_artifact(path.resolve().as_uri(), link_text=f"Report of run {sha256[:16]}", key="audit-report")
    return path
