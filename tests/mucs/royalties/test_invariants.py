"""Every invariant of the money finds what violates it."""

import json

import duckdb
import pytest

from mucs.canonical import canonical
from mucs.ledger import Ledger, first_fault
from mucs.ledger.verify import INVARIANTS
from mucs.royalties.dispute import move_dispute, open_dispute
from tests.mucs.royalties.test_statement import USAGE, World

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with a statement, its second version, an upheld dispute, and the next month with its adjustment."""
    world = World(tmp_path_factory.mktemp("money"))
    first = world.issue()
    world.issue(usage=USAGE.replace("300", "200"))
    with Ledger.open(world.path, read_only=False) as ledger:
        number, _ = open_dispute(ledger, first.sha256, "Ada", "more of it is mine")
        move_dispute(ledger, number, "under review", "looked at")
        move_dispute(ledger, number, "upheld", "so it is", "7.00")
    world.issue("2026-11")
    return world.path


def change(path, place, value):
    """Write something else into the last statement's content, as whoever has the file could."""
    with duckdb.connect(str(path)) as connection:
        ((position, text),) = connection.execute(
            "SELECT position, content FROM statements ORDER BY position DESC LIMIT 1"
        ).fetchall()
        content = json.loads(text)
        part = content
        for step in place[:-1]:
            part = part[step]
        assert part[place[-1]] != value
        part[place[-1]] = value
        connection.execute(
            "UPDATE statements SET content = ? WHERE position = ?", [canonical(content).decode(), position]
        )


def violated(path):
    """The invariants that do not hold."""
    with duckdb.connect(str(path), read_only=True) as connection:
        files = {file.stem: file.read_text() for file in INVARIANTS.glob("*.sql")}
        return {name for name, sql in files.items() if connection.execute(sql).fetchone()}


def test_what_nobody_touched_holds(whole):
    assert violated(whole) == set()
    with Ledger.open(whole) as ledger:
        assert first_fault(ledger) is None


CONTENT = {
    ("lines", 0, "gross"): ("1.00", {"lines_sum", "lines_net"}),
    ("lines", 0, "share"): ("0.5", {"lines_sum", "lines_works"}),
    ("lines", 0, "net"): ("-1.00", {"lines_net", "balances_net"}),
    ("lines", 0, "deductions"): ({"tax": "3.00"}, {"lines_net"}),
    ("lines", 0, "works", 0, "share"): ("0.1", {"lines_works"}),
    ("header", "pots", "output"): ("1.00", {"lines_sum"}),
    ("header", "usage", "sha256"): ("none", {"usage_chained"}),
    ("header", "contract", "minimum_payout"): ("1000", {"balances_pay"}),
    ("balances", 0, "carried_in"): ("9.00", {"balances_follow", "balances_add"}),
    ("balances", 0, "carried_out"): ("9.00", {"balances_add"}),
    ("balances", 0, "net"): ("9.00", {"balances_net"}),
    ("balances", 0, "difference"): ("9.00", {"balances_net", "balances_add"}),
    ("balances", 0, "paid"): ("-9.00", {"balances_pay", "balances_add"}),
    ("balances", 0, "adjustments"): ("9.00", {"balances_net", "balances_add"}),
    ("adjustments", 0, "amount"): ("9.00", {"disputes_adjusted_once", "balances_net"}),
    ("adjustments", 0, "holder"): ("Ben", {"disputes_adjusted_once", "balances_net"}),
    ("adjustments", 0, "dispute"): (1, {"disputes_adjusted_once"}),
}


@pytest.mark.parametrize("place", CONTENT, ids=lambda place: "_".join(map(str, place)))
def test_other_content_is_found(whole, tmp_path, place):
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(whole.read_bytes())
    value, expected = CONTENT[place]
    change(path, place, value)
    if (place[0] == "lines" and "deductions" not in place) or "pots" in place:
        expected = expected | {"lines_said"}
    assert violated(path) == expected
    with Ledger.open(path) as ledger:
        assert "was edited: its content does not have its digest" in first_fault(ledger)


ROWS = {
    "DELETE FROM statements WHERE period_start = '2026-11-01'": {"statements_chained", "lines_said"},
    "INSERT INTO statements SELECT * REPLACE (99 AS position, 'x' AS sha256) FROM statements WHERE version = 2": {
        "statements_chained",
        "lines_said",
        "versions_follow",
    },
    "UPDATE statements SET supersedes = NULL WHERE version = 2": {
        "statements_chained",
        "versions_follow",
        "balances_net",
    },
    "UPDATE statements SET period_end = '2027-01-01' WHERE version = 2": {"statements_chained"},
    "UPDATE statements SET issued_at = issued_at + INTERVAL 1 DAY": {"statements_chained"},
    "UPDATE statements SET currency = 'USD' WHERE version = 2": {"statements_chained"},
    "UPDATE lines SET gross = gross + 1 WHERE rights_holder = 'Ada'": {"lines_said"},
    "DELETE FROM works WHERE position = (SELECT max(position) FROM works) AND line = 1": {"lines_said"},
    "INSERT INTO works FROM works LIMIT 1": {"lines_said"},
    "UPDATE usage_reports SET content = '[]'": set(),  # which its digest tells
    "DELETE FROM usage_reports WHERE position < 5": {"usage_chained"},
    "UPDATE dispute_steps SET reason = 'none'": {"disputes_chained"},
    "UPDATE dispute_steps SET amount = 8 WHERE state = 'upheld'": {"disputes_chained", "disputes_adjusted_once"},
    "UPDATE dispute_steps SET state = 'rejected' WHERE state = 'upheld'": {
        "disputes_chained",
        "disputes_step",
        "disputes_adjusted_once",
    },
    "DELETE FROM dispute_steps WHERE state = 'under review'": {"disputes_chained", "disputes_step"},
}


@pytest.mark.parametrize("sql", ROWS)
def test_other_rows_are_found(whole, tmp_path, sql):
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(whole.read_bytes())
    with duckdb.connect(str(path)) as connection:
        assert connection.execute(sql).fetchone() != (0,)
    assert violated(path) == ROWS[sql]
    with Ledger.open(path) as ledger:
        assert first_fault(ledger)
