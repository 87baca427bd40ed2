"""The store: opened for reading, or for one short loading transaction."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.ledger.chain import GENESIS, Entry, first_fault, link
from mucs.ledger.edges import NUMBERS, edges_root
from mucs.ledger.proof import make_proof

SCHEMA_VERSION = 3
HERE = Path(__file__).parent
OUTCOME = (  # columns of `attributions`, in order, that each generated item's outcome brings
    *("converged", "steps", "null_loss", "forget_loss", "retain_loss", "probe_before", "probe_after"),
    *("candidates", "survivors", "seen_auc", "seen_auc_low", "seen_auc_high", "held_out_ks"),
    *("discoveries", "decoy_discoveries", "recall"),
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What a load brings.

    record: the run record (JSON), whose digest is the run's name. artifacts: kind, sha256, files and bytes of each input
    and output. training, generated: manifest rows as strings. attributions: one a generated item, by its row_sha256.
    edges: the published Parquet. validations: gate results. location: where the evidence was published.
    """

    record: dict[str, Any]
    artifacts: Sequence[Row]
    training: Sequence[Row]
    generated: Sequence[Row]
    attributions: Sequence[Row]
    edges: Path
    validations: Sequence[dict[str, Any]]
    location: str

    @property
    def sha256(self) -> str:
        return digest(self.record)


def question(name: str) -> str:
    """The text of a named question."""
    return (HERE / "questions" / f"{name}.sql").read_text()


class Ledger:
    """A connection to a ledger file; use it in a `with` block, and not for long: while it is open for writing nobody else can read."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.connection = connection
        self.path = path

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = True) -> Ledger:
        """Open a ledger; with `read_only=False` a missing one is made.

        Raises InputError if the file is missing, locked by another process, not DuckDB, not a ledger, or of another schema.
        """
        path = Path(path)
        new = not path.exists()
        if new and read_only:
            raise InputError(
                f"There is no ledger at {path}; run `mucs audit` or `mucs demo`, or point --ledger or MUCS_LEDGER to one."
            )
        if not path.parent.is_dir():
            raise InputError(
                f"The folder {path.parent} of the ledger does not exist; make it, or give another --ledger."
            )
        try:
            connection = duckdb.connect(str(path), read_only=read_only)
        except duckdb.IOException as error:
            if "lock" in str(error):
                raise InputError(
                    f"The ledger {path} is in use by another process; try again when it is done."
                ) from None
            raise InputError(f"{path} is not a DuckDB file; give a ledger, or move this file away.") from None
        except duckdb.Error:
            raise InputError(f"{path} cannot be opened as a DuckDB file; restore it from a copy.") from None
        ledger = cls(connection, path)
        try:
            if new:
                with ledger.transaction():
                    connection.execute((HERE / "schema.sql").read_text())
            ledger._check_schema()
        except BaseException:
            connection.close()
            if new:
                path.unlink(missing_ok=True)
            raise
        return ledger

    def _check_schema(self) -> None:
        try:
            found = self.connection.execute("SELECT schema_version FROM ledger").fetchone()
        except duckdb.CatalogException:
            raise InputError(f"{self.path} is a DuckDB file but not a ledger; give another --ledger.") from None
        version = found[0] if found else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"The ledger {self.path} is of schema {version}, this program reads {SCHEMA_VERSION}; use the version of mucs that wrote it."
            )

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.connection.begin()
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def ask(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a named question."""
        return self._rows(self.connection.execute(question(name), parameters))

    def select(self, sql: str) -> list[dict[str, Any]]:
        """The rows of an analyst's own query, which can neither write, nor reach files or the network.

        Raises InputError if the query is not a single one that reads.
        """
        self.connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        try:
            statements = self.connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in (
                duckdb.StatementType.SELECT,
                duckdb.StatementType.EXPLAIN,
            ):
                raise InputError("The query must be one SELECT; write it as such.")
            return self._rows(self.connection.execute(statements[0]))
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f'The query cannot be answered: {first.removesuffix(".")}; see the tables with `mucs sql "SHOW TABLES"`.'
            ) from None

    @staticmethod
    def _rows(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def holds(self, sha256: str) -> bool:
        """Whether a run is loaded."""
        return self.connection.execute("SELECT 1 FROM runs WHERE sha256 = ?", [sha256]).fetchone() is not None

    def run(self, sha256: str) -> dict[str, Any]:
        """A loaded run: its sha256, record, location, validations, and its artifacts' files and bytes by kind."""
        (found,) = self._rows(
            self.connection.execute("SELECT run_id, sha256, record, location FROM runs WHERE sha256 = ?", [sha256])
        )
        record = json.loads(found["record"])
        inputs = {**record["inputs"], "calibration": record["calibration"]}
        digests = {kind: given["sha256"] for kind, given in inputs.items() if given}
        digests |= {"noise_bank": record["noise_bank"], "edges": record["results"]["edges_sha256"]}
        sizes = {(a["kind"], a["sha256"]): a for a in self._rows(self.connection.execute("SELECT * FROM artifacts"))}
        results = self.connection.execute(
            "SELECT result FROM validations WHERE run_id = ?", [found["run_id"]]
        ).fetchall()
        return {
            "sha256": sha256,
            "record": record,
            "location": found["location"],
            "validations": [json.loads(result) for (result,) in results],
            "artifacts": {kind: sizes[kind, sha] for kind, sha in digests.items()},
        }

    def entries(self) -> list[Entry]:
        """The chain, in order."""
        return [
            Entry(*row)
            for row in self.connection.execute(
                "SELECT position, kind, sha256, entry FROM entries ORDER BY position"
            ).fetchall()
        ]

    def load(self, run: Run) -> bool:
        """Add a run in one transaction; False, with nothing changed, if it is there already.

        Raises InputError if the run's edges name items that its manifests do not have, or name a pair twice.
        """
        if self.holds(run.sha256):
            return False
        now = datetime.datetime.now(datetime.UTC)
        with self.transaction():
            self._load(run, now)
            self._append("run", now, {"run": run.sha256, "record": run.record, "location": run.location})
            for validation in run.validations:
                self._append(
                    "validation", now, {"run": run.sha256, "suite": validation["suite"], "result": digest(validation)}
                )
        return True

    def _load(self, run: Run, now: datetime.datetime) -> None:
        c = self.connection
        for a in run.artifacts:
            c.execute(
                "INSERT INTO artifacts SELECT coalesce(max(artifact_id), 0) + 1, $kind, $sha256, $files, $bytes FROM artifacts"
                " HAVING NOT EXISTS (SELECT 1 FROM artifacts WHERE kind = $kind AND sha256 = $sha256)",
                dict(a),
            )
        c.execute("CREATE OR REPLACE TEMP TABLE staged_training (row_sha256 VARCHAR, manifest_row JSON)")
        c.execute("CREATE OR REPLACE TEMP TABLE staged_generated (row_sha256 VARCHAR, manifest_row JSON)")
        for table, rows in (("staged_training", run.training), ("staged_generated", run.generated)):
            c.executemany(
                f"INSERT INTO {table} VALUES (?, ?)",
                [[digest(dict(row)), canonical(dict(row)).decode()] for row in rows],
            )
        c.execute(
            """INSERT INTO training_items
            SELECT (SELECT coalesce(max(training_id), 0) FROM training_items) + row_number() OVER (ORDER BY row_sha256), row_sha256,
                manifest_row->>'id', manifest_row->>'sha256', manifest_row->>'rights_holder', manifest_row->>'licence',
                (manifest_row->>'date')[:10]::DATE, manifest_row
            FROM staged_training WHERE row_sha256 NOT IN (SELECT row_sha256 FROM training_items)"""
        )
        c.execute(
            """INSERT INTO generated_items
            SELECT (SELECT coalesce(max(generated_id), 0) FROM generated_items) + row_number() OVER (ORDER BY row_sha256), row_sha256,
                manifest_row->>'id', manifest_row->>'sha256', manifest_row
            FROM staged_generated WHERE row_sha256 NOT IN (SELECT row_sha256 FROM generated_items)"""
        )
        inputs = {**run.record["inputs"], "calibration": run.record["calibration"]}
        ids = {kind: self._artifact_id(kind, given["sha256"]) for kind, given in inputs.items() if given is not None}
        run_id = self._one("SELECT coalesce(max(run_id), 0) + 1 FROM runs")
        c.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(run_id, run.sha256, ids["checkpoint"], ids["training_set"], ids.get("held_out")),
                *(ids.get("calibration"), ids["batch"]),
                *(digest(run.record["settings"]), run.location, now, canonical(run.record).decode()),
            ],
        )
        for a in run.attributions:
            c.execute(
                f"INSERT INTO attributions SELECT $run_id, generated_id, {', '.join(f'${name}' for name in OUTCOME)}"
                " FROM generated_items WHERE row_sha256 = $row_sha256",
                {"run_id": run_id, **a, "recall": a["recall"] and json.dumps(a["recall"])},
            )
        expected = c.read_parquet(str(run.edges)).aggregate("count(*)").fetchone()
        c.execute(
            f"""INSERT INTO edges
            SELECT ?, g.generated_id, t.training_id, e.rank, {", ".join(NUMBERS)}
            FROM read_parquet(?) e
            JOIN generated_items g ON g.row_sha256 = e.generated_row_sha256
            JOIN training_items t ON t.row_sha256 = e.training_row_sha256
            ORDER BY g.generated_id, e.rank""",
            [run_id, str(run.edges)],
        )
        loaded = self._one("SELECT count(*) FROM edges WHERE run_id = ?", run_id)
        if expected is None or loaded != expected[0]:
            raise InputError(
                f"{run.edges} has {expected and expected[0]} edges, of which {loaded} are between items of the manifests; publish the run again."
            )
        doubled = c.execute(
            "SELECT 1 FROM edges WHERE run_id = ? GROUP BY generated_id, training_id HAVING count(*) > 1 LIMIT 1",
            [run_id],
        ).fetchone()
        if doubled:
            raise InputError(f"{run.edges} names a pair of items twice; publish the run again.")
        for v in run.validations:
            c.execute(
                "INSERT INTO validations VALUES (?, ?, ?, ?, ?)",
                [run_id, v["suite"], v["success"], digest(v), json.dumps(v)],
            )

    def _one(self, sql: str, *parameters: Any) -> Any:
        found = self.connection.execute(sql, list(parameters)).fetchone()
        return found[0] if found else None

    def _artifact_id(self, kind: str, sha256: str) -> int:
        return int(self._one("SELECT artifact_id FROM artifacts WHERE kind = ? AND sha256 = ?", kind, sha256))

    def _append(self, kind: str, now: datetime.datetime, body: dict[str, Any]) -> None:
        last = self.connection.execute("SELECT position, sha256 FROM entries ORDER BY position DESC LIMIT 1").fetchone()
        position, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
        entry = link(position, previous, kind, now.isoformat(timespec="microseconds"), body)
        self.connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?)", [entry.position, entry.kind, entry.sha256, entry.entry]
        )

    def first_fault(self) -> str | None:
        """What is wrong with the first thing in the ledger that does not hold; None if all of it holds.

        Checks the chain, every item's row against its digest, and each run's record and edges against those that its
        entry commits to.
        """
        fault = first_fault(self.entries()) or self._item_fault()
        if fault:
            return fault
        committed = {
            body["run"]: body for body in (json.loads(e.entry)["body"] for e in self.entries() if e.kind == "run")
        }
        for run_id, sha256, record in self.connection.execute(
            "SELECT run_id, sha256, record FROM runs ORDER BY run_id"
        ).fetchall():
            if (
                sha256 not in committed
                or digest(json.loads(record)) != sha256
                or committed[sha256]["record"] != json.loads(record)
            ):
                return f"run {sha256[:12]} is not the one that its entry commits to"
            if edges_root(self.edges(run_id)) != committed[sha256]["record"]["results"]["edges_root"]:
                return f"the edges of run {sha256[:12]} are not those that its entry commits to"
        missing = committed.keys() - {row[0] for row in self.connection.execute("SELECT sha256 FROM runs").fetchall()}
        return f"run {min(missing)[:12]} has an entry but no rows" if missing else None

    def _item_fault(self) -> str | None:
        said = {"training": ("id", "sha256", "rights_holder", "licence", "date"), "generated": ("id", "sha256")}
        for kind, names in said.items():
            for row_sha256, text, *columns in self.connection.execute(
                f"SELECT row_sha256, manifest_row, {', '.join(names)} FROM {kind}_items ORDER BY {kind}_id"
            ).fetchall():
                row = json.loads(text)
                as_loaded = [row[name][:10] if name == "date" else row[name] for name in names]
                if digest(row) != row_sha256 or [str(column) for column in columns] != as_loaded:
                    return f"the {kind} item {columns[0]} is not the one that was registered"
        return None

    def edges(self, run_id: int) -> pa.Table:
        """A run's edges with the columns of the Merkle tree's leaves, by generated row and rank."""
        return self.connection.execute(
            "SELECT g.row_sha256 AS generated_row_sha256, t.row_sha256 AS training_row_sha256, e.rank,"
            f" {', '.join(NUMBERS)} FROM edges e"
            " JOIN generated_items g USING (generated_id) JOIN training_items t USING (training_id)"
            " WHERE run_id = ? ORDER BY g.row_sha256, e.rank",
            [run_id],
        ).to_arrow_table()

    def prove(self, generated: str, training: str) -> dict[str, Any]:
        """The proof of the edge between two items (each its id, or the start of its SHA-256), in the run that speaks.

        Raises InputError unless there is exactly one such edge.
        """
        found = self.ask("edge", generated=generated, training=training)
        if not found:
            raise InputError(
                f"The ledger has no edges between {generated!r} and {training!r}; see those of a generated item with `mucs why`."
            )
        if len(found) > 1:
            raise InputError(
                f"The ledger has {len(found)} edges between items called {generated!r} and {training!r}; name them by the start of their SHA-256."
            )
        (edge,) = found
        edges = self.edges(edge["run_id"])
        index = next(
            k
            for k, ends in enumerate(
                zip(edges["generated_row_sha256"].to_pylist(), edges["training_row_sha256"].to_pylist(), strict=True)
            )
            if ends == (edge["generated_row_sha256"], edge["training_row_sha256"])
        )
        return make_proof(edges, index, json.loads(edge["generated"]), json.loads(edge["training"]), edge["run"])
