"""Files are whole or not there, however many write them at once, and killed writers leave nothing for long."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from mucs.files import creating, replacing

PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from mucs.files import replacing

def write(letter):
    for _ in range(40):
        with replacing(Path(sys.argv[1])) as partial, partial.open("w") as f:
            for _ in range(64):
                f.write(letter * 64)
                f.flush()

with ThreadPoolExecutor(4) as pool:
    list(pool.map(write, sys.argv[2]))
"""
KILLED = """
import sys
from pathlib import Path
from mucs.files import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_threads_and_processes_may_write_one_path(tmp_path):
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", PROCESS, path, letters]) for letters in ("abcd", "efgh")]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(seen) > 2
    assert {(len(text), len(set(text))) for text in seen} == {(64 * 64, 1)}
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_creators_one_is_first_and_stays(tmp_path):
    path = tmp_path / "file"

    def create(k):
        with creating(path) as partial:
            partial.write_text(str(k))
        return path.read_text()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(64)))) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_with_the_next_and_what_a_living_one_has_stays(tmp_path):
    def writer(name):
        command = [sys.executable, "-c", KILLED, tmp_path / name]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with writer("dead") as dead, writer("alive") as alive:
        for each in (dead, alive):
            assert each.stdout.readline() == "writing\n"
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert len(list(tmp_path.iterdir())) == 2
        with replacing(tmp_path / "another") as partial:
            partial.write_text("whole")
            assert len(list(tmp_path.iterdir())) == 2  # this writer's and the living one's
        alive.communicate("")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"another": "whole", "alive": "half"}


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    try:
        with replacing(path) as partial:
            partial.write_text("after")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert [(p, p.read_text()) for p in tmp_path.iterdir()] == [(path, "before")]
