"""A ledger's file is nobody's to trust: what it defines is never run, and whatever differs from a ledger is named."""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from mucs import InputError
from mucs import ledger as store
from mucs.ledger import Ledger, catalogue, first_fault
from mucs.ledger.rights import record_derivation
from tests.mucs.ledger.test_ledger import load, make_run

pytestmark = pytest.mark.heavy

# definitions that lie, or stand where none should
DEFINITIONS = {
    "CREATE MACRO sha256(x) AS '" + "0" * 64 + "'": "the macro 'sha256', which no ledger has",
    "CREATE MACRO max(x) AS 1": "the macro 'max'",
    "CREATE MACRO round(x, y) AS x": "the macro 'round'",
    "CREATE OR REPLACE MACRO is_called(id, sha256, name) AS false": "its macro is_called is not as",
    "CREATE OR REPLACE MACRO theirs(target, as_of) AS TABLE SELECT 1 AS training_id WHERE false": "its table macro theirs is not as",
    "CREATE OR REPLACE MACRO rights_on(day, as_of) AS TABLE SELECT sha256, 'Mallory' AS rights_holder FROM training_items": "rights_on",
    "CREATE OR REPLACE MACRO lineage_as_of(as_of) AS TABLE SELECT 'Mallory' AS rights_holder": "lineage_as_of",
    "CREATE OR REPLACE VIEW lineage AS SELECT * FROM lineage_as_of('infinity') WHERE rights_holder <> 'Ada'": "its view lineage is not as",
    "CREATE OR REPLACE VIEW speaking AS SELECT 1 AS generated_id, 1 AS run_id WHERE false": "its view speaking is not as",
    "DROP VIEW disputes": "its view disputes is missing",
    "DROP MACRO TABLE theirs": "its table macro theirs is missing",
    "CREATE VIEW mine AS SELECT 1 AS x": "the view 'mine'",
    "CREATE TABLE notes (x INTEGER)": "the table 'notes'",
    "CREATE SCHEMA other; CREATE TABLE other.edges (x INTEGER)": "'other",
    "CREATE INDEX quick ON edges (rank)": "the index 'quick'",
    "CREATE SEQUENCE numbers": "the sequence 'numbers'",
    "CREATE TYPE mood AS ENUM ('high', 'low')": "the type 'mood'",
    "COMMENT ON TABLE rights IS 'as amended'": "the comment 'rights'",
}
# of tables, which nothing can do without
TABLES = {
    "DROP TABLE rights": "its table rights is missing",
    "ALTER TABLE works ADD COLUMN more INTEGER": "its table works is not as",
    "ALTER TABLE lines ALTER net TYPE DOUBLE": "its table lines is not as",
    "ALTER TABLE validations ALTER success DROP NOT NULL": "its table validations is not as",
    "ALTER TABLE members RENAME TO gone; CREATE VIEW members AS FROM gone": "its table members is missing",
    "ALTER TABLE edges DROP decoy_p_value; ALTER TABLE edges ADD COLUMN decoy_p_value DECIMAL(18, 6) DEFAULT 0.03": "its table edges is not as",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    load(folder / "ledger.duckdb", make_run(folder))
    return folder / "ledger.duckdb"


@pytest.fixture
def altered(whole, tmp_path):
    """A copy that somebody changed behind the ledger's back."""

    def alter(*statements: str):
        path = tmp_path / "ledger.duckdb"
        path.write_bytes(whole.read_bytes())
        with duckdb.connect(str(path)) as connection:
            for statement in statements:
                connection.execute(statement)
        return path

    return alter


def answers(path):
    """What the questions say of an item, a holder and everything."""
    with Ledger.open(path) as ledger:
        return [
            ledger.ask("why", generated="g0"),
            ledger.ask("takedown", target="Ada"),
            ledger.ask("shares"),
            ledger.select("SELECT * FROM lineage ORDER BY ALL"),
        ]


@pytest.fixture(scope="module")
def true_answers(whole):
    return answers(whole)


@pytest.mark.parametrize("statement", DEFINITIONS)
def test_what_a_file_defines_is_named_and_changes_no_answer(true_answers, altered, mucs, statement):
    path = altered(statement)
    with Ledger.open(path) as ledger:
        assert DEFINITIONS[statement] in (first_fault(ledger) or "nothing was found")
    assert answers(path) == true_answers
    before = path.read_bytes()
    with pytest.raises(InputError, match="was altered"), Ledger.open(path, read_only=False) as ledger:
        store.load(ledger, make_run(path.parent, "b"))
    status, out, _ = mucs("verify", "--ledger", path)
    assert (status, out.startswith("It does not hold: "), path.read_bytes()) == (1, True, before)


@pytest.mark.parametrize("statement", TABLES)
def test_a_file_without_the_tables_of_a_ledger_is_refused_and_does_not_hold(altered, mucs, statement):
    path = altered(statement)
    with pytest.raises(InputError, match=TABLES[statement]):
        Ledger.open(path)
    status, out, _ = mucs("verify", "--ledger", path)
    assert (status, TABLES[statement] in out, out.count("\n")) == (1, True, 1)
    status, _, err = mucs("why", "g0", "--ledger", path)
    assert (status, err.count("\n")) == (2, 1)


def test_the_ledgers_of_before_hold_and_are_renewed_by_whoever_writes(whole, altered, monkeypatch):
    path = altered("CREATE OR REPLACE VIEW speaking AS FROM speaking_as_of('today')")
    with Ledger.open(path) as ledger:
        then = catalogue.digest_of(catalogue.read(ledger.connection))
    monkeypatch.setattr(catalogue, "EARLIER", {then})
    with Ledger.open(path) as ledger:
        assert first_fault(ledger) is None
    assert load(path, make_run(path.parent, "b"))
    monkeypatch.undo()
    with Ledger.open(path) as ledger:
        assert first_fault(ledger) is None


def test_a_ledger_of_schema_6_as_it_was_first_written_holds_and_is_renewed(tmp_path):
    path = tmp_path / "ledger.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute((Path(__file__).parents[2] / "golden" / "ledger-6.sql").read_text())
    with Ledger.open(path) as ledger:
        assert catalogue.is_earlier(catalogue.read(ledger.connection))
        assert first_fault(ledger) is None
    assert load(path, make_run(tmp_path))
    with Ledger.open(path) as ledger:
        assert not catalogue.is_earlier(catalogue.read(ledger.connection))
        assert first_fault(ledger) is None


def test_another_programs_unfinished_writing_is_not_lost_in_silence(whole, altered, tmp_path):
    path = altered()
    script = (
        f'import duckdb, os; c = duckdb.connect({str(path)!r}); c.execute("UPDATE edges SET score = 0"); os._exit(0)'
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "ledger.duckdb.wal").exists()
    with pytest.raises(InputError, match="did not finish"):
        Ledger.open(path, read_only=False)
    with Ledger.open(path) as ledger:
        assert "edges of run" in first_fault(ledger)


SLOW = "SELECT count(*) FROM range(100000000000) t(x) WHERE x * x % 7 = 3"


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
        while not has_open(process.pid, whole):
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


@pytest.fixture
def lineage(whole, tmp_path):
    """A ledger whose artifacts were made from each other in layers, and in a circle that no check saw."""
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(whole.read_bytes())
    with Ledger.open(path, read_only=False) as ledger:
        checkpoint, training_set = (
            ledger.one("SELECT sha256 FROM artifacts WHERE kind = ?", kind) for kind in ("checkpoint", "training_set")
        )
        with pytest.raises(InputError, match="was made from"):  # a run says that the checkpoint was made from the set
            record_derivation(ledger, training_set, checkpoint)
        layers = [
            [checkpoint],
            *([hashlib.sha256(f"{k} {side}".encode()).hexdigest() for side in "ab"] for k in range(30)),
            [training_set],
        ]
        pairs = [pair for above, below in itertools.pairwise(layers) for pair in itertools.product(above, below)]
        with ledger.transaction() as now:
            for child, parent in [*pairs, (training_set, checkpoint), (layers[9][0], layers[3][0])]:
                ledger.connection.execute("INSERT INTO file.derivations VALUES (9, ?, ?, ?)", [child, parent, now])
    return path


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
def test_a_ledger_in_a_folder_that_cannot_be_written_is_one_sentence():
    with pytest.raises(InputError, match="cannot be written"):  # where root cannot write either
        Ledger.open("/proc/self/ledger.duckdb", read_only=False)


def test_two_readers_and_a_writer_share_a_process(whole, tmp_path):
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(whole.read_bytes())
    seen = []

    def read():
        for _ in range(5):
            with Ledger.open(path) as ledger:
                seen.append(ledger.one("SELECT count(*) FROM runs"))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    load(path, make_run(tmp_path, "b"))
    for thread in threads:
        thread.join()
    assert len(seen) == 10
    assert set(seen) <= {1, 2}


def test_a_damaged_block_is_no_lock(altered):
    path = altered()
    raw = bytearray(path.read_bytes())
    raw[9000:12000] = b"x" * 3000  # of which DuckDB says that a block is corrupt
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is damaged; restore it from a copy"):
        Ledger.open(path)


def test_an_edge_is_told_with_its_score(whole):
    with Ledger.open(whole) as ledger:
        (edge,) = ledger.ask("edge", generated="g0", training="t1")
    assert (edge["rank"], edge["score"], edge["verdict"]) == (2, 0.2, "within chance")
