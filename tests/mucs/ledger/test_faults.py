"""Whatever befalls a writer, the log has an entry or has it not, the ledger is whole, and the next command goes on."""

import datetime
import shutil
import signal
import subprocess
import sys
import time
import types

import pytest

from mucs import InputError
from mucs.ledger import Ledger
from mucs.ledger import ledger as of_ledger
from mucs.ledger.rights import say_derivation
from mucs.ledger.tables import table_digests
from tests.factories import fault, load, log_of, writing
from tests.mucs.ledger.test_ledger import make_run

pytestmark = pytest.mark.heavy

# says run "b" of a folder in a process of its own, or makes the ledger anew; kills itself at a point
WRITER = """
import os, signal, sys
from pathlib import Path
from mucs.evidence.log import Log
from mucs.ledger import Ledger, apply
from tests.factories import load, log_of
from tests.mucs.ledger.test_ledger import make_run

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def then_die(log, entry):
    append(log, entry)
    die()

append, folder, point = Log.append, Path(sys.argv[1]), sys.argv[2]
hooks = {
    "between objects and entry": (Log, "append", die),
    "between entry and ledger": (Log, "append", then_die),
    "while items are applied": (apply.Applying, "_run_row", die),
    "when edges are applied": (apply.Applying, "finish", die),
}
setattr(*hooks[point.removeprefix("in a rebuild, ")])
if point.startswith("in a rebuild"):
    Ledger.rebuild(folder / "ledger", log_of(folder / "ledger"))
else:
    load(folder / "ledger", make_run(folder, "b"))
"""


def killed(folder, point) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), point], stderr=subprocess.PIPE, text=True
    ) as process:
        _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with run "a"."""
    folder = tmp_path_factory.mktemp("whole")
    load(folder / "ledger", make_run(folder, "a"))
    return folder / "ledger"


@pytest.fixture
def path(whole, tmp_path):
    """A copy of it, with its log."""
    for name in ("ledger", "log"):
        shutil.copytree(whole.with_name(name), tmp_path / name)
    return tmp_path / "ledger"


def runs(path) -> int:
    """How many runs there are."""
    with Ledger.open(path) as ledger:
        return ledger.one("SELECT count(*) FROM runs")


@pytest.mark.parametrize(
    ("point", "said"),
    [
        pytest.param("while items are applied", False, marks=pytest.mark.slow),
        ("when edges are applied", False),
        pytest.param("between objects and entry", False, marks=pytest.mark.slow),
        ("between entry and ledger", True),
    ],
)
def test_a_writer_that_is_killed_has_said_all_or_nothing_and_the_next_goes_on(path, point, said):
    killed(path.parent, point)
    assert runs(path) == 1
    assert (log_of(path).entry(2) is not None) is said
    assert fault(path) is None
    assert load(path, make_run(path.parent, "b")) is not said
    assert runs(path) == 2
    assert log_of(path).entry(3) is None
    assert fault(path) is None


@pytest.mark.parametrize(
    "point", [pytest.param("while items are applied", marks=pytest.mark.slow), "when edges are applied"]
)
def test_a_rebuild_that_is_killed_leaves_the_ledger_as_it_was(path, point):
    killed(path.parent, f"in a rebuild, {point}")
    assert runs(path) == 1
    with Ledger.rebuild(path, log_of(path)) as anew, Ledger.open(path) as ledger:
        assert table_digests(anew.connection) == table_digests(ledger.connection)
    assert fault(path) is None


def derive(path, child: str) -> None:
    with writing(path) as ledger:
        assert say_derivation(ledger, child * 64, "f" * 64)


def test_a_clock_that_goes_back_is_refused_and_a_little_is_made_up_for(path, monkeypatch):
    class Ahead(datetime.datetime):
        by = datetime.timedelta(seconds=30)

        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + cls.by

    clock = types.SimpleNamespace(datetime=Ahead, UTC=datetime.UTC, timedelta=datetime.timedelta)
    with monkeypatch.context() as patch:
        patch.setattr(of_ledger, "datetime", clock)
        derive(path, "a")
    derive(path, "b")
    with monkeypatch.context() as patch:
        patch.setattr(of_ledger, "datetime", clock)
        Ahead.by = datetime.timedelta(hours=1)
        derive(path, "c")
    with pytest.raises(InputError, match="set the clock right, nothing was changed"):
        load(path, make_run(path.parent, "b"))
    assert log_of(path).entry(5) is None
    assert fault(path) is None


FULL = """
import resource, sys
from pathlib import Path
from mucs import InputError
from mucs.ledger import Ledger
from tests.factories import load, log_of
from tests.mucs.ledger.test_ledger import make_run
path = Path(sys.argv[1]) / "ledger"
run = make_run(path.parent, "b")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    if sys.argv[3] == "rebuild":
        Ledger.rebuild(path, log_of(path))
    else:
        load(path, run)
except InputError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("what", ["load", pytest.param("rebuild", marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_is_said_so_and_nothing_is_lost(path, what):
    """A limit on the size of files stands in for a full disk: the write fails in the same way."""
    limit = 40_000  # what SQLite needs to open a catalogue, and no more
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path.parent), str(limit), what], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    said = log_of(path).entry(2) is not None
    expected = "refused: It is said, as entry 2 of the log, but" if said else "refused: There is no room"
    assert done.stderr.startswith(expected), done.stderr
    assert done.stderr.count("\n") == 1
    assert runs(path) == 1
    assert fault(path) is None
    assert load(path, make_run(path.parent, "b")) is not said
    assert runs(path) == 2


SYNC = """
import sys
from pathlib import Path
from mucs.evidence.log import Log
from mucs.evidence.store import Folder
from mucs.ledger import Ledger
from mucs.ledger.rights import say_derivation
from mucs.ledger.tables import table_digests
folder, me, writes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Ledger.write(folder / f"ledger-{me}", Log(Folder(folder / "log"))) as ledger:
    for k in range(writes):
        assert say_derivation(ledger, f"{me}{k:063d}", "f" * 64)
    sys.stdin.read()
    ledger.sync()
    print(sorted(table_digests(ledger.connection).items()))
"""


def wait_for(path, position: int, machines) -> None:
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=200)
    while log_of(path).entry(position) is None:
        assert datetime.datetime.now() < deadline
        assert all(machine.poll() is None for machine in machines)
        time.sleep(0.05)


def test_machines_that_write_and_sync_one_log_end_with_the_same_tables(path):
    """Two write while two look on, each with a ledger of its own."""
    words = [sys.executable, "-c", SYNC, str(path.parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    machines = [subprocess.Popen([*words, str(k), str(8 if k < 2 else 0)], **pipes) for k in range(4)]
    wait_for(path, 17, machines)
    told = {machine.communicate("")[0] for machine in machines}
    assert len(told) == 1
    assert log_of(path).entry(18) is None
    with writing(path) as ledger:
        assert str(sorted(table_digests(ledger.connection).items())) == told.pop().strip()
        assert {e.said["body"].get("child", "")[0:1] for e in ledger.entries()[1:]} == {"0", "1"}


@pytest.mark.slow
def test_two_writers_of_one_ledger_wait_for_each_other(path):
    """Whoever is late applies what came between and goes on, in one ledger as well."""
    script = SYNC.replace('f"ledger-{me}"', '"ledger"')
    words = [sys.executable, "-c", script, str(path.parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    machines = [subprocess.Popen([*words, str(k), "6"], **pipes) for k in range(3)]
    wait_for(path, 19, machines)
    assert len({machine.communicate("")[0] for machine in machines}) == 1
    assert [machine.returncode for machine in machines] == [0, 0, 0]
    with Ledger.open(path) as ledger:
        assert ledger.at()[0] == 19
    assert fault(path) is None
