"""A ledger is nobody's to trust: what it defines is never run, and whatever differs from a ledger is named."""

import contextlib
import datetime
import hashlib
import itertools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mucs import InputError
from mucs.evidence.chain import GENESIS, link
from mucs.ledger import Altered, Ledger
from mucs.ledger.rights import say_derivation
from tests.factories import load, log_of, writing
from tests.mucs.ledger.test_ledger import attached, make_run

pytestmark = pytest.mark.heavy

# definitions that lie, or stand where none should
DEFINITIONS = {
    "CREATE MACRO file.sha256(x) AS '" + "0" * 64 + "'": "the macro 'sha256', which no ledger has",
    "CREATE MACRO file.max(x) AS 1": "the macro 'max'",
    "CREATE OR REPLACE MACRO file.is_called(id, sha256, name) AS false": "its macro is_called is not as",
    "CREATE OR REPLACE MACRO file.theirs(target, as_of) AS TABLE SELECT 1 AS training_id WHERE false": "its table macro theirs is not as",
    "CREATE OR REPLACE MACRO file.rights_on(day, as_of) AS TABLE SELECT 'Mallory' AS rights_holder": "rights_on",
    "CREATE OR REPLACE VIEW file.lineage AS SELECT * FROM file.lineage_as_of('infinity') WHERE rights_holder <> 'Ada'": "its view lineage is not as",
    "DROP VIEW file.disputes": "its view disputes is missing",
    "CREATE VIEW file.mine AS SELECT 1 AS x": "the view 'mine'",
    "CREATE TABLE file.notes (x INTEGER)": "the table 'notes'",
    "CREATE SCHEMA file.other; CREATE TABLE file.other.edges (x INTEGER)": "'other",
    "COMMENT ON TABLE file.rights IS 'as amended'": "its table rights is not as",
    "DROP TABLE file.rights": "its table rights is missing",
    "ALTER TABLE file.works ADD COLUMN more INTEGER": "its table works is not as",
    "ALTER TABLE file.edges ALTER rank TYPE BIGINT": "its table edges is not as",
    "ALTER TABLE file.validations ALTER success DROP NOT NULL": "its table validations is not as",
    "ALTER TABLE file.members RENAME TO gone": "the table 'gone'",
    "ALTER TABLE file.edges SET PARTITIONED BY (run_id)": "its table edges is not as",
    "ALTER TABLE file.edges SET SORTED BY (score ASC)": "its table edges is not as",
    "COMMENT ON COLUMN file.edges.score IS 'rounded'": "its table edges is not as",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    load(folder / "ledger", make_run(folder))
    return folder / "ledger"


@pytest.fixture
def altered(whole, tmp_path):
    """A copy that somebody changed behind the ledger's back."""

    def alter(*statements: str):
        for name in ("ledger", "log"):
            shutil.copytree(whole.with_name(name), tmp_path / name)
        with attached(tmp_path / "ledger") as connection:
            for statement in statements:
                connection.execute(statement)
        return tmp_path / "ledger"

    return alter


@pytest.mark.parametrize("statement", DEFINITIONS)
def test_what_a_ledger_defines_otherwise_is_named_refused_and_made_anew(altered, statement):
    path = altered(statement)
    with pytest.raises(Altered, match=re.escape(DEFINITIONS[statement])):
        Ledger.open(path)
    with pytest.raises(Altered, match="make the ledger anew with `mucs rebuild`"):
        Ledger.write(path, log_of(path))
    with Ledger.rebuild(path, log_of(path)) as anew:
        assert [row["training"] for row in anew.ask("why", generated="g0")] == ["t0", "t1", "t2", "t3"]


def test_a_definition_that_is_to_end_one_day_is_there_until_then(altered):
    path = altered("CREATE OR REPLACE VIEW file.lineage AS SELECT 1 AS x")
    with contextlib.closing(sqlite3.connect(path / "catalogue.sqlite")) as lake:
        lake.execute(
            "UPDATE ducklake_view SET end_snapshot = 1000000 WHERE view_name = 'lineage' AND end_snapshot IS NULL"
        )
        lake.commit()
    with attached(path) as connection:
        assert connection.execute("FROM file.lineage").fetchall() == [(1,)]
    with pytest.raises(Altered, match="its view lineage is not as"):
        Ledger.open(path)


def test_the_command_says_that_a_lying_view_does_not_hold_and_rebuilds_it(altered, mucs):
    lie = "CREATE OR REPLACE VIEW file.lineage AS SELECT * FROM file.lineage_as_of('infinity') WHERE rights_holder <> 'Ada'"
    path = altered(lie)
    status, out, _ = mucs("verify", "--ledger", path)
    assert (status, out.startswith("It does not hold: "), "its view lineage is not as" in out) == (1, True, True)
    assert mucs("why", "g0", "--ledger", path)[0] == 2
    assert mucs("rebuild", "--ledger", path)[0] == 0
    assert mucs("verify", "--ledger", path)[0] == 0


def test_a_query_that_is_sql_reaches_no_file_and_no_catalogue(whole):
    catalogue = f"{whole}/catalogue.sqlite"
    for query in (
        f"SELECT * FROM sqlite_scan('{catalogue}', 'ducklake_metadata')",
        "SELECT * FROM ducklake_expire_snapshots('file', older_than => now())",
        "SELECT * FROM ducklake_cleanup_old_files('file', cleanup_all => true)",
        f"SELECT * FROM query('FROM sqlite_scan(''{catalogue}'', ''ducklake_metadata'')')",
        "SELECT (SELECT max(x) FROM (SELECT 1 AS x FROM SQLITE_SCAN('/x', 'y')))",
        "WITH a AS (SELECT * FROM postgres_scan('', 'a', 'b')) SELECT * FROM a",
        "SELECT * FROM ducklake_add_data_files('file', 'edges', '/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_text('/etc/hostname')",
    ):
        with (
            Ledger.open(whole) as ledger,
            pytest.raises(InputError, match=r"cannot be answered|reaches beyond the ledger"),
        ):
            ledger.select(query)


SLOW = "SELECT count(*) FROM range(100000000000) t(x) WHERE x * x % 7 = 3"


@pytest.mark.slow
def test_a_query_has_an_end(whole, mucs):
    for query, words in {
        (SLOW, "--timeout", 0.5): "took longer than 0.5 seconds",
        ("SELECT list(x) FROM range(10000000000) t(x)",): "more than 2GB of memory",
        ("SELECT 'a\udcff'",): "is not UTF-8",
    }.items():
        began = time.monotonic()
        status, _, err = mucs("sql", *query, "--ledger", whole)
        assert (status, words in err, err.count("\n")) == (2, True, 1), err
        assert time.monotonic() - began < 60
    status, out, err = mucs("sql", "SELECT * FROM range(1000000000000)", "--rows", 3, "--json", "--ledger", whole)
    assert (status, out.count("range"), "more rows than these 3" in err) == (0, 3, True)
    assert mucs("sql", "SELECT 1 AS x", "--json", "--ledger", whole)[::2] == (0, "")


def interruptible():
    """Ctrl-C works, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def has_open(pid: int, path: Path) -> bool:
    return path in (Path(os.path.realpath(file)) for file in Path(f"/proc/{pid}/fd").iterdir())


def test_ctrl_c_ends_a_query_at_once(whole):
    command = [sys.executable, "-m", "flows.cli", "sql", SLOW, "--ledger", str(whole)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible) as process:
        while not has_open(process.pid, whole / "catalogue.sqlite"):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        time.sleep(1)  # and the query runs
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert time.monotonic() - asked < 3
    assert (process.returncode, err.strip().count("\n"), "Traceback" in err) == (130, 0, False)


def test_prefixes_have_eight_digits_at_least(whole, mucs):
    with Ledger.open(whole) as ledger:
        sha256 = ledger.one("SELECT sha256 FROM runs")
    for name in ("", sha256[:7], "%", sha256[:8].upper()):
        for command in (
            ("withdraw", name, "--reason", "x"),
            ("replay", name),
            ("ask", "edges", f"run={name}"),
            ("ask", "drift", f"first={name}", f"second={sha256}"),
            ("ask", "drift", f"first={sha256}", f"second={name}"),
        ):
            status, _, err = mucs(*command, "--ledger", whole)
            assert (status, "names no run; give the first eight digits" in err) == (2, True), (command, err)
    assert mucs("ask", "shares", f"run={sha256[:7]}", "--ledger", whole)[0] == 2
    assert mucs("ask", "shares", "run=", "--ledger", whole)[0] == 0
    assert mucs("ask", "drift", f"first={sha256[:8]}", f"second={sha256}", "--ledger", whole)[0] == 0


def test_a_name_that_nothing_has_is_refused_with_the_nearest(whole, mucs):
    for question, given, nearest in (
        ("takedown", "target=ada", "did you mean 'Ada'?"),
        ("takedown_items", "target=t11", "did you mean 't1'?"),
        ("exposure", "rights_holder=Bne", "did you mean 'Ben'?"),
        ("why", "generated=9999", "give a name that it has"),
        ("used", "training=g0", "no training item called 'g0'"),
        ("trail", "item=t9", "did you mean 't"),
        ("ancestry", "generated=G0", "did you mean 'g0'?"),
    ):
        status, out, err = mucs("ask", question, given, "--ledger", whole)
        assert (status, out, nearest in err) == (2, "", True), (question, err)
    for command in ("why", "used"):
        status, _, err = mucs(command, "nobody", "--ledger", whole)
        assert (status, err.count("\n")) == (2, 1)


def test_parameters_out_of_range_are_refused_as_such(whole, mucs):
    for question, given in (
        ("shares", "top=-1"),
        ("shares", "top=0"),
        ("shares", f"top={2**63}"),
        ("shares", "top=１"),
        ("shares", "top=1e2"),
        ("lapsed", "day=20240101"),
        ("lapsed", "day=2024-W01-1"),
        ("lapsed", "day=0000-00-00"),
    ):
        status, out, err = mucs("ask", question, given, "--ledger", whole)
        assert (status, out) == (2, "")
        assert "cannot be" in err, err
        assert "restore" not in err
    for as_of in ("yesterday", "9" * 40, "2024-01-01T99:00", "２０２４-01-01"):
        status, _, err = mucs("ask", "shares", "--as-of", as_of, "--ledger", whole)
        assert (status, "as_of cannot be" in err) == (2, True), err


@pytest.fixture(scope="module")
def lineage(tmp_path_factory):
    """A ledger whose artifacts were made from each other in layers, and in a circle that no check saw."""
    folder = tmp_path_factory.mktemp("lineage")
    run = make_run(folder)
    checkpoint, training_set = (run.record["inputs"][kind]["sha256"] for kind in ("checkpoint", "training_set"))
    layers = [
        [checkpoint],
        *([hashlib.sha256(f"{k} {side}".encode()).hexdigest() for side in "ab"] for k in range(30)),
        [training_set],
    ]
    pairs = [pair for above, below in itertools.pairwise(layers) for pair in itertools.product(above, below)]
    log, at = log_of(folder / "ledger"), datetime.datetime.now(datetime.UTC)
    previous = GENESIS
    # told before the run: of the run's own step from the checkpoint to its set, nothing was known
    for position, (child, parent) in enumerate([*pairs, (training_set, checkpoint), (layers[9][0], layers[3][0])], 1):
        entry = link(
            position, previous, "derivation", at.isoformat(timespec="microseconds"), {"child": child, "parent": parent}
        )
        assert log.append(entry)
        previous, at = entry.sha256, at + datetime.timedelta(microseconds=1)
    load(folder / "ledger", run)
    with writing(folder / "ledger") as ledger, pytest.raises(InputError, match="was made from"):
        say_derivation(ledger, training_set, layers[1][0])
    return folder / "ledger"


def test_descent_is_told_on_any_graph(lineage):
    """2^30 ways lead through 30 layers of two, and there are circles."""
    began = time.monotonic()
    with Ledger.open(lineage) as ledger:
        ancestry = ledger.ask("ancestry", generated="g0")
        ways = ledger.ask("path", generated="g0", training="t1", top=5)
    assert time.monotonic() - began < 20
    assert {row["step"] for row in ancestry if row["kind"] == "checkpoint"} >= {1}
    assert len({row["sha256"] for row in ancestry}) == 62
    lengths = [row["way"].count("→") for row in ways]
    assert (len(ways), lengths[0], lengths) == (5, 2, sorted(lengths))
    assert len({row["way"] for row in ways}) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that nobody can write to")
def test_a_ledger_in_a_folder_that_cannot_be_written_is_one_sentence(whole):
    with pytest.raises(InputError, match="cannot be made"):  # where root cannot write either
        Ledger.write("/proc/self/ledger", log_of(whole))


def test_two_readers_and_a_writer_share_a_process(altered, tmp_path):
    path = altered()
    seen = []

    def read():
        for _ in range(3):
            with Ledger.open(path) as ledger:
                seen.append(ledger.one("SELECT count(*) FROM runs"))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    load(path, make_run(tmp_path, "b"))
    for thread in threads:
        thread.join()
    assert len(seen) == 6
    assert set(seen) <= {1, 2}


def test_an_edge_is_told_with_its_score(whole):
    with Ledger.open(whole) as ledger:
        (edge,) = ledger.ask("edge", generated="g0", training="t1")
    assert (edge["rank"], edge["score"], edge["verdict"]) == (2, 0.2, "within chance")
