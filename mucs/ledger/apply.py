"""Applying: what each kind of entry of a log becomes in the tables. The same entries give the same rows, anywhere and at any time."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.evidence.chain import VERSION, Entry
from mucs.evidence.edges import DECIMALS
from mucs.evidence.entries import objects_by_run
from mucs.evidence.layout import sent_object
from mucs.evidence.log import Broken, Log
from mucs.evidence.outcome import LATER, OUTCOME
from mucs.evidence.pseudonyms import PSEUDONYM, Pseudonyms
from mucs.evidence.thumbnails import thumbnail_images
from mucs.ledger.lake import FILE, literal
from mucs.ledger.members import members_sha256
from mucs.parse import load_json

RIGHTS = pa.schema(
    [
        ("line", pa.int32()),
        *((name, pa.string()) for name in ("sha256", "rights_holder", "licence", "standing")),
        ("uses", pa.list_(pa.string())),
        ("valid_from", pa.string()),
        ("valid_to", pa.string()),
        ("cap", pa.string()),
        ("source", pa.string()),
    ]
)
PROVISIONAL = pa.schema(
    [
        ("position", pa.int64()),
        ("rank", pa.int32()),
        *((name, pa.string()) for name in ("row_sha256", "training", "sha256")),
        *((name, pa.float64()) for name in ("likeness", "predicted", "low", "high", "among_best")),
    ]
)
LINE = (
    "right_type",
    "holder",
    "basis",
    "items",
    "units",
    "score_mass",
    "score_error",
    "share",
    "gross",
    "deducted",
    "net",
)
# Characters of a text from which its row goes into a file. DuckLake puts a few rows into its catalogue, where it keeps the greatest
# and least text of a column as well, and every question reads those: with a statement of 10 MB, each took a second more.
LONG = 10_000
# What the gate passes comes back from this as it was published, and the Merkle root holds it to that.
STORED = {name: f"e.{name}::DOUBLE::DECIMAL(18, {digits})" for name, digits in DECIMALS.items()}
# the versions of items that the training set of a run has
MEMBERS = f"""SELECT training_id, row_sha256 FROM {FILE}.training_items WHERE training_id IN (
    SELECT training_id FROM {FILE}.members WHERE training_set_id = (SELECT training_set_id FROM {FILE}.runs WHERE run_id = $run)
)"""
EDGES = f"""INSERT INTO {FILE}.edges (run_id, generated_id, training_id, rank, {", ".join(STORED)})
SELECT $run, g.number, t.training_id, e.rank, {", ".join(STORED.values())}
FROM read_parquet($edges) e
JOIN generated g ON g.row_sha256 = e.generated_row_sha256
JOIN ({MEMBERS}) t ON t.row_sha256 = e.training_row_sha256"""
# of each generated item, the smallest p-value among its ten best edges: against decoys where there are such
BEST = """SELECT generated_row_sha256 AS row_sha256, coalesce(min(decoy_p_value), min(p_value))::DOUBLE::DECIMAL(18, 6) AS best_p_value
FROM read_parquet($edges) WHERE rank <= 10 GROUP BY ALL"""
UNSEEN = f"""INSERT INTO {FILE}.unseen_edges (run_id, generated_id, held_out, sha256, rank, {", ".join(STORED)})
SELECT $run, g.number, e.held_out, e.held_out_sha256, e.rank, {", ".join(STORED.values())}
FROM read_parquet($edges) e JOIN generated g ON g.row_sha256 = e.generated_row_sha256"""


class Applying:
    """Applies the entries of a log, one after the other, within a transaction of a ledger whose rows come in order.

    Args:
        connection: The ledger is attached to it.
        log: Theirs.
        entries: All that will be applied.
        edges: Whether the edges of runs are to be there, and not only what is told of them with their items.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, log: Log, entries: Sequence[Entry], edges: bool = True
    ) -> None:
        self.connection = connection
        self.edges = edges
        self.log = log
        self.brought = objects_by_run(entry for entry in entries if entry.kind == "import")
        self.kinds: dict[str, Callable[[Entry], None]] = {
            "run": self._run,
            "validation": self._validation,
            "import": self._import,
            "rights": self._rights,
            "derivation": self._derivation,
            "withdrawal": self._withdrawal,
            "usage": self._usage,
            "statement": self._statement,
            "dispute": self._dispute,
            "erasure": self._erasure,
            "access": self._access,
            "index": self._index,
            "provisional": self._provisional,
        }
        self.pseudonyms = Pseudonyms(log.store)
        self._waiting: list[list[Any]] = []  # entries whose own rows are to be added

    @cached_property
    def _artifacts(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """Number, files and bytes of each artifact, by kind and SHA-256."""
        found = self.connection.execute(
            f"SELECT kind, sha256, artifact_id, files, bytes FROM {FILE}.artifacts"
        ).fetchall()
        return {(kind, sha256): (number, files, size) for kind, sha256, number, files, size in found}

    @cached_property
    def _runs(self) -> dict[str, int]:
        """Number of each run, by SHA-256."""
        return dict(self.connection.execute(f"SELECT sha256, run_id FROM {FILE}.runs").fetchall())

    @cached_property
    def _manifests(self) -> set[tuple[str, str, str]]:
        """Training set, its manifest and its members, each by SHA-256, of the runs that are there."""
        found = self.connection.execute(
            f"""SELECT a.sha256, entry->>'$.body.objects.training', entry->>'$.body.members'
            FROM {FILE}.entries e JOIN {FILE}.runs r ON r.sha256 = (entry->>'$.body.run')
            JOIN {FILE}.artifacts a ON a.artifact_id = r.training_set_id WHERE e.kind = 'run'"""
        ).fetchall()
        return {(one, other, third) for one, other, third in found}

    @cached_property
    def _sets(self) -> set[int]:
        """Numbers of the training sets whose members are there."""
        return {
            row[0] for row in self.connection.execute(f"SELECT DISTINCT training_set_id FROM {FILE}.runs").fetchall()
        }

    def apply(self, entry: Entry) -> None:
        """Add the rows of an entry.

        Raises:
            Broken: If the entry, or an object that it commits to, is not of the form that such entries have.
            InputError: If its kind is not known.
        """
        apply = self.kinds.get(entry.kind)
        if apply is None or entry.version > VERSION:
            raise InputError(
                f"Entry {entry.position} of the log {self.log.place} is of a kind that this program does not know"
                f" ({entry.kind!r}, version {entry.version}); use a later version of mucs."
            )
        try:
            apply(entry)
            if "by" in entry.body:
                self._by(entry)
        except (
            LookupError,
            TypeError,
            AttributeError,
            ValueError,
            ArithmeticError,
            duckdb.DataError,
            duckdb.IntegrityError,
        ) as error:
            if isinstance(error, InputError):
                raise
            raise Broken(
                f"Entry {entry.position} ({entry.kind}) of the log {self.log.place} cannot be applied"
                f" ({type(error).__name__}: {error}); nothing of it was."
            ) from error
        self._waiting.append([entry.position, entry.kind, entry.sha256, entry.entry])

    def finish(self) -> None:
        """Add what is added for all entries at once."""
        self._insert("entries", ["position", "kind", "sha256", "entry"], self._waiting)
        self._waiting = []

    def _one(self, sql: str, *parameters: Any) -> Any:
        found = self.connection.execute(sql, list(parameters)).fetchone()
        return found[0] if found else None

    def _insert(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]], select: str = "*") -> None:
        """Rows of texts and numbers, which DuckDB makes what the table wants."""
        if not rows:
            return
        columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
        self._insert_table(table, pa.table(columns), select)

    def _add_row(self, table: str, *values: Any) -> None:
        """One row, in a file if a text in it is long."""
        is_long = any(isinstance(value, str) and len(value) > LONG for value in values)
        if is_long:
            self.connection.execute("SET ducklake_default_data_inlining_row_limit = 0")
        try:
            places = ", ".join("?" * len(values))
            self.connection.execute(f"INSERT INTO {FILE}.{table} VALUES ({places})", list(values))
        finally:
            if is_long:
                self.connection.execute("RESET ducklake_default_data_inlining_row_limit")

    def _insert_table(self, table: str, rows: pa.Table, select: str = "*", rest: str = "") -> None:
        with self._relation("applied", rows):
            self.connection.execute(f"INSERT INTO {FILE}.{table} SELECT {select} FROM applied {rest}")

    @contextmanager
    def _relation(self, name: str, rows: pa.Table) -> Iterator[None]:
        """Rows under a name that queries may use within the block."""
        self.connection.register(name, rows)
        try:
            yield
        finally:
            self.connection.unregister(name)

    # runs

    def _run(self, entry: Entry) -> None:
        body = entry.body
        sha256 = body["run"]
        if sha256 in self._runs:
            raise Broken(f"Entry {entry.position} brings run {sha256[:12]} a second time; nothing of it was applied.")
        if entry.version == 1:
            record, objects = body["record"], self.brought.get(sha256)
            if objects is None:
                raise Broken(
                    f"Entry {entry.position} of the log {self.log.place} is of before there was a log, and the entry that brings"
                    " its objects is missing; bring the old ledger over again with `mucs rebuild --from`."
                )
        else:
            objects = body["objects"]
            record = load_json(self.log.object(sha256))
        if digest(record) != sha256 or (entry.version > 1 and not _are_of(objects, record)):
            raise Broken(f"The record of run {sha256[:12]} is not the one that entry {entry.position} commits to.")
        self._add_artifacts(entry)
        with ExitStack() as stack:
            manifest = (record["inputs"]["training_set"]["sha256"], objects["training"], body["members"])
            if manifest not in self._manifests:
                self._training(entry, record, stack.enter_context(self.log.file(objects["training"])))
                self._manifests.add(manifest)
            generated, edges = (stack.enter_context(self.log.file(objects[name])) for name in ("generated", "edges"))
            unseen = objects.get("unseen_edges") and stack.enter_context(self.log.file(objects["unseen_edges"]))
            numbers = self._items(
                "generated",
                generated,
                entry.at,
                ["said->>'id'", "said->>'sha256'"],
                "read_parquet($manifest, file_row_number = true)",
            )
            run_id = self._run_row(entry, record)
            with self._relation("generated", numbers):
                self._outcomes(run_id, record, edges)
                if self.edges:
                    self._edges(run_id, edges, record)
                if unseen:
                    self._unseen(run_id, unseen)
        if entry.version > 1:
            self._gates(run_id, load_json(self.log.object(objects["validations"])))
        if entry.version > 2:
            self._thumbnails(body["thumbnails"])

    def _add_artifacts(self, entry: Entry) -> None:
        """Artifacts that are new, numbered in order."""
        new = []
        for a in entry.body["artifacts"]:
            key, said = (a["kind"], a["sha256"]), (a["files"], a["bytes"])
            known = self._artifacts.get(key)
            if known is None:
                self._artifacts[key] = (len(self._artifacts) + 1, *said)
                new.append([len(self._artifacts), *key, *said])
            elif known[1:] != said:
                raise Broken(
                    f"Entry {entry.position} says another size of the {key[0]} {key[1][:12]} than one before it."
                )
        self._insert("artifacts", ["artifact_id", "kind", "sha256", "files", "bytes"], new)

    def _training(self, entry: Entry, record: Mapping[str, Any], manifest: Path) -> None:
        """The items and members of a training set that no run before had."""
        # rows of version 1 have the name of their rights holder in them
        holder = "said::JSON->>'rights_holder'" if entry.version == 1 else "holder"
        rows = f"FROM read_parquet('{literal(str(manifest))}')"
        of_members = "row_sha256" if entry.version == 1 else "row_sha256 || holder AS row_sha256"
        if members_sha256(self.connection, f"SELECT {of_members} {rows}") != entry.body["members"]:
            raise Broken(
                f"The training set of run {entry.body['run'][:12]} is not the one that entry {entry.position} commits to."
            )
        training_set, *_ = self._artifacts["training_set", record["inputs"]["training_set"]["sha256"]]
        if training_set in self._sets:
            return
        self._sets.add(training_set)
        found = self.connection.execute(f"SELECT DISTINCT {holder} {rows}").fetchall()
        names = self.pseudonyms.names(row[0] for row in found)
        columns = {"pseudonym": list(names), "name": list(names.values())}
        with self._relation("holders", pa.table(columns, pa.schema([(c, pa.string()) for c in columns]))):
            self._items(
                "training",
                manifest,
                entry.at,
                ["said->>'id'", "said->>'sha256'", "rights_holder", "said->>'licence'", "(said->>'date')[:10]::DATE"],
                f"""(SELECT file_row_number, said, row_sha256, name AS rights_holder
                    FROM read_parquet($manifest, file_row_number = true) JOIN holders ON pseudonym = ({holder}))""",
                "row_sha256, rights_holder",
            )
            self.connection.execute(
                f"INSERT INTO {FILE}.members SELECT $set, training_id FROM read_parquet($manifest)"
                f" JOIN holders ON pseudonym = ({holder})"
                f" JOIN {FILE}.training_items t USING (row_sha256) WHERE t.rights_holder = name ORDER BY training_id",
                {"set": training_set, "manifest": str(manifest)},
            )

    def _items(
        self,
        kind: str,
        manifest: Path,
        at: datetime.datetime,
        values: Sequence[str],
        rows: str,
        key: str = "row_sha256",
    ) -> pa.Table:
        """Versions of items that are new, in the order of the manifest.

        Args:
            kind: training or generated.
            manifest: Its rows.
            at: When they were said.
            values: SQL of the columns behind `row_sha256`.
            rows: SQL of the rows, with their place.
            key: What tells versions apart.

        Returns:
            `row_sha256` and `number` of each row, new or not.
        """
        doubled = self._one("SELECT count(*) - count(DISTINCT row_sha256) FROM read_parquet(?)", str(manifest))
        if doubled:
            raise InputError(f"The {kind} items have a row twice; leave one out, and publish the run again.")
        last = self._one(f"SELECT coalesce(max({kind}_id), 0) FROM {FILE}.{kind}_items")
        # the table, which grows for years, is gone through once, and only what the manifest names of it is held
        known = f"SELECT {key}, {kind}_id AS known FROM {FILE}.{kind}_items SEMI JOIN {rows} USING ({key})"
        numbered = self.connection.execute(
            f"""SELECT file_row_number, row_sha256, known IS NULL AS is_new,
                coalesce(known, {last} + row_number() OVER (PARTITION BY known IS NULL ORDER BY file_row_number))::INTEGER AS number
            FROM {rows} LEFT JOIN ({known}) USING ({key})""",
            {"manifest": str(manifest)},
        ).to_arrow_table()
        with self._relation("numbered", numbered):
            self.connection.execute(
                f"""INSERT INTO {FILE}.{kind}_items
                SELECT number, CASE WHEN sha256(said::VARCHAR) = row_sha256 THEN row_sha256 END, {", ".join(values)}, said, $at
                FROM (SELECT * REPLACE (said::JSON AS said) FROM {rows}) JOIN numbered USING (file_row_number, row_sha256)
                WHERE is_new ORDER BY file_row_number""",
                {"at": at, "manifest": str(manifest)},
            )
        return numbered.select(["row_sha256", "number"])

    def _artifact_id(self, kind: str, given: Mapping[str, Any] | None) -> int | None:
        if given is None:
            return None
        return self._artifacts[kind, given["sha256"]][0]

    def _run_row(self, entry: Entry, record: Mapping[str, Any]) -> int:
        run_id = self._runs[entry.body["run"]] = len(self._runs) + 1
        inputs = {**record["inputs"], "calibration": record["calibration"]}
        of_inputs = [
            self._artifact_id(kind, inputs.get(kind))
            for kind in ("checkpoint", "training_set", "held_out", "calibration", "batch")
        ]
        self._add_row(
            "runs",
            *(run_id, entry.body["run"], record["method"], *of_inputs, digest(record["settings"])),
            record.get("code", {}).get("method_sha256"),
            *(entry.body.get("location"), entry.at, canonical(record).decode()),
        )
        return run_id

    def _outcomes(self, run_id: int, record: Mapping[str, Any], edges: Path) -> None:
        attributions = record["results"]["attributions"]
        columns = {
            name: [item.get(name) if name in LATER else item[name] for item in attributions]
            for name in ("row_sha256", *OUTCOME.names)
        }
        for name in ("recall", "missed"):
            columns[name] = [told and json.dumps(told) for told in columns[name]]
        names = ", ".join(f"applied.{name}" for name in OUTCOME.names)
        with _reading(edges):
            best = self.connection.execute(BEST, {"edges": str(edges)}).to_arrow_table()
        with self._relation("best", best):
            self._insert_table(
                "attributions",
                pa.table(columns, pa.schema([("row_sha256", pa.string()), *OUTCOME])),
                f"{run_id}, number, {names}, best_p_value",
                "JOIN generated USING (row_sha256) LEFT JOIN best USING (row_sha256) ORDER BY number",
            )

    def _edges(self, run_id: int, path: Path, record: Mapping[str, Any]) -> None:
        """The edges, in the order of the file; counted, and checked for doubles."""
        with _reading(path):
            self.connection.execute(EDGES, {"run": run_id, "edges": str(path)})
        # a bit for each training item that a generated one names: cheaper than a hash table of pairs
        last = self._one(f"SELECT max(training_id) FROM {FILE}.training_items")
        loaded, doubled = self.connection.execute(
            f"""SELECT coalesce(sum(n), 0)::BIGINT, coalesce(bool_or(n <> bit_count(named)), false) FROM (
                SELECT count(*) AS n, bitstring_agg(training_id, 1, {last}) AS named
                FROM {FILE}.edges WHERE run_id = ? GROUP BY generated_id)""",
            [run_id],
        ).fetchone() or (0, False)
        expected = record["results"]["edges"]
        if loaded != expected:
            raise InputError(
                f"{path} should have {expected} edges, of which {loaded} are between items of the manifests; publish the run again."
            )
        if doubled:
            raise InputError(f"{path} names a pair of items twice; publish the run again.")

    def _unseen(self, run_id: int, path: Path) -> None:
        """The unseen edges, in the order of the file; counted."""
        with _reading(path):
            ((loaded,),) = self.connection.execute(UNSEEN, {"run": run_id, "edges": str(path)}).fetchall()
            expected = self._one("SELECT count(*) FROM read_parquet(?)", str(path))
        if loaded != expected:
            raise InputError(
                f"{path} has {expected} unseen edges, of which {loaded} are of items of the manifest; publish the run again."
            )

    def _gates(self, run_id: int, results: Sequence[Mapping[str, Any]]) -> None:
        self._insert(
            "validations",
            ["run_id", "suite", "success", "sha256", "result"],
            [[run_id, r["suite"], r["success"], digest(r), canonical(r).decode()] for r in results],
        )

    def _thumbnails(self, objects: Sequence[str]) -> None:
        """Which object has the thumbnail of which image: of several, the first."""
        images = [thumbnail_images(self.log, sha256) for sha256 in objects]
        places = pa.array([place for place, found in enumerate(images) for _ in found], pa.int32())
        named = pa.array(objects, pa.string()).take(places)
        self._insert_table(
            "thumbnails",
            pa.table({"image_sha256": pa.chunked_array(images, pa.string()), "object": named, "place": places}),
            "image_sha256, arg_min(object, place)",
            f"ANTI JOIN (SELECT image_sha256 FROM {FILE}.thumbnails SEMI JOIN applied USING (image_sha256)) USING (image_sha256)"
            " GROUP BY image_sha256 ORDER BY image_sha256",
        )

    def _validation(self, entry: Entry) -> None:
        """A gate's result, as ledgers told it before there was a log."""
        self._gates(self._runs[entry.body["run"]], [load_json(self.log.object(entry.body["result"]))])

    def _import(self, entry: Entry) -> None:
        """The objects of the entries before it, which were read ahead."""

    # what is said of items and runs from outside

    def _rights(self, entry: Entry) -> None:
        said = load_json(self.log.object(entry.body["sha256"]))
        names = self.pseudonyms.names(row["rights_holder"] for row in said)
        rows = pa.Table.from_pylist([row | {"rights_holder": names[row["rights_holder"]]} for row in said], RIGHTS)
        self._insert_table(
            "rights",
            rows,
            f"{entry.position}, line, sha256, rights_holder, licence, standing, uses, valid_from::DATE, valid_to::DATE,"
            f" cap, source, '{entry.at.isoformat()}'::TIMESTAMPTZ",
        )

    def _derivation(self, entry: Entry) -> None:
        self._add_row("derivations", entry.position, entry.body["child"], entry.body["parent"], entry.at)

    def _withdrawal(self, entry: Entry) -> None:
        self._add_row("withdrawals", entry.position, self._runs[entry.body["run"]], entry.body["reason"], entry.at)

    # royalties

    def _usage(self, entry: Entry) -> None:
        sha256 = entry.body["usage"]
        self._add_row("usage_reports", entry.position, sha256, self.log.object(sha256).decode(), entry.at)

    def _statement(self, entry: Entry) -> None:
        sha256 = entry.body["sha256"]
        said = self.log.object(sha256).decode()
        text = self.pseudonyms.in_json(said)
        content = load_json(text)
        header = content["header"]
        self._add_row(
            "statements",
            *(entry.position, sha256, header["contract"]["id"]),
            *(header["period"]["start"][:10], header["period"]["end"][:10]),
            *(header["version"], header["supersedes"], header["currency"], said, text, entry.at),
        )
        lines = list(enumerate(content["lines"], start=1))
        pots = header["pots"]
        self._insert(
            "lines",
            ["position", "line", *LINE, "pot"],
            [[entry.position, k, *(line[name] for name in LINE), pots[line["right_type"]]] for k, line in lines],
            "position, line, right_type, holder, basis, items, units, score_mass, score_error, share, pot, gross, deducted, net",
        )
        self._insert(
            "works",
            ["position", "line", "sha256", "id", "share"],
            [[entry.position, k, w["sha256"], w["id"], w["share"]] for k, line in lines for w in line["works"]],
        )

    def _dispute(self, entry: Entry) -> None:
        body = entry.body
        number = entry.position if body["dispute"] is None else body["dispute"]
        self._add_row(
            "dispute_steps",
            *(entry.position, number, body["statement"], self.pseudonyms.name(body["rights_holder"])),
            *(body["state"], body["reason"], None if body["amount"] is None else Decimal(body["amount"]), entry.at),
        )

    def _erasure(self, entry: Entry) -> None:
        """A name that nobody knows any more: ledgers are made anew, for files that have it must go (`Ledger.sync`)."""

    # what is provisional

    def _index(self, entry: Entry) -> None:
        body, of = entry.body, entry.body["of"]
        self._add_row(
            "indexes",
            *(entry.position, body["index"], of["checkpoint"], of["training_set"], of["settings"], of["method_sha256"]),
            *(body["pictures"], body["spearman"], entry.at),
        )

    def _provisional(self, entry: Entry) -> None:
        body, asked = entry.body, entry.body["generated"]
        self._add_row(
            "provisional_answers",
            *(entry.position, body["index"], asked["row_sha256"], asked["id"], asked["sha256"], entry.at),
        )
        rows = [{"position": entry.position, **row} for row in load_json(self.log.object(body["edges"]))]
        self._insert_table("provisional_edges", pa.Table.from_pylist(rows, PROVISIONAL))

    # who did so through the explorer

    def _access(self, entry: Entry) -> None:
        """Something that was taken out, which changes nothing."""

    def _by(self, entry: Entry) -> None:
        by, told = entry.body["by"], entry.body if entry.kind == "access" else {}
        address = told.get("address")
        self._add_row(
            "accesses",
            *(entry.position, self.pseudonyms.name(by["who"]), by["role"], told.get("what", entry.kind)),
            None if address is None else PSEUDONYM.sub(lambda found: self.pseudonyms.name(found[0]), address),
            *(told.get("as_of"), told.get("position"), told.get("sha256"), entry.at),
        )


@contextmanager
def _reading(edges: Path) -> Iterator[None]:
    """Say what is wrong with a file of edges that a query cannot read."""
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException):
        raise InputError(f"{edges} cannot be read as edges; publish the run again.") from None
    except duckdb.ConversionException:
        raise InputError(f"{edges} has numbers that are not finite, or too large; publish the run again.") from None


def _are_of(objects: Mapping[str, str], record: Mapping[str, Any]) -> bool:
    """Whether the objects of a run's entry are those that its record names."""
    calibration, results = record["calibration"], record["results"]
    named = {
        "edges": results["edges_sha256"],
        "unseen_edges": results.get("unseen_edges_sha256"),
        "noise_bank": record["noise_bank"],
        "calibration": calibration and calibration["sha256"],
        "batch": sent_object(record["inputs"]["batch"]["path"]),
    }
    return all(objects.get(name) == sha256 for name, sha256 in named.items())
