"""Bars: in a terminal, how far a command's units of work are, each with a bar that moves while it is worked on."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

from mucs.text import for_terminal


@contextlib.contextmanager
def bars() -> Iterator[None]:
    """Draw bars below the log on a terminal's standard error while the block lasts; nowhere else."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from tasks.progress import listening

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown, lock = dict[str, TaskID](), threading.Lock()
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:

        def show(name: str, what: str, done: int, of: int) -> None:
            with lock:
                if name not in shown:
                    shown[name] = drawn.add_task("", total=of)
                drawn.update(
                    shown[name], description=for_terminal(f"{what} {name}".strip(), 40), completed=done, total=of
                )
                if done >= of and what in LAST:
                    drawn.remove_task(shown.pop(name))

        with listening(show):
            yield


# after which there is nothing more to a unit, or to all of them
LAST = ("scoring", "measure", "attribute", "calibrate")
