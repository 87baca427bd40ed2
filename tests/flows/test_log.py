"""The log from the command line: told on S3 by several ledgers, checked from its address alone, copied, and brought over."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import duckdb
import pytest

from mucs.evidence.log import Log
from mucs.evidence.signing import keygen
from mucs.ledger.rights import read_rights, say_derivation, say_rights, withdraw
from mucs.ledger.run import say_run
from mucs.royalties.dispute import open_dispute
from mucs.royalties.export import state
from tasks.ledgers import open_log, writing
from tasks.stores import open_store
from tests.flows.test_cli import refused
from tests.mucs.ledger.test_ledger import make_run

ROOT = Path(__file__).parents[2]
CORPUS, GOLDEN = ROOT / "tests/corpus", ROOT / "tests/golden"
STORY = "s3://evidence/story"
KINDS = ["run", "run", "rights", "derivation", "withdrawal", "usage", "statement", "dispute"]

# asked of a ledger, and answered alike by every ledger of its log
ASKED = (
    ("why", "g0"),
    ("used", "t0"),
    ("ask", "shares"),
    ("ask", "unattributed"),
    ("ask", "trail", "item=g1"),
    ("dispute", "list"),
    ("sql", "SELECT run_id, sha256, loaded_at FROM runs ORDER BY run_id"),
    ("sql", "SELECT * FROM lines ORDER BY ALL"),
)


@pytest.fixture(scope="module")
def story(s3, tmp_path_factory) -> Path:
    """A ledger whose log, STORY, has an entry of each kind that people see."""
    folder = tmp_path_factory.mktemp("story")
    opened = partial(writing, folder / "ledger", STORY)
    first, second = make_run(folder), make_run(folder, "b", scores=(0.9, 0.3, 0.1, 0.0))
    with opened() as ledger:
        assert say_run(ledger, first)
        assert say_run(ledger, second)
        assert say_rights(ledger, read_rights(ledger, CORPUS / "rights/good.csv"))
        assert say_derivation(ledger, "c" * 64, "d" * 64)
        assert withdraw(ledger, second.sha256, "a broken GPU")
    contract, usage = CORPUS / "contracts/good.yaml", CORPUS / "usage/good.csv"
    issued = state(contract, "2026-10", usage, opened, folder / "statements").statement
    with opened() as ledger:
        open_dispute(ledger, issued.title, "Ada", "too little")
    return folder / "ledger"


def copied(log: str, place: str) -> str:
    """A copy of a log at another place; gives the place."""
    there, here = open_store(log), open_store(place)
    for name in there.names(""):
        here.put(name, there.get(name))
    return place


@pytest.fixture
def log(story, tmp_path) -> str:
    """A copy of the story's log on S3 that a test may add to."""
    return copied(STORY, f"s3://evidence/{tmp_path.name}")


@pytest.fixture
def ledger(mucs, log, tmp_path, monkeypatch) -> Path:
    """A ledger of that copy; where the commands find none of another."""
    assert mucs("rebuild", "--log", log, "--ledger", tmp_path / "ledger")[0] == 0
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ledger"


def answers(mucs, ledger: Path) -> list:
    """What a ledger answers to all that is asked."""
    found = []
    for command in ASKED:
        status, out, err = mucs(*command, "--json", "--ledger", ledger)
        assert (status, err) == (0, ""), (command, err)
        found.append(json.loads(out))
    return found


def verified(mucs, *words: object) -> dict:
    """What `mucs verify` says, as JSON."""
    return json.loads(mucs("verify", *words, "--json")[1])


def test_the_log_has_an_entry_for_each_thing_that_was_said(story):
    assert [entry.kind for entry in open_log(STORY).after()] == KINDS


def test_a_head_that_was_signed_is_found_again_until_something_before_it_is_changed(mucs, ledger, log, tmp_path):
    status, out, err = mucs("head", "--ledger", ledger)
    head = out.split()[-1].removesuffix(".")
    assert (status, err) == (0, "")
    assert re.fullmatch(r"Entry 8 of \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d UTC, head [0-9a-f]{64}\.\n", out)
    told = json.loads(mucs("head", "--log", log, "--json")[1])
    assert (told["position"], told["head"], told["log"]) == (8, head, log)
    keygen(tmp_path / "key")
    keygen(tmp_path / "other")
    assert mucs("head", "--ledger", ledger, "--sign", "key")[1].splitlines()[1] == "Signed in head.dsse.json."

    signed = ("verify", "--log", log, "--head", "head.dsse.json", "--key")
    assert mucs(*signed, "key.pub")[0] == 0
    assert "was signed with other.pub" in refused(mucs(*signed, "other.pub"))
    assert "give the public key as --key" in refused(mucs("verify", "--log", log, "--head", "head.dsse.json"))
    status, out, _ = mucs("verify", "--envelope", "head.dsse.json", "--key", "key.pub")
    assert (status, "log/000000000008.json is not beside it" in out) == (0, True)
    assert mucs("derive", "e" * 64, "f" * 64, "--ledger", ledger)[0] == 0
    assert mucs(*signed, "key.pub")[0] == 0  # the log went on
    assert mucs("verify", "--head", head, "--ledger", ledger)[0] == 0

    store = open_store(log)
    for number in (9, 8):
        store.delete(f"log/{number:012d}.json")
    assert mucs("verify", "--log", log)[0] == 0  # by itself, a shorter log holds
    status, out, _ = mucs(*signed, "key.pub")
    assert (status, f"none with the remembered head {head[:12]}" in out) == (1, True)


@pytest.mark.slow
def test_two_ledgers_of_one_log_tell_each_other(mucs, ledger, log, tmp_path):
    other, why = tmp_path / "other", ("why", "g0", "--json", "--ledger")
    assert mucs("sync", "--ledger", other, "--log", log)[:2] == (0, "Applied 8 entries.\n")
    assert mucs("sync", "--ledger", other)[:2] == (0, "Nothing to do: the ledger has all 8 entries.\n")
    assert answers(mucs, other) == answers(mucs, ledger)
    assert verified(mucs, "--ledger", other)["digests"] == verified(mucs, "--ledger", ledger)["digests"]

    (row, *_) = json.loads(mucs(*why, ledger)[1])
    assert mucs("withdraw", row["run"][:8], "--reason", "wrong model", "--ledger", other)[0] == 0
    status, out, err = mucs(*why, ledger)
    assert (status, json.loads(out)[0]) == (0, row)  # as of what this ledger has
    assert err == "mucs: The log has entries that this ledger has not; `mucs sync` brings them.\n"
    assert verified(mucs, "--ledger", ledger)["holds"]
    assert json.loads(mucs("sync", "--ledger", ledger, "--json")[1])["applied"] == 1
    assert "No run speaks" in refused(mucs(*why, ledger))

    # who writes brings the ledger up to the log first
    assert mucs("derive", "a" * 64, "b" * 64, "--ledger", ledger)[0] == 0
    status, out, _ = mucs("derive", "a" * 64, "b" * 64, "--ledger", other)
    assert (status, out.startswith("Nothing to do")) == (0, True)
    assert mucs("derive", "b" * 64, "c" * 64, "--ledger", other)[0] == 0
    assert mucs("sync", "--ledger", ledger)[0] == 0
    assert [entry.kind for entry in open_log(log).after()] == [*KINDS, "withdrawal", "derivation", "derivation"]
    assert verified(mucs, "--ledger", other)["digests"] == verified(mucs, "--ledger", ledger)["digests"]


@pytest.mark.slow
def test_a_log_that_does_not_answer_keeps_nobody_from_reading(mucs, ledger, monkeypatch):
    before = mucs("why", "g0", "--json", "--ledger", ledger)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert mucs("why", "g0", "--json", "--ledger", ledger) == before
    assert "does not answer" in refused(mucs("derive", "e" * 64, "f" * 64, "--ledger", ledger))


@pytest.mark.slow
def test_a_ledger_that_was_deleted_is_made_again_with_the_same_answers(mucs, ledger, log):
    before, digests = answers(mucs, ledger), verified(mucs, "--ledger", ledger)["digests"]
    shutil.rmtree(ledger)
    assert "give the log's place as --log" in refused(mucs("rebuild", "--ledger", ledger))
    assert mucs("rebuild", "--ledger", ledger, "--log", log)[:2] == (
        0,
        f"Made the ledger {ledger} anew from 8 entries.\n",
    )
    assert answers(mucs, ledger) == before
    assert verified(mucs, "--ledger", ledger)["digests"] == digests
    assert json.loads(mucs("rebuild", "--ledger", ledger, "--json")[1])["position"] == 8  # it says which log it follows
    assert answers(mucs, ledger) == before


def test_a_ledger_that_is_behind_speaks_of_what_only_the_log_has(mucs, story, log, tmp_path):
    (run, *_) = (entry.body["run"] for entry in open_log(STORY).after() if entry.kind == "run")
    new = ("--ledger", tmp_path / "new", "--log", log)
    status, out, _ = mucs("withdraw", run[:8], "--reason", "wrong model", *new)
    assert (status, out) == (0, f"Run {run[:8]} speaks no longer.\n")
    assert mucs("rights", CORPUS / "rights/good.csv", *new)[1].startswith("Nothing to do: these are the rights")
    assert [entry.kind for entry in open_log(log).after()] == [*KINDS, "withdrawal"]


def test_a_ledger_that_several_make_at_once_is_made_once(mucs, log, tmp_path):
    command = [sys.executable, "-m", "flows.cli", "sync", "--log", log, "--ledger", tmp_path / "ledger"]
    pipe = subprocess.PIPE
    made = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    for process in made:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, ""), err
        assert out in ("Applied 8 entries.\n", "Nothing to do: the ledger has all 8 entries.\n")
    assert verified(mucs, "--ledger", tmp_path / "ledger")["holds"]


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_ledger_that_another_program_writes_to_and_never_ends_is_named(mucs, ledger, monkeypatch):
    monkeypatch.setattr("mucs.ledger.opening.WAIT", 1)
    monkeypatch.setattr("mucs.ledger.lake.WAIT_MS", 100)
    command = [sys.executable, "-c", HOLDER, ledger / "catalogue.sqlite"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert mucs("why", "g0", "--ledger", ledger)[0] == 0  # readers do not wait
        assert "by others all the time; try again later" in refused(
            mucs("derive", "e" * 64, "f" * 64, "--ledger", ledger)
        )
        other.communicate("")
    assert mucs("derive", "e" * 64, "f" * 64, "--ledger", ledger)[0] == 0
    assert verified(mucs, "--ledger", ledger)["holds"]


def test_a_log_is_checked_with_nothing_but_its_address(mucs, story, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = mucs("verify", "--log", STORY)
    assert (status, out.startswith("It holds: the log, 8 entries, head ")) == (0, True)
    found = verified(mucs, "--log", STORY)
    assert (found["holds"], found["ledger"], found["digests"], found["position"]) == (True, None, None, 8)
    assert list(tmp_path.iterdir()) == []


def script() -> str:
    """The one that docs/log.md gives to an expert of a court."""
    (found,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/log.md").read_text(), re.DOTALL)
    return found


def run_script(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run it without anything that is installed."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", script(), str(folder), *words], capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_copy_in_a_folder_holds_is_made_a_ledger_of_and_is_checked_by_the_script(mucs, story, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = copied(STORY, str(tmp_path / "copy"))
    folder = Path(place)
    assert mucs("verify", "--log", place)[0] == 0
    assert mucs("rebuild", "--log", place, "--ledger", "other")[0] == 0
    assert answers(mucs, tmp_path / "other") == answers(mucs, story)
    assert verified(mucs, "--ledger", "other")["digests"] == verified(mucs, "--ledger", story)["digests"]

    head = json.loads(mucs("head", "--ledger", "other", "--json")[1])["head"]
    objects = sorted((folder / "objects").iterdir())
    done = run_script(folder, head)
    told = f"8 entries follow each other, and {len(objects)} objects are as they say. Head: {head}\n"
    assert (done.returncode, done.stdout) == (0, told), done.stderr
    assert run_script(folder).stdout == told
    assert "the remembered head is not in this log" in run_script(folder, "0" * 64).stderr
    for path in (*objects, *sorted((folder / "log").iterdir())):
        body = path.read_bytes()
        for altered in (body.replace(b"2", b"3", 1) if path.suffix else body[:-1] + bytes([body[-1] ^ 1]), None):
            if altered is None:
                path.unlink()
            else:
                assert altered != body
                path.write_bytes(altered)
            done = run_script(folder, head)
            assert (done.returncode, "AssertionError: " in done.stderr) == (1, True), path
            path.write_bytes(body)
    assert run_script(folder, head).returncode == 0


def old_ledger(folder: Path, schema: int) -> Path:
    """A ledger of before there was a log, as users have it."""
    path = folder / f"old-{schema}.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute((GOLDEN / f"ledger-{schema}.sql").read_text())
    return path


def entries_of(old: Path) -> list[tuple]:
    with duckdb.connect(str(old), read_only=True) as connection:
        return connection.execute("SELECT position, kind, sha256, entry FROM entries ORDER BY position").fetchall()


def told_by(log: Log) -> list[tuple]:
    return [(entry.position, entry.kind, entry.sha256, entry.entry) for entry in log.after()]


@pytest.mark.parametrize(("schema", "on_s3"), [(6, False), pytest.param(7, True, marks=pytest.mark.slow)])
def test_a_ledger_of_before_there_was_a_log_is_brought_over_word_for_word(
    mucs, s3, tmp_path, monkeypatch, schema, on_s3
):
    monkeypatch.chdir(tmp_path)
    old = old_ledger(tmp_path, schema)
    place = f"s3://evidence/old-{schema}" if on_s3 else str(tmp_path / "log")
    kept, entries = old.read_bytes(), entries_of(old)
    assert len(entries) == 15
    command = ("rebuild", "--from", old, "--log", place, "--ledger", tmp_path / "ledger")
    for _ in range(2):  # called again, it finds what was put before
        assert mucs(*command)[:2] == (
            0,
            f"Brought 15 entries of {old} over into the log {place}.\nMade the ledger {tmp_path / 'ledger'} anew from 16 entries.\n",
        )
    assert old.read_bytes() == kept
    assert told_by(open_log(place))[:15] == entries
    assert open_log(place).entry(16).kind == "import"

    monkeypatch.setenv("MUCS_LEDGER", str(tmp_path / "ledger"))
    for remembered in (entries[0][2], entries[14][2]):
        assert mucs("verify", "--head", remembered)[0] == 0
    assert mucs("verify", "--log", place, "--ledger", "none")[0] == 0
    why = json.loads(mucs("why", "g0", "--json")[1])
    assert [(row["training"], row["score"]) for row in why] == [("t0", 0.4), ("t1", 0.2), ("t2", -0.1), ("t3", -0.3)]
    assert {row["rights_holder"]: row["standing_today"] for row in why}["Ada"] == "granted"
    shares = json.loads(mucs("ask", "shares", "--json")[1])
    assert {row["rights_holder"] for row in shares} == {"Ada", "Ben"}
    assert json.loads(mucs("ask", "drift", *runs(mucs), "--json")[1])
    statements = "SELECT contract, version, period_start::VARCHAR AS month FROM statements ORDER BY position"
    assert json.loads(mucs("sql", statements, "--json")[1]) == [
        {"contract": "art-2026", "version": version, "month": f"2026-{month}-01"}
        for version, month in ((1, 10), (2, 10), (1, 11))
    ]
    (dispute,) = json.loads(mucs("dispute", "list", "--json")[1])
    assert (dispute["dispute"], dispute["rights_holder"], dispute["state"]) == (7, "Ada", "upheld")
    assert float(dispute["amount"]) == 12.5

    assert mucs("derive", "1" * 64, "2" * 64)[0] == 0  # and it goes on
    assert "Dispute 7 is upheld" in refused(mucs("dispute", "review", 7))
    assert mucs("verify", "--head", entries[14][2])[0] == 0
    if not on_s3:
        done = run_script(Path(place), entries[14][2])
        assert (done.returncode, done.stdout.startswith("17 entries")) == (0, True), done.stderr


def runs(mucs) -> list[str]:
    """The parameters of a question that compares the two runs of a golden ledger."""
    found = json.loads(mucs("sql", "SELECT sha256 FROM runs ORDER BY run_id", "--json")[1])
    return [f"{name}={row['sha256']}" for name, row in zip(("first", "second"), found, strict=True)]


WRONG = {
    "UPDATE edges SET score = score + 0.000001 WHERE run_id = 2 AND rank = 1": "do not have the Merkle root of its record",
    "DELETE FROM edges WHERE run_id = 1 AND rank = 4": "do not have the Merkle root of its record",
    "UPDATE rights SET rights_holder = 'Mallory' WHERE line = 2": "what entry 3 (rights) commits to is not in it",
    "UPDATE entries SET entry = replace(entry, '12.5000', '99.5000') WHERE position = 9": "entry 9 was edited",
    "DELETE FROM entries WHERE position = 4": "entry 4 is missing",
    "DELETE FROM runs WHERE run_id = 2": "is not as its entry has it",
    "UPDATE ledger SET schema_version = 5": "is of schema [5], and schemas 6 and 7 can be brought over",
    "DELETE FROM ledger": "is of schema [], and schemas 6 and 7 can be brought over",
    "DROP TABLE statements": "is no ledger of before there was a log, or is damaged",
}


@pytest.mark.parametrize("statement", WRONG)
def test_an_old_ledger_that_does_not_hold_is_not_brought_over(mucs, tmp_path, statement):
    old = old_ledger(tmp_path, 7)
    with duckdb.connect(str(old)) as connection:
        connection.execute(statement)
    command = ("rebuild", "--from", old, "--log", tmp_path / "log", "--ledger", tmp_path / "ledger")
    assert WRONG[statement] in refused(mucs(*command))
    assert not (tmp_path / "log/log").exists()
    assert not (tmp_path / "ledger").exists()


def test_what_cannot_be_used_is_one_sentence(mucs, story, ledger, log, tmp_path):
    old = old_ledger(tmp_path, 7)
    shorter = copied(STORY, str(tmp_path / "shorter"))
    (tmp_path / "shorter/log/000000000008.json").unlink()
    (tmp_path / "text").write_text("text\n" * 1000)
    none, other = tmp_path / "none", f"{log}-old"
    assert mucs("rebuild", "--from", old, "--log", other, "--ledger", tmp_path / "brought")[0] == 0
    follow = ("--ledger", ledger)
    for command, sentence in {
        ("head", "--ledger", none): "There is no ledger at",
        ("sync", "--ledger", none): "There is no ledger at",
        ("verify", "--ledger", none): "give the log's place as --log",
        ("head", "--log", f"{log}/none"): "has no entries yet; give another --log",
        ("head", "--log", "s3://no-such-bucket/log"): "no such bucket",
        ("verify", "--log", "gs://bucket/log", "--ledger", none): "is not an S3 address",
        (
            "sync",
            *follow,
            "--log",
            other,
        ): "entry 1 is the first that differs; give the right --log, or make the ledger",
        ("withdraw", "00000000", "--reason", "x", *follow, "--log", other): "is not the one that the ledger",
        ("sync", *follow, "--log", shorter): "ends before entry 8, and the ledger",
        ("sync", *follow, "--log", none): "ends before entry 1, and the ledger",
        ("why", "g0", "--ledger", tmp_path / "text"): "is a file, and a ledger is a folder",
        ("sync", "--ledger", old, "--log", log): f"`mucs rebuild --from {old} --log FOLDER --ledger OTHER`",
        ("why", "g0", "--ledger", old): f"bring it over with `mucs rebuild --from {old} --log FOLDER --ledger OTHER`",
        ("verify", "--ledger", old): f"`mucs rebuild --from {old} --log FOLDER --ledger OTHER`",
        ("rebuild", "--ledger", old, "--log", log): f"`mucs rebuild --from {old} --log FOLDER --ledger OTHER`",
        ("rebuild", "--from", old, "--ledger", none): "--from needs a place for the log; give --log",
        ("rebuild", "--from", old, "--log", log, "--ledger", none): "has other entries than",
        ("rebuild", "--from", none, "--log", f"{log}/none", "--ledger", none): "There is no file",
        ("rebuild", "--from", ledger, "--log", f"{log}/none", "--ledger", none): "There is no file",
        ("rebuild", "--from", tmp_path / "text", "--log", f"{log}/none", "--ledger", none): "is no ledger of before",
        ("rebuild", "--from", ledger / "catalogue.sqlite", "--log", f"{log}/none", "--ledger", none): "is no ledger of",
        ("rebuild", "--log", f"{log}/none/log", "--ledger", tmp_path / "no/such"): "does not exist; make it",
    }.items():
        assert sentence in refused(mucs(*command)), command
    assert not none.exists()
    assert told_by(open_log(log)) == told_by(open_log(STORY))
    assert list(open_store(f"{log}/none").names("log/")) == []
    assert verified(mucs, "--ledger", ledger)["holds"]
