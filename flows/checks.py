"""Checks: what can be seen to be wrong with a job before it begins; the commands look before Prefect starts, the flows again."""

from __future__ import annotations

from pathlib import Path

from mucs.files import check_writable
from tasks.device import choose_device
from tasks.registry import open_registry
from tasks.s3 import check_bucket


def check_inputs(registry: str, revision: str, results: str, device: str, cache: Path) -> None:
    """What audit and calibration share, all as `audit` takes them: whether the bucket answers, the registry has the revision, and so on.

    Raises InputError for the first that cannot be used; those that are seen at once come first.
    """
    check_bucket(results)
    check_writable(cache, "the cache, MUCS_CACHE")
    open_registry(registry, revision, "")
    choose_device(device)
