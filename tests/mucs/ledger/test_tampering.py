"""Every table × column × kind of change, altered one at a time: the digest of the table is another."""

import datetime
import json
from decimal import Decimal

import pytest

from mucs.ledger import Ledger
from mucs.ledger.lake import Lake
from mucs.ledger.ledger import Said
from mucs.ledger.rights import Right, say_derivation, say_rights, withdraw
from mucs.ledger.tables import NAMES, table_digests
from mucs.royalties.dispute import move_dispute, open_dispute
from tests.factories import estimate, fault
from tests.mucs.ledger.test_ledger import TRAINING
from tests.mucs.royalties.test_statement import USAGE, World

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A ledger with something in every table, in which every column that may be null has a value somewhere."""
    rights = [
        Right(2, TRAINING[0]["sha256"], "Ada", "CC0", "granted", ["training", "output"], "2024-01-01", "2026-12-01"),
        Right(3, TRAINING[1]["sha256"], "Ben", "CC0", "opted out", None, "2025-01-01", None),
    ]
    with World(tmp_path_factory.mktemp("world")) as world:
        world.load(unseen=((0.2, -0.1), (-0.1, -0.2)))
        first = world.issue()
        world.load("b")
        world.issue(usage=USAGE.replace("300", "200"))
        assert say_rights(world.ledger, rights)
        assert say_derivation(world.ledger, "c" * 64, "d" * 64)
        assert say_derivation(world.ledger, "d" * 64, "e" * 64)
        number, _ = open_dispute(world.ledger, first.sha256, "Ada", "more of it is mine")
        move_dispute(world.ledger, number, "under review", "looked at")
        move_dispute(world.ledger, number, "upheld", "so it is", "7.00")
        world.issue("2026-11")
        assert withdraw(world.ledger, world.ledger.one("SELECT sha256 FROM runs WHERE run_id = 1"), "wrong batch")
        world.ledger.by = {"who": "Ann", "role": "analyst"}
        taken = {
            "what": "csv",
            "address": "/runs.csv",
            "as_of": "2026-11-01T00:00:00+00:00",
            "position": 9,
            "sha256": "f" * 64,
        }
        assert world.ledger.say(lambda _: Said("access", taken))
        estimate(world.path, {"id": "sent", "sha256": "f" * 64})
    assert fault(world.path) is None
    with Ledger.open(world.path) as ledger:
        assert [name for name in NAMES if not ledger.one(f"SELECT count(*) FROM {name}")] == []
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
            return json.dumps([value])
        case str() if value:
            return ("1" if value[0] != "1" else "2") + value[1:]
        case _:
            return "1"


def changes(connection, table):
    """(what it is, SQL, its parameters) of each change of a table: values, nulls, rows swapped, one row more and one less."""
    columns = connection.execute(
        "SELECT column_name, is_nullable FROM duckdb_columns() WHERE database_name = 'file' AND table_name = ?", [table]
    ).fetchall()
    for column, nullable in columns:
        rows = connection.execute(f"SELECT rowid, {column} FROM file.{table} ORDER BY rowid").fetchall()
        known = [row for row in rows if row[1] is not None]
        update = f"UPDATE file.{table} SET {column} = ? WHERE rowid = ?"
        if not known:
            continue
        yield f"{column}: another value in the first row", update, [another(known[0][1]), known[0][0]]
        if nullable:
            yield f"{column}: null", update, [None, known[0][0]]
        other = next((row for row in known if row[1] != known[0][1]), None)
        if other and len(columns) > 1:
            swap = f"UPDATE file.{table} SET {column} = CASE rowid WHEN $a THEN $of_b ELSE $of_a END WHERE rowid IN ($a, $b)"
            given = {"a": known[0][0], "of_a": known[0][1], "b": other[0], "of_b": other[1]}
            yield f"{column}: two rows swapped", swap, given
    one = f"(SELECT min(rowid) FROM file.{table})"
    yield "one row less", f"DELETE FROM file.{table} WHERE rowid = {one}", []
    yield "one row twice", f"INSERT INTO file.{table} FROM file.{table} WHERE rowid = {one}", []


@pytest.mark.parametrize("table", NAMES)
def test_no_altered_value_and_no_row_more_or_less_leaves_the_digest_as_it_was(path, table):
    lake = Lake.at(path)
    with lake.connect() as connection:
        lake.attach(connection, read_only=False)

        def rows():
            return sorted(map(repr, connection.execute(f"FROM file.{table}").fetchall()))

        whole = table_digests(connection, (table,))
        before, found = rows(), 0
        for what, sql, given in list(changes(connection, table)):
            connection.begin()
            connection.execute(sql, given)
            if rows() != before:  # of rows that are alike, two may be swapped
                assert table_digests(connection, (table,)) != whole, f"{table}, {what}"
                found += 1
            connection.rollback()
        assert found >= 4
        assert table_digests(connection, (table,)) == whole
