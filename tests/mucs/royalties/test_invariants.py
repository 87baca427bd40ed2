"""Every invariant of the money finds what violates it."""

import contextlib
import hashlib
import json
import shutil

import pytest

from mucs.canonical import canonical
from mucs.ledger import Said
from mucs.ledger.verify import INVARIANTS
from mucs.royalties import preview
from mucs.royalties.dispute import move_dispute, open_dispute
from mucs.royalties.usage import say_usage
from tests.factories import fault
from tests.mucs.royalties.test_statement import USAGE, World

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with a statement, its second version, an upheld dispute, and the next month with its adjustment."""
    with World(tmp_path_factory.mktemp("money")) as world:
        world.load()
        first = world.issue()
        world.issue(usage=USAGE.replace("300", "200"))
        number, _ = open_dispute(world.ledger, first.sha256, "Ada", "more of it is mine")
        move_dispute(world.ledger, number, "under review", "looked at")
        move_dispute(world.ledger, number, "upheld", "so it is", "7.00")
        world.issue("2026-11")
        yield world


@contextlib.contextmanager
def changed(world, sql, *parameters):
    """The ledger with other rows, as whoever has its files could write them, for as long as the block goes on."""
    connection = world.ledger.connection
    connection.begin()
    try:
        assert connection.execute(sql, list(parameters)).fetchone() not in (None, (0,))
        yield
    finally:
        connection.rollback()


def other_content(world, place, value):
    """The last statement's position and content, with something else in a place."""
    (last,) = world.rows("SELECT position, content FROM statements ORDER BY position DESC LIMIT 1")
    content = json.loads(last["content"])
    part = content
    for step in place[:-1]:
        part = part[step]
    assert part[place[-1]] != value
    part[place[-1]] = value
    return last["position"], content


def violated(world):
    """The invariants that do not hold."""
    return {file.stem for file in INVARIANTS.glob("*.sql") if world.ledger.rows(file.read_text())}


def test_what_nobody_touched_holds(whole):
    assert violated(whole) == set()
    assert fault(whole.path) is None


CONTENT = {
    ("lines", 0, "gross"): ("1.00", {"lines_sum", "lines_net"}),
    ("lines", 0, "share"): ("0.5", {"lines_sum", "lines_works"}),
    ("lines", 0, "net"): ("-1.00", {"lines_net", "balances_net"}),
    ("lines", 0, "deductions"): ({"tax": "3.00"}, {"lines_net"}),
    ("lines", 0, "works", 0, "share"): ("0.1", {"lines_works"}),
    ("header", "pots", "output"): ("1.00", {"lines_sum"}),
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
def test_other_content_is_found(whole, place):
    value, expected = CONTENT[place]
    position, content = other_content(whole, place, value)
    if (place[0] == "lines" and "deductions" not in place) or "pots" in place:
        expected = expected | {"lines_said"}
    text = canonical(content).decode()
    with changed(whole, "UPDATE file.statements SET content = ? WHERE position = ?", text, position):
        assert violated(whole) == expected


ROWS = {
    "DELETE FROM file.statements WHERE period_start = '2026-11-01'": {"lines_said"},
    "INSERT INTO file.statements SELECT * REPLACE (99 AS position, 'x' AS sha256) FROM statements WHERE version = 2": {
        "lines_said",
        "versions_follow",
    },
    "UPDATE file.statements SET supersedes = NULL WHERE version = 2": {
        "versions_follow",
        "balances_net",
    },
    "UPDATE file.lines SET gross = gross + 1 WHERE rights_holder = 'Ada'": {"lines_said"},
    "DELETE FROM file.works WHERE position = (SELECT max(position) FROM works) AND line = 1": {"lines_said"},
    "INSERT INTO file.works FROM works LIMIT 1": {"lines_said"},
    "UPDATE file.dispute_steps SET amount = 8 WHERE state = 'upheld'": {"disputes_adjusted_once"},
    "UPDATE file.dispute_steps SET state = 'rejected' WHERE state = 'upheld'": {
        "disputes_step",
        "disputes_adjusted_once",
    },
    "DELETE FROM file.dispute_steps WHERE state = 'under review'": {"disputes_step"},
}


@pytest.mark.parametrize("sql", ROWS)
def test_other_rows_are_found(whole, sql):
    with changed(whole, sql):
        assert violated(whole) == ROWS[sql]


def test_a_statement_that_does_not_add_up_is_found_though_the_log_has_it(whole, tmp_path):
    def forge(ledger, contract, month, usage):
        """Say what whoever can write into the log could: all that it commits to is there, and agrees."""
        say_usage(ledger, usage)
        content = preview(ledger, contract, month, usage).content
        content["lines"][0]["gross"] = "1.00"
        text = canonical(content)
        body = {name: content["header"][name] for name in ("statement", "version", "supersedes")}
        said = Said("statement", body | {"sha256": hashlib.sha256(text).hexdigest()}, [text])
        assert ledger.say(lambda _: said) is not None

    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    with World(tmp_path) as world:
        world.issue("2026-12", how=forge)
    assert fault(tmp_path / "ledger").startswith("the invariant lines_net is violated")
