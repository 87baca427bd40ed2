"""Report: write a run's page, with its pictures in it."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from mucs.evidence.thumbnails import Thumbnails
from mucs.files import replacing
from mucs.report import COUNTED, audit_page
from tasks.ledgers import open_log, reading


def page_path(folder: Path, run: str) -> Path:
    """Where a run's page lies in a folder of reports."""
    return folder / f"{run[:16]}.html"


@task(task_run_name="report", cache_policy=NO_CACHE)
def report(ledger: str, log: str, sha256: str, folder: Path) -> Path:
    """Write the page of a loaded run, and a table and a link as Prefect artifacts; gives the page's path.

    Args:
        ledger: one that has the run.
        log: its log, which has the pictures.
        sha256: the run's.
        folder: where pages go.
    """
    path = page_path(folder, sha256)
    with reading(ledger) as held, replacing(path) as part, part.open("w") as f:
        shares = held.ask("shares", run=sha256, top=COUNTED)
        f.writelines(audit_page(held, Thumbnails(open_log(log)), sha256, shares, COUNTED))
    table = [
        {"rights holder": s["rights_holder"], "share": f"{s['share']:.1%}", "generated items": s["generated_items"]}
        for s in shares
    ]
    create_table_artifact(table, key="audit-shares", description=f"Share by rights holder, run {sha256}")
    create_link_artifact(path.resolve().as_uri(), link_text=f"Report of run {sha256[:16]}", key="audit-report")
    return path
