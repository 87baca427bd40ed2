"""The run record: what was measured, on what, and what came of it; its SHA-256 is the run's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.canonical import digest
from mucs.evidence.edges import UNSEEN_SCHEMA, item_edges, unseen_edges, write_edges
from mucs.evidence.leaves import edges_root
from mucs.evidence.outcome import outcome
from mucs.files import file_sha256

if TYPE_CHECKING:
    from mucs.attribution import Attribution

METHOD = "MUCS (arXiv 2605.17938)"


@dataclass(frozen=True, eq=False)
class Attributed:
    """A generated item that was attributed.

    Attributes:
        row: its manifest row.
        attribution: what was measured of it.
        device: the machine that did, as JSON: type, name, torch and the like.
    """

    row: Mapping[str, str]
    attribution: Attribution
    device: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """A generated item that could not be attributed: its manifest row, and why, in a sentence."""

    row: Mapping[str, str]
    reason: str


def stage_items(
    items: Iterable[Attributed],
    training: pa.Table,
    path: Path,
    held_out: pa.Table | None = None,
    unseen: Path | None = None,
) -> list[dict[str, Any]]:
    """Write the edge file of a run, and that of its unseen edges; no more than a row group of edges is held.

    Args:
        items: the generated items, in the order of the file.
        training: (N,) `row_sha256`, `id` and `sha256` of the training items, in the order that attributions count them in.
        path: the file.
        held_out: (H,) the same of the held-out items; None without any.
        unseen: the file of the unseen edges, of which an item has MOST_UNSEEN at most; None without held-out items.

    Returns:
        What the record says of each item, in the same order: its `row_sha256`, its outcome and its `device`.
    """
    attributions: list[dict[str, Any]] = []
    of_unseen: list[pa.Table] = []

    def tables() -> Iterable[pa.Table]:
        for item in items:
            row_sha256 = digest(dict(item.row))
            measured = outcome(item.attribution, len(training))
            attributions.append({"row_sha256": row_sha256, **measured, "device": dict(item.device)})
            ends = {"row_sha256": row_sha256, "id": item.row["id"], "sha256": item.row["sha256"]}
            ranking = item.attribution.unseen
            if held_out is not None and ranking is not None:
                of_unseen.append(unseen_edges(ends, ranking, held_out))
            yield item_edges(ends, item.attribution, training)

    write_edges(tables(), path)
    if unseen is not None:
        write_edges(of_unseen, unseen, UNSEEN_SCHEMA)
    return attributions


def run_record(
    *,
    code: Mapping[str, str],
    trained: Mapping[str, Any],
    nondeterministic: Sequence[str],
    registry: str,
    inputs: Mapping[str, Mapping[str, str] | None],
    calibration: Mapping[str, Any] | None,
    index: str | None = None,
    noise_bank: str,
    settings: Mapping[str, Any],
    generated: Sequence[Mapping[str, str]],
    failed: Sequence[Failed],
    edges: Path,
    unseen: Path | None = None,
    attributions: Sequence[Mapping[str, Any]],
    controls: Mapping[str, Any] | None,
    validations: Sequence[Mapping[str, Any]],
    replaces: Sequence[str],
) -> dict[str, Any]:
    """The record of a run, as JSON.

    Args:
        code: the package's `version`, and `method_sha256` over the source of the method.
        trained: `names` of the parameters that unlearning trained, and the `count` of their numbers.
        nondeterministic: operations that torch has no deterministic form of where the items were attributed.
        registry: where the inputs come from.
        inputs: `path`, `commit` and `sha256` of checkpoint, training_set, held_out and batch; None for what was not given.
        calibration: `address`, `sha256`, `decoys` and so on of the one that was used.
        index: SHA-256 of the one that named candidates; the record says nothing of it if there is none.
        noise_bank: its SHA-256.
        settings: the method's, as JSON.
        generated: manifest rows of the items that were attributed, in the order of `attributions`.
        failed: those that could not be attributed; the record says nothing of them if there are none.
        edges: the edge file.
        unseen: that of the unseen edges; the record says nothing of them if there is none.
        attributions: as `stage_items` gives them.
        controls: what became of them, where they were asked for.
        validations: results of the gates.
        replaces: SHA-256 of withdrawn runs whose items are attributed again.
    """
    record: dict[str, Any] = {
        "method": METHOD,
        "code": dict(code),
        "nondeterministic": list(nondeterministic),
        "trained": dict(trained),
        "registry": registry,
        "inputs": {kind: given and dict(given) for kind, given in inputs.items()},
        "calibration": calibration and dict(calibration),
        "generated": [{"id": row["id"], "sha256": row["sha256"]} for row in generated],
        "settings": dict(settings),
        "noise_bank": noise_bank,
        "results": {
            "edges_sha256": file_sha256(edges),
            "edges_root": edges_root(edges),
            "edges": pq.read_metadata(edges).num_rows,
            "attributions": [dict(attribution) for attribution in attributions],
            "recall": mean_recall(attributions),
            "controls": controls and {**controls, "held_out_ks": mean(a["held_out_ks"] for a in attributions)},
        },
        "validations": [{"suite": v["suite"], "success": v["success"], "sha256": digest(v)} for v in validations],
    }
    if index:
        record["index"] = index
    if unseen:
        record["results"]["unseen_edges_sha256"] = file_sha256(unseen)
    if failed:
        record["failed"] = [_failed_record(item) for item in failed]
    if replaces:
        record["replaces"] = list(replaces)
    return record


def _failed_record(item: Failed) -> dict[str, str]:
    row = dict(item.row)
    return {"id": row["id"], "sha256": row["sha256"], "row_sha256": digest(row), "reason": item.reason}


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def mean_recall(attributions: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The mean recall of screening, by K, and on how many generated items it was measured; None if on none."""
    measured = [a["recall"] for a in attributions if a["recall"] is not None]
    return (
        {"items": len(measured), "mean": {k: mean(r[k] for r in measured) for k in measured[0]}} if measured else None
    )


def devices(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The device of each generated item of a record, in order; earlier records have one for all."""
    return [item.get("device") or record["device"] for item in record["results"]["attributions"]]


def artifact(kind: str, path: Path) -> dict[str, Any]:
    """What a load takes of a file that a run used or made."""
    return {"kind": kind, "sha256": file_sha256(path), "files": 1, "bytes": path.stat().st_size}
