"""Layout: the names of a run's published files, and their addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mucs.canonical import digest

RECORD = "run.json"
NOISE_BANK = "noise_bank.safetensors"
EDGES = "edges.parquet"
VALIDATIONS = "validations.json"
ENVELOPE = "run.dsse.json"  # only of a run that was signed


def run_url(results: str, sha256: str) -> str:
    """Where a run's files lie. results: the `s3://bucket/prefix` that evidence goes to."""
    return f"{results.rstrip('/')}/{sha256}"


def calibration_url(results: str, address: str) -> str:
    """Where a calibration lies, beside the runs that use it."""
    return f"{results.rstrip('/')}/calibrations/{address}.safetensors"


def calibration_of(run: Mapping[str, Any]) -> str | None:
    """The address of the calibration that a run used; None without one. run: as `Ledger.run` gives it."""
    used = run["record"]["calibration"]
    return used and calibration_url(run["location"].removesuffix(f"/{run['sha256']}"), used["address"])


def published_files(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The address of each file that a run published or used, and its SHA-256. run: as `Ledger.run` gives it."""
    record = run["record"]
    yield f"{run['location']}/{RECORD}", run["sha256"]
    yield f"{run['location']}/{NOISE_BANK}", record["noise_bank"]
    yield f"{run['location']}/{EDGES}", record["results"]["edges_sha256"]
    yield f"{run['location']}/{VALIDATIONS}", digest(run["validations"])
    calibration = calibration_of(run)
    if calibration:
        yield calibration, record["calibration"]["sha256"]
