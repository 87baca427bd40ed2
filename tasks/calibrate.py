"""Calibrate: score every training item for decoys, put the result to S3 under its address, and find it there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.layout import calibration_url
from mucs.files import replacing
from tasks.attribute import Settings
from tasks.device import choose_device, deterministic, one_thread_each
from tasks.prepare import calibration_address, prepare
from tasks.pull import Pulled
from tasks.put import put_once
from tasks.s3 import get, split_url


def check_calibration(path: Path, address: str, url: str) -> None:
    """InputError unless the file that came from `url` is the calibration of that address."""
    from mucs.attribution import Calibration

    try:
        found = Calibration.read(path).address
    except InputError:
        found = None
    if found != address:
        raise InputError(f"{url} is not the calibration that belongs there; find out who wrote it, and remove it.")


@task(cache_policy=NO_CACHE)
def find_calibration(
    checkpoint: Pulled, training: Pulled, held_out: Pulled, settings: Settings, device: str, cache: Path, results: str
) -> Path | None:
    """The calibration of these inputs and settings, from `results` on S3 into the cache; None if there is none.

    Raises InputError if S3 does not answer or refuses, or what lies there is another's or no calibration.
    """
    device = choose_device(device)
    with one_thread_each(device), deterministic(device):
        prepared = prepare(checkpoint, training, held_out, settings, device, cache)
    address = calibration_address(prepared, settings)
    url = calibration_url(results, address)
    place = cache / "calibrations" / digest(url) / f"{address}.safetensors"
    if not place.exists():
        body = get(*split_url(url))
        if body is None:
            return None
        with replacing(place) as partial:
            partial.write_bytes(body)
            check_calibration(partial, address, url)
    return place


@task(cache_policy=NO_CACHE)
def calibrate(
    checkpoint: Pulled, training: Pulled, held_out: Pulled, settings: Settings, device: str, cache: Path
) -> Path:
    """Make the calibration of these inputs and settings; each decoy is kept in the cache as soon as it is there.

    Raises InputError if settings do not fit the model, or there are fewer held-out items than decoys.
    """
    from mucs.attribution import LossStore
    from mucs.attribution import calibrate as calibrate_model

    device = choose_device(device)
    with one_thread_each(device) as workers, deterministic(device), ThreadPoolExecutor(workers) as pool:
        prepared = prepare(checkpoint, training, held_out, settings, device, cache)
        assert prepared.held_out is not None
        made = calibrate_model(
            prepared.model,
            prepared.training,
            prepared.held_out,
            prepared.bank.prefix(settings.calibration_noises),
            settings.unlearning(),
            settings.decoys,
            scoring=settings.scoring(),
            seed=settings.seed,
            store=LossStore(cache / "losses"),
            executor=pool,
        )
    place = cache / "work" / "calibrations" / f"{made.address}.safetensors"
    with replacing(place) as partial:
        partial.write_bytes(made.to_bytes())
    return place


@task(cache_policy=NO_CACHE)
def publish_calibration(calibration: Path, results: str) -> str:
    """Put a calibration's file to S3 where audits look for it; gives its place.

    Raises InputError if S3 does not answer or refuses, or holds other bytes under its address.
    """
    from mucs.attribution import Calibration

    url = calibration_url(results, Calibration.read(calibration).address)
    put_once(*split_url(url), calibration)
    return url
