"""Calibrate: score every training item, and every held-out one, for decoys, keep the result in the log under its address, and find it there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.layout import calibration_name
from mucs.files import replacing
from tasks.attribute import content
from tasks.collect import calibration_address
from tasks.device import choose_device, deterministic
from tasks.ledgers import open_log
from tasks.measure import fetch_losses
from tasks.plan import Plan
from tasks.prepared import cache_of, prepared
from tasks.progress import begun
from tasks.stores import claim, open_store
from tasks.unit import UNIT, begin


@dataclass(frozen=True)
class Decoy:
    """A held-out item to unlearn as if it had been generated: its id, its row, and where its scores are in the work store."""

    name: str
    row: int
    address: str


def decoys(plan: Plan) -> list[Decoy]:
    """The decoys of a plan; identical images with identical conditions share an address.

    Raises:
        InputError: If there are fewer held-out items than decoys.
    """
    from mucs.attribution.calibration import choose_decoys

    images, of_plan = plan.images("held_out"), calibration_address(plan, plan.method_sha256)
    chosen = {k: images.row(k) for k in choose_decoys(len(images), plan.settings.decoys).tolist()}
    return [Decoy(row["id"], k, f"decoys/{of_plan}/{digest(content(row))}.f32") for k, row in chosen.items()]


@task(task_run_name="decoy {unit.name}", **UNIT)
def score_decoy(plan: Plan, unit: Decoy) -> str:
    """Score all training items, and all held-out ones, for one decoy, unless its scores are in the work store.

    Args:
        plan: Of a calibration.
        unit: Which decoy.

    Returns:
        What came of it, in words.

    Raises:
        InputError: If inputs, settings or the work store cannot be used.
    """
    store = begin(plan)
    if store.has(unit.address):
        return "scored before"
    begun(unit.name)
    with deterministic(choose_device(plan.device)):
        from mucs.attribution.calibration import decoy_scores

        given, settings = prepared(plan), plan.settings
        fetch_losses(plan, given)
        training, unseen = (given.table(f"decoys_{which}", settings) for which in ("training", "held_out"))
        decoy = unseen.items[unit.row : unit.row + 1]
        scores = decoy_scores(training, unseen, decoy, settings.unlearning, settings.seed)
    store.put(unit.address, scores.numpy().astype("<f4").tobytes())
    return f"{len(scores)} scores"


@task(task_run_name="assemble calibration", cache_policy=NO_CACHE)
def assemble_calibration(plan: Plan, units: list[Decoy]) -> Path:
    """Make a calibration of decoys whose scores are in the work store; gives its file in the cache.

    Raises:
        InputError: If the scores of one are not there.
    """
    import torch

    from mucs.attribution import Calibration

    store, columns = open_store(plan.work), []
    for unit in units:
        body = store.get(unit.address)
        if body is None:
            raise InputError(f"The scores of the decoy {unit.name} are gone from the work store; calibrate again.")
        columns.append(torch.from_numpy(np.frombuffer(body, "<f4").astype(np.float32)))
    entries = min(plan.settings.calibration_noises, plan.settings.num_noises)
    rows = torch.tensor([unit.row for unit in units])
    address = calibration_address(plan, plan.method_sha256)
    scores, training = torch.stack(columns, dim=1), len(plan.images("training"))
    made = Calibration(scores[:training], scores[training:], rows, entries, address, plan.method_sha256)
    place = cache_of(plan) / "work" / "calibrations" / f"{address}.safetensors"
    with replacing(place) as partial:
        partial.write_bytes(made.to_bytes())
    return place


@task(task_run_name="find calibration", cache_policy=NO_CACHE)
def find_calibration(plan: Plan, log: str) -> Path | None:
    """Look for the calibration of a plan's inputs and settings.

    Args:
        plan: With a held-out set.
        log: The log's place.

    Returns:
        Its file in the cache; None if there is none.

    Raises:
        InputError: If the log does not answer or refuses, or what lies there is another's or no calibration.
    """
    address = calibration_address(plan, plan.method_sha256)
    place = cache_of(plan) / "calibrations" / digest(log) / f"{address}.safetensors"
    if not place.exists():
        held = open_log(log)
        named = held.store.get(calibration_name(address))
        if named is None:
            return None
        with held.file(named.decode(errors="replace")) as path, replacing(place) as partial:
            shutil.copyfile(path, partial)
            check_calibration(partial, address, f"{held.place}/{calibration_name(address)}")
    return place


def check_calibration(path: Path, address: str, url: str) -> None:
    """InputError unless the file that came from `url` is the calibration of that address."""
    from mucs.attribution import Calibration

    try:
        found = Calibration.read(path).address
    except InputError:
        found = None
    if found != address:
        raise InputError(f"{url} is not the calibration that belongs there; find out who wrote it, and remove it.")


@task(task_run_name="publish calibration", cache_policy=NO_CACHE)
def publish_calibration(calibration: Path, log: str) -> str:
    """Keep a calibration's file in a log, where audits look for it; gives its place.

    Raises:
        InputError: If the log does not answer or refuses, or holds another under its address.
    """
    from mucs.attribution import Calibration

    held, name = open_log(log), calibration_name(Calibration.read(calibration).address)
    claim(held.store, name, held.keep(calibration).encode())
    return f"{held.place}/{name}"
