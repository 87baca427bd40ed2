"""Layout: the names of a run's files, and where they lay before there was a log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

RECORD = "run.json"
NOISE_BANK = "noise_bank.safetensors"
EDGES = "edges.parquet"
UNSEEN_EDGES = "unseen_edges.parquet"
VALIDATIONS = "validations.json"
SENT = re.compile("object:([0-9a-f]{64})")


def sent_object(path: str) -> str | None:
    """The SHA-256 of the object that a batch is which was sent, from its path in a record, `object:<SHA-256>`; None for a folder of a registry."""
    found = SENT.fullmatch(path)
    return found and found[1]


def calibration_name(address: str) -> str:
    """Where a log's store says which object the calibration of an address is; its bytes are the object's SHA-256."""
    return f"calibrations/{address}"


def old_files(body: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The address on S3 of each file that a run of before there was a log published, and its SHA-256; none of a later one.

    Args:
        body: What the run's entry commits to.
        record: The run's.
    """
    location = body.get("location")
    if location is None:
        return
    yield f"{location}/{RECORD}", body["run"]
    yield f"{location}/{NOISE_BANK}", record["noise_bank"]
    yield f"{location}/{EDGES}", record["results"]["edges_sha256"]
    calibration = old_calibration(location, record)
    if calibration:
        yield calibration, record["calibration"]["sha256"]


def old_calibration(location: str, record: Mapping[str, Any]) -> str | None:
    """The address on S3 of the calibration that a run of before there was a log used; None without one."""
    used = record["calibration"]
    return used and f"{location.rpartition('/')[0]}/calibrations/{used['address']}.safetensors"
