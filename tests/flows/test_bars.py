"""The bars as a person sees them: on a terminal they come, move and go, and elsewhere nothing is drawn."""

import os
import pty
import re
import select
import subprocess
import sys

import pytest

# tells how far units are when it is asked to, and what it was asked is its log
COMMAND = """
import sys
from flows.cli.bars import bars
from tasks.progress import tell

with bars():
    for line in sys.stdin:
        name, what, done, of = line.split(",")
        tell(name, what, int(done), int(of))
        print("told", line.strip(), file=sys.stderr, flush=True)
"""
SECONDS = 60


def start(stderr: int) -> subprocess.Popen:
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100", "LINES": "20"}
    environment.pop("FORCE_COLOR", None)
    command = [sys.executable, "-c", COMMAND]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=stderr, text=True)


def screen(drawn: str) -> str:
    """What stands on a terminal to which all this was written."""
    lines, row, column = [""], 0, 0
    whole = re.sub(r"\x1b(\[[?\d]*)?$", "", drawn)
    for part in re.split(r"(\x1b\[[?\d]*[A-Za-z]|\r|\n)", whole):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
            row -= int(up[1])
        elif part not in ("\x1b[?25l", "\x1b[?25h"):  # the cursor is hidden, and shown
            assert part.isprintable(), part
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return "\n".join(line.rstrip() for line in lines)


class Terminal:
    """A command whose standard error is a terminal."""

    def __init__(self) -> None:
        self.ours, its = pty.openpty()
        self.command, self.drawn = start(its), b""
        os.close(its)

    def read(self) -> bool:
        """Read on; False at the end."""
        assert select.select([self.ours], [], [], SECONDS)[0], self.drawn
        try:
            more = os.read(self.ours, 10_000)
        except OSError:  # nobody has the other side any more
            more = b""
        self.drawn += more
        return bool(more)

    @property
    def shown(self) -> str:
        return screen(self.drawn.decode(errors="ignore"))

    def tell(self, line: str, pattern: str) -> list[str]:
        """Have the command tell it, and wait until the screen shows it: the lines of the screen, without what was told."""
        self.command.stdin.write(f"{line}\n")
        self.command.stdin.flush()
        while not re.search(pattern, self.shown, re.MULTILINE):
            assert self.read(), self.shown
        return [each for each in self.shown.splitlines() if each and not each.startswith("told")]

    def end(self) -> str:
        """What stands on the screen at the end."""
        self.command.stdin.close()
        while self.read():
            pass
        assert self.command.wait() == 0
        return self.shown


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.command.stdin.close()
    made.command.wait()
    os.close(made.ours)


def test_bars_come_move_within_an_item_and_go(terminal):
    (early,) = terminal.tell("g1,unlearning,2,10", r"^unlearning g1 .* 2/10 ")
    (later,) = terminal.tell("g1,unlearning,7,10", r"^unlearning g1 .* 7/10 ")
    assert 0 < early.count("━") < later.count("━")
    both = terminal.tell(",attribute,1,3", r"^attribute .* 1/3 ")
    assert [line.split()[0] for line in both] == ["unlearning", "attribute"]
    (rest,) = terminal.tell("g1,scoring,4,4", r"4,4\nattribute .* 1/3 ")
    assert rest.startswith("attribute")
    told = ("g1,unlearning,2,10", "g1,unlearning,7,10", ",attribute,1,3", "g1,scoring,4,4")
    assert terminal.end().split() == " ".join(f"told {line}" for line in told).split()
    assert terminal.drawn.rindex(b"\x1b[?25h") > terminal.drawn.rindex(b"\x1b[?25l")  # the cursor is back


def test_nothing_is_drawn_where_there_is_no_terminal():
    lines = "g1,unlearning,2,10\n,attribute,1,3\n"
    with start(subprocess.PIPE) as command:
        _, said = command.communicate(lines, timeout=SECONDS)
    assert said == "".join(f"told {line}\n" for line in lines.splitlines())
