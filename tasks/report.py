"""Report: write a run's page, with its pictures in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from mucs.evidence.reading import raw_digests
from mucs.files import replacing
from mucs.images import ImageSet
from mucs.images.thumbnail import thumbnail
from mucs.report import audit_page
from tasks.ledgers import reading
from tasks.prepare import opened
from tasks.pull import Pulled

COUNTED = 10  # edges of each generated image that count for the shares
REMEMBERED = 4096  # pictures, as the same training images stand behind many generated ones


def pictures(images: ImageSet) -> Callable[[Mapping[str, str]], str]:
    """What gives an image of a set as a page shows it, from its manifest row; nothing is read of the others."""
    sha256 = raw_digests(images.rows["sha256"].combine_chunks()).view("S32")
    order = sha256.argsort(kind="stable")

    @lru_cache(REMEMBERED)
    def shown(image: str) -> str:
        place = np.searchsorted(sha256, bytes.fromhex(image), sorter=order)
        return thumbnail(images.content(int(order[place])))

    return lambda row: shown(row["sha256"])


def page_path(folder: Path, run: str) -> Path:
    """Where a run's page lies in a folder of reports."""
    return folder / f"{run[:16]}.html"


@task(task_run_name="report", cache_policy=NO_CACHE)
def report(ledger: str | Path, sha256: str, training: Pulled, batch: Pulled, folder: Path) -> Path:
    """Write the page of a loaded run, and a table and a link as Prefect artifacts; gives the page's path.

    Args:
        ledger: one that has the run.
        sha256: the run's.
        training: the folder with the pictures of its training set.
        batch: the one with those of its generated items.
        folder: where pages go.
    """
    path = page_path(folder, sha256)
    shown = (pictures(opened(training, "training set")), pictures(opened(batch, "generated batch")))
    with reading(ledger) as held, replacing(path) as part, part.open("w") as f:
        shares = held.ask("shares", run=sha256, top=COUNTED)
        f.writelines(audit_page(held, sha256, shares, COUNTED, *shown))
    table = [
        {"rights holder": s["rights_holder"], "share": f"{s['share']:.1%}", "generated items": s["generated_items"]}
        for s in shares
    ]
    create_table_artifact(table, key="audit-shares", description=f"Share by rights holder, run {sha256}")
    create_link_artifact(path.resolve().as_uri(), link_text=f"Report of run {sha256[:16]}", key="audit-report")
    return path
