"""Replay: compute a run again from its published inputs, and say whether it comes out the same."""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.edges import NUMBERS, PUBLISHED
from mucs.ledger import Ledger
from mucs.ledger.names import run_called
from tasks import s3
from tasks.attribute import Outcome, attribute
from tasks.calibrate import location
from tasks.prepare import opened
from tasks.publish import stage_edges
from tasks.pull import Altered, Pulled, pull

if TYPE_CHECKING:
    from mucs.attribution import Settings

log = logging.getLogger("mucs.replay")

Verdict = Literal["identical", "equal", "different"]
Edges = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Replayed:
    """How one generated item came out.

    verdict: identical if every number that was published came out the same; equal if each score that both have differs
    by no more than the tolerance, and the first ten training items are the same. largest: difference of a score,
    infinite if no training item has one in both. where: the first thing that differs.
    """

    generated: str
    verdict: Verdict
    largest: float
    where: str | None


@dataclass(frozen=True)
class Replay:
    """How a run came out, which is as its worst item did.

    notes: what was not as it was when the run was made, such as another version of the code. fault: what of the run's
    inputs is gone or altered, so that nothing was computed.
    """

    run: str
    of: int
    notes: tuple[str, ...]
    fault: str | None
    items: tuple[Replayed, ...]

    @property
    def verdict(self) -> Verdict:
        if self.fault:
            return "different"
        order: tuple[Verdict, ...] = ("identical", "equal", "different")
        return max((item.verdict for item in self.items), key=order.index)


class Gone(Exception):
    """Something that the run was made from is gone or altered. The message says what."""


def replay(
    ledger: Path,
    run: str,
    cache: Path,
    sample: int | None = None,
    seed: int = 0,
    device: str = "auto",
    registry: str | None = None,
) -> Replay:
    """Pull a run's inputs by digest and compute it again; nothing that was kept of the first time is used.

    run: the start of its SHA-256. cache: where pulled inputs are kept. sample: how many generated items, which the seed
    chooses; None for all. registry: where it is now, if it is no longer where the record says.
    Raises InputError if there is not one such run, or S3, the registry or the device cannot be used.
    """
    kept = find_run(ledger, run)
    record, settings = kept["record"], read_settings(kept["record"])
    try:
        inputs = {
            kind: pull_input(kind, given, registry or record["registry"], cache)
            for kind, given in record["inputs"].items()
        }
        with tempfile.TemporaryDirectory() as folder:
            calibration = fetch_calibration(kept, Path(folder))
            check_bank(kept)
            checkpoint, training, batch = (_given(inputs, kind) for kind in ("checkpoint", "training_set", "batch"))
            chosen = choose(kept, opened(batch, "generated batch").to_rows(), sample, seed)
            again = dataclasses.replace(settings, controls=False, recall_sample=0)  # which change nothing of an item
            outcome = attribute.fn(
                *(checkpoint, training, inputs["held_out"], batch, chosen, again),
                *(device, Path(folder), calibration),
            )
            if outcome.bank_sha256 != record["noise_bank"]:
                raise Gone("the noise bank that these settings draw is not the one that the run recorded")
            items = compare_all(kept, ledger, outcome, training, chosen)
    except (Gone, Altered) as error:
        return Replay(kept["sha256"], len(record["generated"]), (), str(error).removesuffix("."), ())
    return Replay(kept["sha256"], len(record["generated"]), tuple(notes(record, outcome)), None, items)


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
    from mucs.attribution import Settings

    try:
        settings = Settings.from_record(record["settings"])
    except InputError:
        settings = None
    if settings is None or settings.record() != record["settings"]:
        raise InputError(
            "The run has settings that this version does not know; replay it with the version that made it."
        )
    return settings


def pull_input(kind: str, given: dict[str, str] | None, registry: str, cache: Path) -> Pulled | None:
    """An input of a run, with the run's digest; Gone if it has another."""
    if given is None:
        return None
    pulled = pull.fn(registry, given["commit"], given["path"], cache)
    if pulled.digest != given["sha256"]:
        raise Gone(
            f"the {kind.replace('_', ' ')} at {given['path']} of {registry} is not what the run used:"
            f" its SHA-256 is {pulled.digest[:12]}, the run recorded {given['sha256'][:12]}"
        )
    return pulled


def _given(inputs: dict[str, Pulled | None], kind: str) -> Pulled:
    """An input that every run has."""
    found = inputs[kind]
    assert found is not None
    return found


def fetch_calibration(run: dict[str, Any], folder: Path) -> Path | None:
    """The calibration that a run used, from S3; Gone if it is not there as it was."""
    used = run["record"]["calibration"]
    if used is None:
        return None
    url = location(run["location"].removesuffix(f"/{run['sha256']}"), used["address"])
    body = s3.get(*s3.split_url(url))
    place = folder / "calibration.safetensors"
    place.write_bytes(body or b"")
    if body is None or s3.sha256(*s3.split_url(url)) != used["sha256"]:
        raise Gone(f"the calibration {url} is gone or altered")
    return place


def check_bank(run: dict[str, Any]) -> None:
    """Gone if the published noise bank is not the one that the run recorded."""
    url = f"{run['location']}/noise_bank.safetensors"
    if s3.sha256(*s3.split_url(url)) != run["record"]["noise_bank"]:
        raise Gone(f"the noise bank {url} is gone or altered")


def choose(run: dict[str, Any], rows: list[dict[str, str]], sample: int | None, seed: int) -> list[dict[str, str]]:
    """The rows of a run's generated items, or of some of them: always the same for one seed, whatever their order."""
    made = {outcome["row_sha256"] for outcome in run["record"]["results"]["attributions"]}
    mine = [row for row in rows if digest(row) in made]
    chosen = sorted(mine, key=lambda row: digest([seed, run["sha256"], digest(row)]))[:sample]
    return [row for row in mine if row in chosen]


def notes(record: dict[str, Any], outcome: Outcome) -> list[str]:
    """What was not as it was when the run was made."""
    found = []
    if outcome.code["method_sha256"] != record["code"]["method_sha256"]:
        found.append(
            f"The code of the method is another: {outcome.code['method_sha256'][:12]} (version {outcome.code['version']}),"
            f" the run recorded {record['code']['method_sha256'][:12]} (version {record['code']['version']})."
        )
    if outcome.device != record["device"]:
        now, then = (", ".join(f"{k} {v}" for k, v in device.items()) for device in (outcome.device, record["device"]))
        found.append(f"The machine is another: {now}; the run recorded {then}.")
    return found


def compare_all(
    run: dict[str, Any], ledger: Path, outcome: Outcome, training: Pulled, rows: list[dict[str, str]]
) -> tuple[Replayed, ...]:
    """Each item's numbers as they would be published, against those in the ledger."""
    import pyarrow.parquet as pq

    staged, attributions, _ = stage_edges.fn(outcome, training, rows)
    second = by_item(pq.read_table(staged).to_pylist())
    with Ledger.open(ledger) as opened:
        recorded = opened.rows(
            f"SELECT g.row_sha256 AS generated_row_sha256, t.row_sha256 AS training_row_sha256, rank,"
            f" {PUBLISHED}"
            " FROM edges JOIN runs r USING (run_id)"
            " JOIN generated_items g USING (generated_id) JOIN training_items t USING (training_id)"
            " WHERE r.sha256 = ? AND g.row_sha256 IN (SELECT unnest(?))",
            [run["sha256"], [attribution["row_sha256"] for attribution in attributions]],
        )
    first = by_item(recorded)
    outcomes = {o["row_sha256"]: o for o in run["record"]["results"]["attributions"]}
    found = []
    for row, attribution in zip(rows, attributions, strict=True):
        name = attribution["row_sha256"]
        found.append(compare(row["id"], first.get(name, []), second[name], outcomes[name], attribution))
    return tuple(found)


def by_item(edges: list[dict[str, Any]]) -> Edges:
    """Edges by their generated item's row, best first."""
    found: Edges = {}
    for edge in sorted(edges, key=lambda edge: edge["rank"]):
        found.setdefault(edge["generated_row_sha256"], []).append(edge)
    return found


def compare(
    name: str,
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    outcome: dict[str, Any],
    again: dict[str, Any],
) -> Replayed:
    """How an item came out: its edges and its outcome, the first time and again."""
    from mucs.attribution.replay import TOLERANCE, TOP

    where = difference(first, second, outcome, again)
    scores = {edge["training_row_sha256"]: edge["score"] for edge in second}
    gaps = [abs(e["score"] - scores[e["training_row_sha256"]]) for e in first if e["training_row_sha256"] in scores]
    largest = max(gaps, default=0.0 if not first and not second else math.inf)
    if where is None:
        return Replayed(name, "identical", 0.0, None)
    top, top_again = ([edge["training_row_sha256"] for edge in edges[:TOP]] for edges in (first, second))
    close = largest <= TOLERANCE and top == top_again
    return Replayed(name, "equal" if close else "different", largest, where)


def difference(
    first: list[dict[str, Any]], second: list[dict[str, Any]], outcome: dict[str, Any], again: dict[str, Any]
) -> str | None:
    """The first thing that differs between an item's edges and outcome and those of another time."""
    for one, other in zip(first, second, strict=False):
        if one["training_row_sha256"] != other["training_row_sha256"]:
            return f"rank {one['rank']}: another training item"
        for number in NUMBERS:
            if one[number] != other[number]:
                return f"rank {one['rank']}: {number.replace('_', ' ')} {one[number]} was recorded, {other[number]} came out"
    if len(first) != len(second):
        return f"{len(first)} edges were recorded, {len(second)} came out"
    for number in outcome | again:
        # which items recall is measured of depends on who else is in the run; 1 and 1.0 are one number, as in JSON
        if number != "recall" and outcome.get(number) != again.get(number):
            return f"{number.replace('_', ' ')}: {outcome.get(number)} was recorded, {again.get(number)} came out"
    return None
