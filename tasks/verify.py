"""Verify: what runs published on S3, and the inputs that their registries hold there, against the ledger."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from mucs.evidence.layout import ENVELOPE, RECORD, published_files
from mucs.evidence.signing import open_envelope, read_public_key
from mucs.ledger import Ledger
from mucs.parse import load_json
from tasks import s3
from tasks.pull import Altered, pull

log = logging.getLogger("mucs.verify")


def published_fault(ledger: Ledger, key: Path | None = None, registry: str | None = None) -> str | None:
    """The first file that a run published, or took as input, which is gone from S3 or has other bytes; None if all are right.

    Args:
        ledger: One that holds by itself.
        key: A public key that every run must be signed with.
        registry: Where the inputs of all runs are now, if not where their records say.

    Raises:
        InputError: If S3 does not answer or refuses, or a registry cannot be opened.
    """
    if key:
        read_public_key(key)
    pulled: set[tuple[str, ...]] = set()
    for row in ledger.rows("SELECT sha256 FROM runs ORDER BY run_id"):
        run = ledger.run(row["sha256"])
        log.info("verify    %s", run["location"])
        fault = _file_fault(run) or (_signature_fault(run, key) if key else None) or _input_fault(run, registry, pulled)
        if fault:
            return fault
    return None


def _file_fault(run: dict[str, Any]) -> str | None:
    for url, expected in published_files(run):
        found = s3.sha256(*s3.split_url(url))
        if found is None:
            return f"{url} is gone"
        if found != expected:
            return f"{url} was altered: its SHA-256 is {found[:12]}, the ledger has {expected[:12]}"
    return None


def _signature_fault(run: dict[str, Any], key: Path) -> str | None:
    url = f"{run['location']}/{ENVELOPE}"
    body = s3.get(*s3.split_url(url))
    if body is None:
        return f"{url} is gone, or the run was never signed"
    try:
        said = open_envelope(load_json(body), key)
    except ValueError:  # InputError, too
        return f"{url} was altered: it is no signed statement"
    if said is None:
        return f"{url} was not signed with {key}"
    signed = {subject["name"]: subject["digest"]["sha256"] for subject in said["subject"]}
    if signed.get(RECORD) != run["sha256"]:
        return f"{url} was signed for another run"
    return None


def _input_fault(run: dict[str, Any], registry: str | None, pulled: set[tuple[str, ...]]) -> str | None:
    """Pulls what no run before it had as input into a folder that does not stay."""
    record = run["record"]
    registry = registry or str(record["registry"])
    for kind, given in record["inputs"].items():
        if given is None or (registry, *given.values()) in pulled:
            continue
        what = f"the {kind.replace('_', ' ')} {given['path']} of {registry} at {given['commit'][:12]}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = pull.fn(registry, given["commit"], given["path"], Path(folder)).digest
            except Altered as error:
                return f"{what} is not whole: {str(error)[0].lower()}{str(error)[1:].removesuffix('.')}"
        if found != given["sha256"]:
            return (
                f"{what} is not what the run used: its SHA-256 is {found[:12]}, the ledger has {given['sha256'][:12]}"
            )
        pulled.add((registry, *given.values()))
    return None
