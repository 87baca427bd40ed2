"""Every table × column × kind of change, and every definition of the catalogue, altered one at a time: what is not found?

`pytest tests/mucs/ledger/test_tampering.py -s` lists the alterations that verification does not find, of how many.
"""

import datetime
import json
from decimal import Decimal

import duckdb
import pytest

from mucs.ledger import Ledger, catalogue, first_fault
from mucs.ledger.ledger import connect
from mucs.ledger.rights import Right, record_derivation, record_rights, withdraw
from mucs.royalties.dispute import move_dispute, open_dispute
from tests.mucs.ledger.test_ledger import TRAINING
from tests.mucs.royalties.test_statement import USAGE, World

pytestmark = pytest.mark.heavy

# What is not found, and why it need not be: numbers are the file's own, and these two items have the same edges and outcomes.
NOT_FOUND = {"generated_items.generated_id: two rows swapped"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A ledger with something in every table, in which every column that may be null has a value somewhere."""
    world = World(tmp_path_factory.mktemp("world"))
    first = world.issue()
    world.load("b")
    world.issue(usage=USAGE.replace("300", "200"))
    rights = [
        Right(2, TRAINING[0]["sha256"], "Ada", "CC0", "granted", ["training", "output"], "2024-01-01", "2026-12-01"),
        Right(3, TRAINING[1]["sha256"], "Ben", "CC0", "opted out", None, "2025-01-01", None),
    ]
    with Ledger.open(world.path, read_only=False) as ledger:
        assert record_rights(ledger, rights)
        assert record_derivation(ledger, "c" * 64, "d" * 64)
        assert record_derivation(ledger, "d" * 64, "e" * 64)
        number, _ = open_dispute(ledger, first.sha256, "Ada", "more of it is mine")
        move_dispute(ledger, number, "under review", "looked at")
        move_dispute(ledger, number, "upheld", "so it is", "7.00")
    world.issue("2026-11")
    with Ledger.open(world.path, read_only=False) as ledger:
        runs = [row["sha256"] for row in ledger.rows("SELECT sha256 FROM runs ORDER BY run_id")]
        assert withdraw(ledger, runs[0], "wrong batch")
    return world.path


def another(value):
    """A value of the same kind that says something else."""
    match value:
        case bool():
            return not value
        case int() | Decimal() | float():
            return value + 1
        case datetime.datetime() | datetime.date():
            return value - datetime.timedelta(days=1)
        case list():
            return [*value, "more"]
        case str() if value[:1] in "{[":
            return json.dumps(otherwise(json.loads(value)))
        case str() if value:
            return ("1" if value[0] != "1" else "2") + value[1:]
        case _:
            return "1"


def otherwise(content):
    """JSON in which the first value that can be is another."""
    if isinstance(content, dict):
        key = next((k for k in sorted(content) if content[k] not in ({}, [])), None)
        return {"more": 1} if key is None else {**content, key: otherwise(content[key])}
    if isinstance(content, list):
        return [otherwise(content[0]), *content[1:]] if content else [1]
    return another(content) if content is not None else 1


def columns(ledger):
    """(table, column, whether it may be null) of the file, but for what is computed from the others."""
    found = ledger.rows(
        "SELECT table_name, column_name, is_nullable FROM duckdb_columns() WHERE database_name = 'file' AND NOT internal"
        " AND (table_name, column_name) <> ('edges', 'decoy_p_value') AND table_name IN"
        " (SELECT table_name FROM duckdb_tables() WHERE database_name = 'file') ORDER BY ALL"
    )
    return [(row["table_name"], row["column_name"], row["is_nullable"]) for row in found]


def changes_of_values(ledger):
    """(what it is, SQL, its parameters) of each change of a value: of the first row, to null, and of two rows swapped."""
    for table, column, nullable in columns(ledger):
        rows = ledger.connection.execute(f"SELECT rowid, {column} FROM file.{table} ORDER BY rowid").fetchall()
        known = [row for row in rows if row[1] is not None]
        update = f"UPDATE file.{table} SET {column} = ? WHERE rowid = ?"
        empty = [row for row in rows if row[1] is None]
        if empty:
            yield f"{table}.{column}: a value where there was none", update, [known[0][1] if known else 0, empty[0][0]]
        if not known:
            continue
        yield f"{table}.{column}: another value in the first row", update, [another(known[0][1]), known[0][0]]
        if nullable:
            yield f"{table}.{column}: null", update, [None, known[0][0]]
        other = next((row for row in known if row[1] != known[0][1]), None)
        if other:
            swap = f"UPDATE file.{table} SET {column} = CASE rowid WHEN $a THEN $of_b ELSE $of_a END WHERE rowid IN ($a, $b)"
            given = {"a": known[0][0], "of_a": known[0][1], "b": other[0], "of_b": other[1]}
            yield f"{table}.{column}: two rows swapped", swap, given


def changes_of_last_values(ledger):
    """The same for another value in the last row."""
    for table, column, _ in columns(ledger):
        row, value = ledger.connection.execute(
            f"SELECT rowid, {column} FROM file.{table} ORDER BY rowid DESC"
        ).fetchone()
        if value is not None:
            update = f"UPDATE file.{table} SET {column} = ? WHERE rowid = ?"
            yield f"{table}.{column}: another value in the last row", update, [another(value), row]


def changes_of_rows(ledger):
    """The same for whole rows: one less, one twice, one more that is like another but for its first column."""
    for table in sorted({table for table, *_ in columns(ledger)}):
        names = [column for t, column, _ in columns(ledger) if t == table]
        listed = ", ".join(names)
        for place, which in {"first": "min", "last": "max"}.items():
            one = f"(SELECT {which}(rowid) FROM file.{table})"
            yield f"{table}: without its {place} row", f"DELETE FROM file.{table} WHERE rowid = {one}", []
            twice = f"INSERT INTO file.{table} ({listed}) SELECT {listed} FROM file.{table} WHERE rowid = {one}"
            yield f"{table}: its {place} row twice", twice, []
            for name in names:
                found = ledger.one(f"SELECT {name} FROM file.{table} WHERE rowid = {one}")
                if found is not None:
                    like = ", ".join("?" if n == name else n for n in names)
                    more = f"INSERT INTO file.{table} ({listed}) SELECT {like} FROM file.{table} WHERE rowid = {one}"
                    yield f"{table}: one more row, like the {place} but for {name}", more, [another(found)]


def changes_of_definitions():
    """Each view and macro gone, and each emptied or made to lie; each table with a column more, less, or renamed."""
    for kind, name in catalogue.expected():
        match kind:
            case "table":
                yield f"{name}: a column more", f"ALTER TABLE file.{name} ADD COLUMN more INTEGER"
                yield f"{name}: renamed", f"ALTER TABLE file.{name} RENAME TO other"
            case "view":
                yield f"{name}: gone", f"DROP VIEW file.{name}"
                yield f"{name}: empty", f"CREATE OR REPLACE VIEW file.{name} AS SELECT 1 AS x WHERE false"
            case "macro":
                yield f"{name}: gone", f"DROP MACRO file.{name}"
                yield f"{name}: another", f"CREATE OR REPLACE MACRO file.{name}(id, sha256, name) AS true"
            case _:
                yield f"{name}: gone", f"DROP MACRO TABLE file.{name}"
                yield f"{name}: another", f"CREATE OR REPLACE MACRO file.{name}(as_of) AS TABLE SELECT 1 AS x"
    for name in ("sha256", "max", "sum", "round", "starts_with", "json_extract_string"):
        yield f"a macro {name}", f"CREATE MACRO file.{name}(x) AS 1"


def differs(ledger) -> bool:
    """Whether a row of any table is another than in the original: two rows that are alike can be swapped."""
    for table in {table for table, *_ in columns(ledger)}:
        for one, other in (("file", "original"), ("original", "file")):
            if ledger.rows(f"FROM {one}.main.{table} EXCEPT ALL FROM {other}.main.{table} LIMIT 1"):
                return True
    return False


def missed(path, changes) -> tuple[list[str], int]:
    """Those changes that are not found, each made alone and taken back, and how many there were; refused ones do not count."""
    found, count = [], 0
    original = path.with_name("original.duckdb")
    original.write_bytes(path.read_bytes())
    connection = connect(path, read_only=False)
    connection.execute(f"ATTACH '{original}' AS original (READ_ONLY)")
    with Ledger(connection, path) as ledger:
        assert first_fault(ledger) is None
        for what, sql, *given in list(changes(ledger)):
            connection.begin()
            try:
                connection.execute(sql, *given)
            except (duckdb.ConstraintException, duckdb.DependencyException, duckdb.CatalogException):
                connection.rollback()  # by a key, say
                continue
            if first_fault(ledger) is not None:
                count += 1
            elif differs(ledger):
                count += 1
                found.append(what)
            connection.rollback()
        assert first_fault(ledger) is None
    print(f"\n{len(found)} of {count} alterations are not found", *found, sep="\n  ")
    return found, count


def test_no_altered_value_goes_unnoticed(path):
    found, count = missed(path, changes_of_values)
    assert count > 150
    assert set(found) == NOT_FOUND


@pytest.mark.slow
def test_no_row_more_or_less_goes_unnoticed(path):
    found, count = missed(path, lambda ledger: [*changes_of_last_values(ledger), *changes_of_rows(ledger)])
    assert count > 150
    assert found == []


def test_no_other_definition_goes_unnoticed(path):
    found, count = missed(path, lambda ledger: changes_of_definitions())
    assert count > 50
    assert found == []
