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
from mucs.ledger import Ledger, Run
from mucs.report import audit_page
from tasks.attribute import Manifest, manifest
from tasks.pull import Pulled

TOP = 5  # training images shown beside each generated one
COUNTED = 10  # edges of each generated image that count for the shares


def pictures(pulled: Pulled, rows: Manifest) -> dict[str, str]:
    """`data:` addresses of a folder's images, by SHA-256."""
    found = {}
    for row in rows:
        data = (pulled.folder / row["file_name"]).read_bytes()
        kind = {b"\x89P": "png", b"\xff\xd8": "jpeg", b"RI": "webp"}[data[:2]]
        found[row["sha256"]] = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return found


@task(cache_policy=NO_CACHE)
def report(ledger: Path, run: Run, training: Pulled, batch: Pulled, folder: Path) -> Path:
    """Write `<run>.html` into a folder, and a table and a link as Prefect artifacts; gives the page's path."""
    titles = {row["sha256"]: row.get("annotation") or row["id"] for row in run.training}
    shown = pictures(training, manifest(training, "training set")) | pictures(batch, manifest(batch, "generated batch"))
    outcome = {a["row_sha256"]: a for a in run.attributions}
    with Ledger.open(ledger) as opened:
        shares = opened.ask("shares", run=run.sha256, top=COUNTED)
        edges = opened.ask("edges", run=run.sha256, top=TOP)
    items: list[dict[str, Any]] = []
    for row in run.generated:
        mine = [edge for edge in edges if edge["generated"] == row["id"] and edge["generated_sha256"] == row["sha256"]]
        best = [
            {**edge, "picture": shown[edge["training_sha256"]], "title": titles[edge["training_sha256"]]}
            for edge in mine
        ]
        items.append({"row": row, "picture": shown[row["sha256"]], "edges": best, **outcome[digest(row)]})
    page = audit_page(run=run, items=items, shares=shares, counted=COUNTED)
    path = folder / f"{run.sha256[:16]}.html"
    with replacing(path) as partial:
        partial.write_text(page)
    table = [
        {"rights holder": s["rights_holder"], "share": f"{s['share']:.1%}", "generated items": s["generated_items"]}
        for s in shares
    ]
    create_table_artifact(table, key="audit-shares", description=f"Share by rights holder, run {run.sha256}")
    create_link_artifact(path.resolve().as_uri(), link_text=f"Report of run {run.sha256[:16]}", key="audit-report")
    return path
