"""What does not come back is ended, whether or not it lets others run."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.heavy

HOLDS = "import ctypes; from flows.deadline import deadline\nwith deadline({}, 'It took too long.'):\n    ctypes.PyDLL(None).sleep({})\nprint('done')"


def run(seconds, sleeps):
    return subprocess.run(
        [sys.executable, "-c", HOLDS.format(seconds, sleeps)], capture_output=True, text=True, timeout=100
    )


def test_it_ends_a_process_that_holds_the_interpreter():
    began = time.monotonic()
    done = run(1, 90)
    assert done.returncode == -signal.SIGKILL
    assert (done.stdout, done.stderr) == ("", "mucs: It took too long.\n")
    assert time.monotonic() - began < 60


def test_what_comes_back_in_time_goes_on():
    done = run(90, 0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
