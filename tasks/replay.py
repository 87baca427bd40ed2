"""Replay: compute a run again from its published inputs, and say whether it comes out the same."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.edges import as_published, item_edges
from mucs.evidence.layout import NOISE_BANK, calibration_of
from mucs.evidence.outcome import outcome as outcome_of
from mucs.evidence.record import devices
from mucs.evidence.replay import Replay, Replayed, changes, compare_item
from mucs.files import file_sha256
from mucs.ledger import Ledger
from mucs.ledger.names import run_called
from tasks import s3
from tasks.attribute import Outcome, Settings, attribute
from tasks.prepare import Manifest, manifest
from tasks.pull import Altered, Pulled, pull
from tasks.stage_edges import edge_ends


class Gone(Exception):
    """Something that the run was made from is gone or altered. The message says what."""


def replay(
    ledger: Path,
    name: str,
    cache: Path,
    sample: int | None = None,
    seed: int = 0,
    device: str = "auto",
    registry: str | None = None,
) -> Replay:
    """Pull a run's inputs by digest and compute it again; nothing that was kept of the first time is used.

    Args:
        ledger: the file of one that has the run.
        name: the start of the run's SHA-256.
        cache: where pulled inputs are kept.
        sample: how many generated items, which the seed chooses; None for all.
        seed: the same seed chooses the same items.
        device: cpu, cuda or auto.
        registry: where it is now, if it is no longer where the record says.

    Raises:
        InputError: if there is not one such run, or S3, the registry or the device cannot be used.
    """
    run = find_run(ledger, name)
    settings, count = read_settings(run["record"]), len(run["record"]["generated"])
    try:
        pulled = pull_inputs(run["record"], registry, cache)
        check_bank(run)
        rows = choose(run, manifest(pulled["batch"], "generated batch"), sample, seed)
        with tempfile.TemporaryDirectory() as folder:
            outcome = attribute_again(run, pulled, rows, settings, device, Path(folder))
            training = edge_ends(manifest(pulled["training_set"], "training set"))
            items = compare_all(run, ledger, outcome, training, rows)
    except (Gone, Altered) as error:
        return Replay(run["sha256"], count, (), str(error).removesuffix("."), ())
    return Replay(run["sha256"], count, notes(run["record"], outcome, rows), None, items)


def find_run(ledger: Path, name: str) -> dict[str, Any]:
    """A run as `Ledger.run` gives it. Raises InputError as `run_called` does, or if its record was changed."""
    with Ledger.open(ledger) as opened:
        run = opened.run(run_called(opened.connection, name))
    if digest(run["record"]) != run["sha256"]:
        raise InputError(
            f"The record of run {name[:12]} was changed in the ledger; see what else was with `mucs verify`."
        )
    return run


def read_settings(record: dict[str, Any]) -> Settings:
    """The settings that a run recorded; InputError if this version of the program does not know them."""
    from pydantic import TypeAdapter, ValidationError

    try:
        settings = TypeAdapter(Settings).validate_python(record["settings"])
    except ValidationError:
        settings = None
    if settings is None or settings.record() != record["settings"]:
        raise InputError(
            "The run has settings that this version does not know; replay it with the version that made it."
        )
    return settings


def pull_inputs(record: dict[str, Any], registry: str | None, cache: Path) -> dict[str, Pulled]:
    """The inputs of a run by kind, with the run's digests; Gone if one has another."""
    registry = registry or str(record["registry"])
    inputs = {}
    for kind, given in record["inputs"].items():
        if given is None:
            continue
        pulled = inputs[kind] = pull.fn(registry, given["commit"], given["path"], cache)
        if pulled.digest != given["sha256"]:
            raise Gone(
                f"the {kind.replace('_', ' ')} at {given['path']} of {registry} is not what the run used:"
                f" its SHA-256 is {pulled.digest[:12]}, the run recorded {given['sha256'][:12]}"
            )
    return inputs


def fetch_calibration(run: dict[str, Any], folder: Path) -> Path | None:
    """The calibration that a run used, from S3; Gone if it is not there as it was."""
    url = calibration_of(run)
    if url is None:
        return None
    place = folder / "calibration.safetensors"
    there = s3.save(s3.client(), *s3.split_url(url), place)
    if not there or file_sha256(place) != run["record"]["calibration"]["sha256"]:
        raise Gone(f"the calibration {url} is gone or altered")
    return place


def check_bank(run: dict[str, Any]) -> None:
    """Gone if the published noise bank is not the one that the run recorded."""
    url = f"{run['location']}/{NOISE_BANK}"
    if s3.sha256(*s3.split_url(url)) != run["record"]["noise_bank"]:
        raise Gone(f"the noise bank {url} is gone or altered")


def choose(run: dict[str, Any], rows: Manifest, sample: int | None, seed: int) -> Manifest:
    """The rows of a run's generated items, or of some of them: always the same for one seed, whatever their order."""
    made = {item["row_sha256"] for item in run["record"]["results"]["attributions"]}
    mine = {row_sha256: row for row in rows if (row_sha256 := digest(row)) in made}
    chosen = set(sorted(mine, key=lambda row_sha256: digest([seed, run["sha256"], row_sha256]))[:sample])
    return [row for row_sha256, row in mine.items() if row_sha256 in chosen]


def attribute_again(
    run: dict[str, Any], pulled: dict[str, Pulled], rows: Manifest, settings: Settings, device: str, folder: Path
) -> Outcome:
    """What comes out for some of a run's items; Gone if the calibration or the noise bank is not the run's."""
    calibration = fetch_calibration(run, folder)
    alone = dataclasses.replace(settings, controls=False, recall_sample=0)  # which change nothing of an item
    outcome = attribute.fn(
        *(pulled["checkpoint"], pulled["training_set"], pulled.get("held_out"), pulled["batch"], rows, alone),
        *(device, folder, calibration),
    )
    if outcome.bank_sha256 != run["record"]["noise_bank"]:
        raise Gone("the noise bank that these settings draw is not the one that the run recorded")
    return outcome


def notes(record: dict[str, Any], outcome: Outcome, rows: Manifest) -> tuple[str, ...]:
    """What was not as it was when the run was made."""
    items = [item["row_sha256"] for item in record["results"]["attributions"]]
    device_of = dict(zip(items, devices(record), strict=True))
    recorded = [device_of[digest(row)] for row in rows]
    return tuple(changes(record, outcome.code, recorded, [outcome.device] * len(rows)))


def compare_all(
    run: dict[str, Any], ledger: Path, outcome: Outcome, training: pa.Table, rows: Manifest
) -> tuple[Replayed, ...]:
    """Each item's numbers as they would be published, against those in the ledger; one item's are held at a time."""
    recorded = {item["row_sha256"]: item for item in run["record"]["results"]["attributions"]}
    compared = []
    with Ledger.open(ledger) as opened:
        for row, attribution in zip(rows, outcome.attributions(), strict=True):
            ends = {"row_sha256": digest(row), "id": row["id"], "sha256": row["sha256"]}
            edges = as_published([item_edges(ends, attribution, training)])
            measured = outcome_of(attribution, len(training))
            before = opened.item_edges(run["sha256"], ends["row_sha256"])
            compared.append(compare_item(row["id"], before, edges, recorded[ends["row_sha256"]], measured))
    return tuple(compared)
