"""Verify: the inputs that runs took, and what they published before there was a log, against the log."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mucs.evidence.layout import old_files
from mucs.evidence.log import Log
from mucs.evidence.verify import record_of
from mucs.text import as_clause
from tasks import s3
from tasks.pull import Altered, pull

log_of_verify = logging.getLogger("mucs.verify")


def input_fault(log: Log, registry: str | None = None) -> str | None:
    """The first input of a run, or file of one of before there was a log, which is gone or has other bytes; None if all are right.

    Args:
        log: One that holds by itself.
        registry: Where the inputs of all runs are now, if not where their records say.

    Raises:
        InputError: If S3 does not answer or refuses, or a registry cannot be opened.
    """
    pulled: set[tuple[str, ...]] = set()
    for entry in log.after():
        if entry.kind == "run":
            record = record_of(log, entry)
            log_of_verify.info("verify    the inputs of run %s", entry.body["run"][:16])
            fault = _file_fault(entry.body, record) or _pull_fault(log, record, registry, pulled)
            if fault:
                return fault
    return None


def _file_fault(body: Mapping[str, Any], record: Mapping[str, Any]) -> str | None:
    for url, expected in old_files(body, record):
        found = s3.sha256(*s3.split_url(url))
        if found is None:
            return f"{url} is gone"
        if found != expected:
            return f"{url} was altered: its SHA-256 is {found[:12]}, the log has {expected[:12]}"
    return None


def _pull_fault(log: Log, record: Mapping[str, Any], registry: str | None, pulled: set[tuple[str, ...]]) -> str | None:
    """Pulls what no run before it had as input into a folder that does not stay."""
    registry = registry or str(record["registry"])
    for kind, given in record["inputs"].items():
        if given is None or (registry, *given.values()) in pulled:
            continue
        where = f" of {registry} at {given['commit'][:12]}" if given["commit"] else ""
        what = f"the {kind.replace('_', ' ')} {given['path']}{where}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = pull.fn(registry, given["commit"], given["path"], Path(folder), log.place).digest
            except Altered as error:
                return f"{what} is not whole: {as_clause(error)}"
        if found != given["sha256"]:
            return f"{what} is not what the run used: its SHA-256 is {found[:12]}, the log has {given['sha256'][:12]}"
        pulled.add((registry, *given.values()))
    return None
