"""Replay: compute a run again from its published inputs, and say whether it comes out the same."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.attribution import Settings
from mucs.canonical import digest
from mucs.evidence.edges import UNSEEN_SCHEMA, as_published, item_edges, unseen_edges
from mucs.evidence.layout import NOISE_BANK, old_calibration
from mucs.evidence.log import Log, object_name
from mucs.evidence.outcome import outcome as outcome_of
from mucs.evidence.record import devices
from mucs.evidence.replay import Replay, Replayed, changes, compare_item
from mucs.files import file_sha256
from mucs.images import ImageSet
from mucs.ledger.names import run_called
from tasks import s3
from tasks.attribute import attribute, units
from tasks.collect import Outcome, collect
from tasks.device import choose_device, cores
from tasks.indexes import read_index
from tasks.ledgers import open_log, reading
from tasks.plan import Plan, code_version
from tasks.prepare import NAMES, opened
from tasks.prepared import loaded
from tasks.pull import Altered, Pulled, pull
from tasks.stage_edges import edge_ends, unseen_ends
from tasks.unit import different

log_of_replay = logging.getLogger("mucs.replay")


class Gone(Exception):
    """Something that the run was made from is gone or altered. The message says what."""


def replay(
    ledger: str | Path,
    name: str,
    cache: Path,
    sample: int | None = None,
    seed: int = 0,
    device: str = "auto",
    registry: str | None = None,
) -> Replay:
    """Pull a run's inputs by digest and compute it again; nothing that was kept of the first time is used.

    Args:
        ledger: one that has the run, and follows its log.
        name: the start of the run's SHA-256.
        cache: where pulled inputs are kept.
        sample: how many generated items, which the seed chooses; None for all.
        seed: the same seed chooses the same items.
        device: cpu, cuda or auto.
        registry: where it is now, if it is no longer where the record says.

    Raises:
        InputError: if there is not one such run, or S3, the registry or the device cannot be used.
    """
    run, log = find_run(ledger, name)
    settings, count = read_settings(run["record"]), len(run["record"]["generated"])
    try:
        pulled = pull_inputs(run["record"], registry, cache, log)
        check_bank(run, log)
        rows = choose(run, opened(pulled["batch"], NAMES["batch"]), sample, seed)
        with tempfile.TemporaryDirectory() as folder:
            outcome = attribute_again(run, log, pulled, rows, settings, device, Path(folder))
            items, devices_now = compare_all(run, ledger, outcome)
    except (Gone, Altered) as error:
        return Replay(run["sha256"], count, (), str(error).removesuffix("."), ())
    return Replay(run["sha256"], count, notes(run["record"], devices_now), None, items)


def find_run(ledger: str | Path, name: str) -> tuple[dict[str, Any], Log]:
    """A run as `Ledger.run` gives it, and its log.

    Raises:
        InputError: As `run_called` does, or if its record was changed.
    """
    with reading(ledger) as opened:
        run, log = opened.run(run_called(opened.connection, name)), open_log(opened.follows)
    if digest(run["record"]) != run["sha256"]:
        raise InputError(
            f"The record of run {name[:12]} was changed in the ledger; see what else was with `mucs verify`."
        )
    return run, log


def read_settings(record: dict[str, Any]) -> Settings:
    """The settings that a run recorded; InputError if this version of the program does not know them."""
    try:
        settings = Settings.from_record(record["settings"])
    except InputError:
        settings = None
    if settings is None or settings.record() != record["settings"]:
        raise InputError(
            "The run has settings that this version does not know; replay it with the version that made it."
        )
    return settings


def pull_inputs(record: dict[str, Any], registry: str | None, cache: Path, log: Log) -> dict[str, Pulled]:
    """The inputs of a run by kind, with the run's digests; Gone if one has another."""
    registry = registry or str(record["registry"])
    inputs = {}
    for kind, given in record["inputs"].items():
        if given is None:
            continue
        pulled = inputs[kind] = pull.fn(registry, given["commit"], given["path"], cache, log.place)
        if pulled.digest != given["sha256"]:
            raise Gone(
                f"the {kind.replace('_', ' ')} at {given['path']} of {registry} is not what the run used:"
                f" its SHA-256 is {pulled.digest[:12]}, the run recorded {given['sha256'][:12]}"
            )
    return inputs


def fetch_calibration(run: dict[str, Any], log: Log, folder: Path) -> Path | None:
    """The calibration that a run used, from its log, or from S3 if it is of before there was one; Gone if it is not there as it was."""
    used = run["record"]["calibration"]
    if used is None:
        return None
    place = folder / "calibration.safetensors"
    if run["location"] is None:
        where, there = object_name(used["sha256"]), log.store.fetch(object_name(used["sha256"]), place)
    else:
        where = old_calibration(run["location"], run["record"]) or ""
        there = s3.save(s3.client(), *s3.split_url(where), place)
    if not there or file_sha256(place) != used["sha256"]:
        raise Gone(f"the calibration {where} is gone or altered")
    return place


def check_bank(run: dict[str, Any], log: Log) -> None:
    """Gone if the published noise bank is not the one that the run recorded."""
    expected = run["record"]["noise_bank"]
    if run["location"] is None:
        where = object_name(expected)
        body = log.store.get(where)
        found = None if body is None else hashlib.sha256(body).hexdigest()
    else:
        where = f"{run['location']}/{NOISE_BANK}"
        found = s3.sha256(*s3.split_url(where))
    if found != expected:
        raise Gone(f"the noise bank {where} is gone or altered")


def check_index(plan: Plan) -> None:
    """Gone if the index that named candidates is not in the log as it was."""
    if plan.index and plan.log:
        try:
            read_index(plan.log, plan.index)
        except InputError:
            raise Gone(f"the index {object_name(plan.index)} is gone or altered") from None


def choose(run: dict[str, Any], batch: ImageSet, sample: int | None, seed: int) -> list[int]:
    """The rows of a run's generated items, or of some of them: always the same for one seed, whatever their order."""
    made = {item["row_sha256"] for item in run["record"]["results"]["attributions"]}
    mine = {row_sha256: k for k, row_sha256 in enumerate(batch.row_sha256.to_pylist()) if row_sha256 in made}
    chosen = sorted(mine, key=lambda row_sha256: digest([seed, run["sha256"], row_sha256]))[:sample]
    return sorted(mine[row_sha256] for row_sha256 in chosen)


def attribute_again(
    run: dict[str, Any],
    log: Log,
    pulled: dict[str, Pulled],
    rows: list[int],
    settings: Settings,
    device: str,
    folder: Path,
) -> Outcome:
    """What comes out for some of a run's items; Gone if the calibration or the noise bank is not the run's."""
    plan = Plan(
        registry=str(run["record"]["registry"]),
        checkpoint=pulled["checkpoint"],
        training=pulled["training_set"],
        held_out=pulled.get("held_out"),
        batch=pulled["batch"],
        settings=dataclasses.replace(settings, controls=False, recall_sample=0),  # which change nothing of an item
        device=device,
        cache=folder,
        work=str(folder / "work"),
        log=log.place,
        index=run["record"].get("index"),
    )
    check_index(plan)
    calibration = fetch_calibration(run, log, folder)
    if loaded(plan).bank.digest != run["record"]["noise_bank"]:
        raise Gone("the noise bank that these settings draw is not the one that the run recorded")
    asked = units(plan, rows)
    once = different(asked)
    with ThreadPoolExecutor(cores() if choose_device(device) == "cpu" else 1) as pool:
        for k, came in enumerate(pool.map(lambda unit: attribute.fn(plan, unit), once), start=1):
            log_of_replay.info("replay    %d of %d: %s, %s", k, len(once), once[k - 1].name, came)
    return collect.fn(plan, asked, calibration)


def notes(record: dict[str, Any], devices_now: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What was not as it was when the run was made.

    Args:
        record: The run's.
        devices_now: Of each item that was attributed again, by its row's SHA-256.
    """
    items = [item["row_sha256"] for item in record["results"]["attributions"]]
    device_of = dict(zip(items, devices(record), strict=True))
    recorded = [device_of[row_sha256] for row_sha256 in devices_now]
    return tuple(changes(record, code_version(), recorded, devices_now.values()))


def compare_all(
    run: dict[str, Any], ledger: str | Path, outcome: Outcome
) -> tuple[tuple[Replayed, ...], dict[str, Mapping[str, Any]]]:
    """Each item's numbers as they would be published, against those in the ledger, and its device now; one item's are held at a time."""
    images = outcome.plan.images("training")
    held_out = unseen_ends(outcome.plan) if "unseen_edges_sha256" in run["record"]["results"] else None
    recorded = {item["row_sha256"]: item for item in run["record"]["results"]["attributions"]}
    compared: list[Replayed] = []
    device_of: dict[str, Mapping[str, Any]] = {}
    with reading(ledger) as held:
        ends = edge_ends(images, held.members(run["sha256"], images.rows.select(["id", "sha256"])))
        for row, item in zip(outcome.rows, outcome.measured(), strict=True):
            row_sha256 = digest(row)
            generated = {"row_sha256": row_sha256, "id": row["id"], "sha256": row["sha256"]}
            edges = as_published([item_edges(generated, item.attribution, ends)])
            measured = outcome_of(item.attribution, len(ends))
            before = held.item_edges(run["sha256"], row_sha256)
            unseen = None
            if held_out is not None and item.attribution.unseen is not None:
                now = as_published([unseen_edges(generated, item.attribution.unseen, held_out)], UNSEEN_SCHEMA)
                unseen = held.item_unseen_edges(run["sha256"], row_sha256), now
            compared.append(compare_item(row["id"], before, edges, recorded[row_sha256], measured, unseen))
            device_of[row_sha256] = item.device
    return tuple(compared), device_of
