"""Whatever befalls a load, the ledger is as it was or whole, and the next command works or says in one sentence why not."""

import datetime
import resource
import shutil
import signal
import subprocess
import sys
import time
import types

import pytest

from mucs import InputError
from mucs import ledger as store
from mucs.ledger import Ledger, first_fault
from mucs.ledger import ledger as file
from mucs.ledger.rights import record_derivation
from tests.mucs.ledger.test_ledger import load, make_run

pytestmark = pytest.mark.heavy

# loads run "b" of a folder in a process of its own, which kills itself at a point
LOADER = """
import os, signal, sys
from pathlib import Path
from mucs import ledger as store
from mucs.ledger import Ledger, ledger
from tests.mucs.ledger.test_ledger import make_run

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(source, target):
    target.write_bytes(source.read_bytes()[:source.stat().st_size // 2])
    die()

def placed(working, path):
    place(working, path)
    die()

load = sys.modules["mucs.ledger.load"]
place, folder, point = ledger.replace_durably, Path(sys.argv[1]), sys.argv[2]
hooks = {
    "while the copy is made": (ledger.shutil, "copyfile", half),
    "while items are loaded": (load, "_load_run", die),
    "while edges are loaded": (load, "members_sha256", die),
    "before the copy takes the ledger's place": (ledger, "replace_durably", die),
    "after the copy took the ledger's place": (ledger, "replace_durably", placed),
}
if point in hooks:
    setattr(*hooks[point])  # noqa: B010
with Ledger.open(folder / "ledger.duckdb", read_only=False) as opened:
    store.load(opened, make_run(folder, "b"))
    if point == "while it holds the ledger":
        print("held", flush=True)
        sys.stdin.read()
"""


def loader(folder, point="", **more) -> subprocess.Popen:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LOADER, str(folder), point]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **more)


@pytest.fixture
def path(tmp_path):
    """A ledger with run "a"."""
    load(tmp_path / "ledger.duckdb", make_run(tmp_path, "a"))
    return tmp_path / "ledger.duckdb"


def runs(path) -> int:
    """How many runs there are, in a ledger that holds."""
    with Ledger.open(path) as ledger:
        assert first_fault(ledger) is None
        return ledger.one("SELECT count(*) FROM runs")


@pytest.mark.parametrize("first", [True, False], ids=["the first load", "a later load"])
@pytest.mark.parametrize(
    ("point", "done"),
    [
        ("while the copy is made", False),
        ("while items are loaded", False),
        ("while edges are loaded", False),
        ("before the copy takes the ledger's place", False),
        ("after the copy took the ledger's place", True),
    ],
)
def test_a_load_that_is_killed_leaves_the_ledger_as_it_was_or_whole(path, point, done, first):
    if first:
        path.unlink()
    before = path.read_bytes() if path.exists() else None
    with loader(path.parent, point) as process:
        process.communicate()
    if first and point == "while the copy is made":
        assert process.returncode == 0  # there was nothing to copy
        return
    assert process.returncode == -signal.SIGKILL
    if done:
        assert runs(path) == 2 - first
    else:
        assert (path.read_bytes() if path.exists() else None) == before
    assert load(path, make_run(path.parent, "b")) is not done
    assert runs(path) == 2 - first
    assert sorted(p.name for p in path.parent.iterdir() if "writing" in p.name) == []


def test_of_two_loaders_one_waits_and_both_end_well(path):
    with loader(path.parent, "while it holds the ledger") as other:
        assert other.stdout.readline() == "held\n"
        began = time.monotonic()
        with pytest.raises(InputError, match=f"is being written by process {other.pid} since"):
            Ledger.open(path, read_only=False, wait=0.2)
        assert time.monotonic() - began < 5
        assert runs(path) == 1  # readers do not wait
        with loader(path.parent) as waiting:
            time.sleep(0.5)
            assert waiting.poll() is None
            other.communicate("")
            _, err = waiting.communicate()
            assert waiting.returncode == 0, err
    assert other.returncode == 0
    assert runs(path) == 2


def test_a_killed_loader_does_not_hold_up_the_next_one(path):
    with loader(path.parent, "while it holds the ledger") as other:
        assert other.stdout.readline() == "held\n"
        other.kill()
        other.communicate()
    assert load(path, make_run(path.parent, "b"))
    assert runs(path) == 2


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_ledger_is_refused_in_one_sentence(path, mucs, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    for command in (("verify",), ("why", "g0"), ("sql", "SELECT * FROM edges")):
        status, out, err = mucs(*command, "--ledger", path)
        assert "Traceback" not in err
        if command == ("verify",) or share < 0.9:  # a question may do without the part that is gone
            assert status in ((1, 2) if command == ("verify",) else (2,))
            assert (out + err).count("\n") == 1
    if share < 0.9:
        with pytest.raises(InputError):
            load(path, make_run(path.parent, "b"))
    assert path.read_bytes() == whole[: int(len(whole) * share)]


def test_bytes_that_were_altered_are_found_or_refused_in_one_sentence(path, mucs):
    whole = path.read_bytes()
    answers = set()
    for at in range(64, len(whole), len(whole) // 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        status, out, err = mucs("verify", "--ledger", path)
        assert (out + err).count("\n") == 1, (at, out, err)
        answers.add(status)
    assert {1, 2} & answers


def derive(path, child: str) -> None:
    with Ledger.open(path, read_only=False) as ledger:
        assert record_derivation(ledger, child * 64, "f" * 64)


def test_a_clock_that_goes_back_is_refused_and_a_little_is_made_up_for(path, monkeypatch):
    class Ahead(datetime.datetime):
        by = datetime.timedelta(seconds=30)

        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + cls.by

    clock = types.SimpleNamespace(datetime=Ahead, UTC=datetime.UTC, timedelta=datetime.timedelta)
    with monkeypatch.context() as patch:
        patch.setattr(file, "datetime", clock)
        derive(path, "a")
    derive(path, "b")
    assert runs(path) == 1
    with monkeypatch.context() as patch:
        patch.setattr(file, "datetime", clock)
        Ahead.by = datetime.timedelta(hours=1)
        derive(path, "c")
    before = path.read_bytes()
    with pytest.raises(InputError, match="set the clock right, nothing was changed"):
        load(path, make_run(path.parent, "b"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.3, 1.02, 1.2])
def test_a_disk_that_fills_up_is_said_so_and_nothing_is_lost(path, share):
    """A limit on the size of files stands in for a full disk: the write fails in the same way."""
    before, limit = path.read_bytes(), int(path.stat().st_size * share)
    big = path.parent / "big"
    big.mkdir()
    shutil.copy(path, big / "ledger.duckdb")
    script = (
        "import sys\nfrom pathlib import Path\nfrom mucs import InputError\nfrom mucs.ledger import Ledger\n"
        "import pyarrow as pa, numpy as np\n"
        "try:\n"
        "    with Ledger.open(Path(sys.argv[1]) / 'ledger.duckdb', read_only=False) as l, l.transaction() as now:\n"
        "        entry = l.append('derivation', {})\n"
        "        noise = pa.table({'c': [np.random.bytes(64).hex() for _ in range(100_000)]})\n"
        "        l.connection.execute('INSERT INTO file.derivations SELECT 9, c, c, ? FROM noise', [now])\n"
        "except InputError as error:\n"
        "    sys.exit(f'refused: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(big)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("refused: There is no room beside"), done.stderr
    assert (big / "ledger.duckdb").read_bytes() == before
    assert [p.name for p in big.iterdir() if "writing" in p.name] == []
    assert runs(big / "ledger.duckdb") == 1
    with Ledger.open(big / "ledger.duckdb", read_only=False) as ledger:
        assert store.load(ledger, make_run(path.parent, "b"))
    assert runs(big / "ledger.duckdb") == 2
