"""Verification: recompute everything that the chain commits to, and name the first thing that does not hold."""

from __future__ import annotations

import json

from mucs.canonical import digest
from mucs.ledger import chain
from mucs.ledger.edges import edges_root
from mucs.ledger.ledger import Ledger


def first_fault(ledger: Ledger) -> str | None:
    """What is wrong with the first thing in the ledger that does not hold; None if all of it holds.

    Checks the chain, every item's row against its digest, and each run's record and edges against those that its
    entry commits to.
    """
    entries = ledger.entries()
    return chain.first_fault(entries) or _item_fault(ledger) or _run_fault(ledger, entries)


def _run_fault(ledger: Ledger, entries: list[chain.Entry]) -> str | None:
    committed = {body["run"]: body for body in (json.loads(e.entry)["body"] for e in entries if e.kind == "run")}
    runs = ledger.rows("SELECT run_id, sha256, record FROM runs ORDER BY run_id")
    for run in runs:
        sha256, record = run["sha256"], json.loads(run["record"])
        if sha256 not in committed or digest(record) != sha256 or committed[sha256]["record"] != record:
            return f"run {sha256[:12]} is not the one that its entry commits to"
        if edges_root(ledger.edges(run["run_id"])) != record["results"]["edges_root"]:
            return f"the edges of run {sha256[:12]} are not those that its entry commits to"
    missing = committed.keys() - {run["sha256"] for run in runs}
    return f"run {min(missing)[:12]} has an entry but no rows" if missing else None


def _item_fault(ledger: Ledger) -> str | None:
    said = {"training": ("id", "sha256", "rights_holder", "licence", "date"), "generated": ("id", "sha256")}
    for kind, names in said.items():
        for item in ledger.rows(f"SELECT * FROM {kind}_items ORDER BY {kind}_id"):
            row = json.loads(item["manifest_row"])
            as_loaded = {name: row[name][:10] if name == "date" else row[name] for name in names}
            if digest(row) != item["row_sha256"] or as_loaded != {name: str(item[name]) for name in names}:
                return f"the {kind} item {item['id']} is not the one that was registered"
    return None
