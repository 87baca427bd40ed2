"""Loading a run: all of it, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.evidence.edges import DECIMALS
from mucs.evidence.outcome import OUTCOME
from mucs.files import file_sha256
from mucs.ledger.ledger import Ledger

MEMBERS = 100_000  # of a training set that are hashed at a time


@dataclass(frozen=True)
class Run:
    """What a load brings.

    Attributes:
        record: the run record (JSON), whose digest is the run's name.
        artifacts: `kind`, `sha256`, `files` and `bytes` of each input and output.
        training: (N,) rows of the training set's manifest: `said`, each as canonical JSON, and `row_sha256`, its SHA-256.
        generated: the same of the generated items that were attributed.
        edges: the published Parquet.
        validations: gate results.
        location: where the evidence was published.
    """

    record: dict[str, Any]
    artifacts: Sequence[Mapping[str, Any]]
    training: pa.Table
    generated: pa.Table
    edges: Path
    validations: Sequence[dict[str, Any]]
    location: str

    @cached_property
    def sha256(self) -> str:
        """Of the record: the run's name."""
        return digest(self.record)


def load(ledger: Ledger, run: Run) -> bool:
    """Add a run in one transaction; False, with nothing changed, if it is there already.

    Raises InputError if the run's edges are gone or not those of its record, name items that its manifests do not have,
    or name a pair twice; or if a manifest has a row twice.
    """
    if ledger.has_run(run.sha256):
        return False
    with ledger.transaction() as now, ThreadPoolExecutor(1) as other:
        edges_sha256 = other.submit(file_sha256, run.edges)  # beside what needs one core
        _load_artifacts(ledger, run)
        _load_items(ledger, run, now)
        run_id = _load_run(ledger, run, now)
        _load_edges(ledger, run, run_id)
        if edges_sha256.result() != run.record["results"]["edges_sha256"]:
            raise InputError(f"{run.edges} is not the file that the run's record names; publish the run again.")
        body = {"run": run.sha256, "record": run.record, "location": run.location}
        members = members_sha256(ledger, "FROM staged_training")
        ledger.append("run", body | {"artifacts": [dict(a) for a in run.artifacts], "members": members})
        for v in run.validations:
            ledger.connection.execute(
                "INSERT INTO file.validations VALUES (?, ?, ?, ?, ?)",
                [run_id, v["suite"], v["success"], digest(v), canonical(v).decode()],
            )
            ledger.append("validation", {"run": run.sha256, "suite": v["suite"], "result": digest(v)})
    return True


def _load_artifacts(ledger: Ledger, run: Run) -> None:
    for a in run.artifacts:
        ledger.connection.execute(
            "INSERT INTO file.artifacts SELECT coalesce(max(artifact_id), 0) + 1, $kind, $sha256, $files, $bytes FROM artifacts"
            " HAVING NOT EXISTS (SELECT 1 FROM artifacts WHERE kind = $kind AND sha256 = $sha256)",
            dict(a),
        )


def _load_items(ledger: Ledger, run: Run, now: Any) -> None:
    """Versions of items that are new, and which ones the training set holds."""
    c = ledger.connection
    for kind, columns in (("training", ("rights_holder", "licence", "date")), ("generated", ())):
        table: pa.Table = getattr(run, kind)
        c.register(f"staged_{kind}", table.append_column("number", _new_numbers(ledger, kind, table["row_sha256"])))
        values = {name: f"said->>'{name}'" for name in ("id", "sha256", *columns)}
        values |= {"date": "(said->>'date')[:10]::DATE"} if "date" in columns else {}
        c.execute(
            f"INSERT INTO file.{kind}_items SELECT number, row_sha256, {', '.join(values.values())}, said, ?"
            f" FROM (SELECT number, row_sha256, said::JSON AS said FROM staged_{kind} WHERE number IS NOT NULL)",
            [now],
        )
    c.execute(
        "INSERT INTO file.members SELECT a.artifact_id, t.training_id"
        " FROM staged_training JOIN training_items t USING (row_sha256), artifacts a"
        " WHERE a.kind = 'training_set' AND a.sha256 = $sha256"
        " AND NOT EXISTS (SELECT 1 FROM members m WHERE m.training_set_id = a.artifact_id)"
        " ORDER BY ALL",
        {"sha256": run.record["inputs"]["training_set"]["sha256"]},
    )


def _new_numbers(ledger: Ledger, kind: str, row_sha256: pa.ChunkedArray) -> pa.Array:
    """The numbers that the ledger gives to rows which are new to it, in their order; null for those that it has.

    Raises InputError if a row is there twice.
    """
    if pc.count_distinct(row_sha256).as_py() < len(row_sha256):
        raise InputError(f"The {kind} items have a row twice; leave one out, and publish the run again.")
    ledger.connection.register("staged", pa.table({"row_sha256": row_sha256}))
    known = ledger.connection.execute(f"SELECT row_sha256 FROM {kind}_items SEMI JOIN staged USING (row_sha256)")
    is_known = pc.is_in(row_sha256, known.to_arrow_table()["row_sha256"]).to_numpy()
    last = ledger.one(f"SELECT coalesce(max({kind}_id), 0) FROM {kind}_items")
    return pa.array(last + np.cumsum(~is_known), mask=is_known)


def members_sha256(ledger: Ledger, rows: str, *parameters: Any) -> str:
    """What the entry of a run commits to of its training set: the digest of its rows' SHA-256 in order, as canonical JSON.

    rows: SQL that selects `row_sha256`.
    """
    found = ledger.connection.execute(f"SELECT row_sha256 FROM ({rows}) ORDER BY row_sha256", list(parameters))
    sha256, between = hashlib.sha256(b"["), b""
    for batch in found.to_arrow_reader(MEMBERS):  # as one text, a million took four times the memory
        sha256.update(between + ",".join(f'"{each}"' for each in batch[0].to_pylist()).encode())
        between = b","
    sha256.update(b"]")
    return sha256.hexdigest()


def _load_run(ledger: Ledger, run: Run, now: Any) -> int:
    """The run and each generated item's outcome; gives the run's number."""
    c, record = ledger.connection, run.record
    inputs = {**record["inputs"], "calibration": record["calibration"]}
    ids = {
        kind: ledger.one("SELECT artifact_id FROM artifacts WHERE kind = ? AND sha256 = ?", kind, given["sha256"])
        for kind, given in inputs.items()
        if given is not None
    }
    run_id = int(ledger.one("SELECT coalesce(max(run_id), 0) + 1 FROM runs"))
    c.execute(
        "INSERT INTO file.runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(run_id, run.sha256, record["method"], ids["checkpoint"], ids["training_set"], ids.get("held_out")),
            *(ids.get("calibration"), ids["batch"], digest(record["settings"]), run.location, now),
            canonical(record).decode(),
        ],
    )
    c.register("staged_outcomes", _outcomes(record["results"]["attributions"]))
    c.execute(
        f"INSERT INTO file.attributions SELECT ?, generated_id, {', '.join(f'o.{name}' for name in OUTCOME.names)}"
        " FROM staged_outcomes o JOIN generated_items USING (row_sha256) ORDER BY generated_id",
        [run_id],
    )
    return run_id


def _outcomes(attributions: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Outcomes as the ledger's table has them, by the `row_sha256` of their items."""
    columns = {name: [item[name] for item in attributions] for name in ("row_sha256", *OUTCOME.names)}
    columns["recall"] = [recall and json.dumps(recall) for recall in columns["recall"]]
    return pa.table(columns, pa.schema([("row_sha256", pa.string()), *OUTCOME]))


# What the gate passes comes back from this as it was published (`given_back`), and the Merkle root holds it to that.
STORED = {
    name: f"e.{name}::DOUBLE::DECIMAL(18, {digits})" for name, digits in DECIMALS.items() if name != "decoy_p_value"
} | {"decoys": "$decoys", "decoys_above": "(round(e.decoy_p_value * (1 + $decoys)) - 1)::INTEGER"}
INSERT = f"""INSERT INTO file.edges (run_id, generated_id, training_id, rank, {", ".join(STORED)})
SELECT $run, g.generated_id, t.training_id, e.rank, {", ".join(STORED.values())}
FROM read_parquet($edges) e
JOIN generated_items g ON g.row_sha256 = e.generated_row_sha256
JOIN training_items t ON t.row_sha256 = e.training_row_sha256"""


def _load_edges(ledger: Ledger, run: Run, run_id: int) -> None:
    """The edges, in the order of the file; counted, and checked for doubles, as they lie in the ledger."""
    try:
        expected = ledger.one("SELECT sum(num_rows) FROM parquet_file_metadata(?)", str(run.edges))
        decoys = (run.record["calibration"] or {}).get("decoys")
        ledger.connection.execute(INSERT, {"run": run_id, "decoys": decoys, "edges": str(run.edges)})
    except (duckdb.IOException, duckdb.InvalidInputException):
        raise InputError(f"{run.edges} cannot be read as Parquet, or is gone; publish the run again.") from None
    except duckdb.ConversionException:
        raise InputError(f"{run.edges} has numbers that are not finite, or too large; publish the run again.") from None
    # a bit for each training item that a generated one names: cheaper than a hash table of pairs
    last = ledger.one("SELECT max(training_id) FROM training_items")
    loaded, doubled = ledger.connection.execute(
        f"""SELECT coalesce(sum(n), 0)::BIGINT, coalesce(bool_or(n <> bit_count(named)), false) FROM (
            SELECT count(*) AS n, bitstring_agg(training_id, 1, {last}) AS named
            FROM edges WHERE run_id = ? GROUP BY generated_id)""",
        [run_id],
    ).fetchone() or (0, False)
    if loaded != expected:
        raise InputError(
            f"{run.edges} has {expected} edges, of which {loaded} are between items of the manifests; publish the run again."
        )
    if doubled:
        raise InputError(f"{run.edges} names a pair of items twice; publish the run again.")
