"""A run's evidence is handed over as a folder that needs nothing of ours to be checked."""

import json
import shutil
import subprocess
import sys

import pytest
from rocrate.rocrate import ROCrate

from mucs import InputError
from mucs.exports.crate import write_crate
from mucs.ledger import Ledger
from tests.factories import contents, fault, load, log_of, staged_run
from tests.flows.test_cli import refused

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ledger of two runs."""
    folder = tmp_path_factory.mktemp("crate")
    for name, number in (("one", 2), ("two", 3)):
        (folder / name).mkdir()
        load(folder / "ledger", staged_run(folder / name, generated=number))
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """The first of them."""
    with Ledger.open(folder / "ledger") as ledger:
        return ledger.one("SELECT sha256 FROM runs ORDER BY run_id LIMIT 1")


@pytest.fixture(scope="module")
def crate(folder, run, tmp_path_factory):
    place = tmp_path_factory.mktemp("given") / "evidence"
    with Ledger.open(folder / "ledger") as ledger:
        write_crate(ledger, log_of(folder / "ledger"), run, place)
    return place


@pytest.fixture
def own(crate, tmp_path):
    """A copy to be spoiled."""
    return shutil.copytree(crate, tmp_path / "evidence")


def checked(folder, *head: str) -> tuple[int, str, str]:
    """What the script says, run by a Python that has nothing of ours."""
    command = [sys.executable, "-I", folder / "check_run.py", *head]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    return done.returncode, done.stdout, done.stderr


def test_it_is_checked_with_nothing_but_python_and_a_head(crate, folder, run):
    head = [entry.sha256 for entry in log_of(folder / "ledger").after()][-1]
    status, out, err = checked(crate, head)
    assert (status, err) == (0, "")
    assert f"Run {run}, entry 1 of a log of 2" in out
    assert f"Head: {head}" in out
    assert "The head that you trust is among them." in out
    assert "Compare the head with one that you trust." in checked(crate)[1]
    assert checked(crate, "f" * 64)[::2] == (1, "This does not hold: the head that you trust is not one of this log.\n")


def test_whatever_is_altered_or_gone_is_named(own):
    files = sorted(path for path in own.rglob("*") if path.is_file() and path.name not in ("check_run.py",))
    assert len(files) > 8
    for path in files:
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert checked(own)[0] == 1 or path.name == "000000000002.json", path  # whose altered text is another head
        if path.name != "000000000002.json":
            path.unlink()
            assert checked(own)[0] == 1, path
        path.write_bytes(before)
    assert checked(own)[0] == 0


def test_readers_of_the_format_know_what_it_holds(crate, run, folder):
    read = ROCrate(crate)
    assert read.root_dataset["name"] == f"Evidence of run {run[:16]}"
    action = read.dereference("#attribution")
    assert action["identifier"] == run
    assert action["instrument"]["name"] == "mucs"
    assert {each.id for each in action["object"]} >= {"#checkpoint", "#training_set"}
    listed = {entity.id for entity in read.data_entities}
    there = {str(path.relative_to(crate)) for path in crate.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith("log/")} - {"ro-crate-metadata.json"} == listed - {"log/"}
    record = json.loads((crate / "objects" / run).read_bytes())
    assert record["results"]["edges_sha256"] in {path.name for path in (crate / "objects").iterdir()}


def test_it_has_the_same_bytes_each_time(crate, folder, run, tmp_path):
    with Ledger.open(folder / "ledger") as ledger:
        write_crate(ledger, log_of(folder / "ledger"), run, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(crate)


def test_the_command_tells_the_log_that_it_was_given_out(mucs, folder, run, tmp_path):
    place = tmp_path / "out"
    status, out, _ = mucs("export", "rocrate", run[:8], "--ledger", folder / "ledger", "--output", place)
    assert status == 0
    assert f"{place}: run {run[:12]}, and the log up to entry 2" in out
    assert checked(place)[0] == 0
    with Ledger.open(folder / "ledger") as ledger:
        assert ledger.rows("SELECT what, address FROM accesses") == [{"what": "rocrate", "address": f"/runs/{run}"}]
    assert fault(folder / "ledger") is None
    again = mucs("export", "rocrate", run[:8], "--ledger", folder / "ledger", "--output", place)
    assert "is there already; give another place" in refused(again)
    assert "names no run" in refused(mucs("export", "rocrate", "nothing", "--ledger", folder / "ledger"))


def test_what_fails_leaves_nothing(folder, run, tmp_path):
    shutil.copytree(folder / "log", tmp_path / "log")
    shutil.copytree(folder / "ledger", tmp_path / "ledger")
    (tmp_path / "log" / "objects" / run).unlink()
    (tmp_path / "out").mkdir()
    with Ledger.open(tmp_path / "ledger") as ledger:
        with pytest.raises(InputError, match="missing"):
            write_crate(ledger, log_of(tmp_path / "ledger"), run, tmp_path / "out" / "evidence")
        with pytest.raises(InputError, match="cannot be made; give another place"):
            write_crate(ledger, log_of(tmp_path / "ledger"), run, tmp_path / "none" / "evidence")
    assert list((tmp_path / "out").iterdir()) == []
