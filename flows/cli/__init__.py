"""The `mucs` command."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import click

from flows.cli import (
    doctor,
    evaluate,
    evidence,
    explore,
    export,
    index,
    jobs,
    log,
    notify,
    questions,
    records,
    registry,
    royalties,
    serve,
    token,
)
from mucs import InputError, __version__
from mucs.text import first_line, for_terminal

SECONDS_TO_STOP = 10
MOST = 1500  # characters of a sentence
STOPPED = "stopped; run the same command again to go on where it was."
# what is wrong with a place, not with the program
SURROUNDINGS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE),
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mucs")
def cli() -> None:
    """Which training images are behind a generated image, with the evidence.

    Exit status: 0 done, 1 a check failed, 2 bad input, 130 stopped by Ctrl-C, 143 stopped by SIGTERM.
    """


for command in (
    *(jobs.demo, jobs.audit, jobs.calibrate, jobs.worker, index.index, index.ask_image, evaluate.evaluate),
    *(questions.why, questions.used, questions.questions, questions.ask, questions.sql),
    *(records.rights, records.opt_out, records.derive, records.withdraw, records.forget),
    *(royalties.royalties, royalties.dispute),
    *(log.head, log.sync, log.rebuild),
    *(explore.explore, export.export, token.token, notify.notify),
    *(evidence.prove, evidence.verify, evidence.replay, evidence.keygen),
    *(registry.registry, serve.serve, doctor.doctor),
):
    cli.add_command(command)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


def main() -> None:
    """Run the command; what is not its own fault is one sentence and a status."""
    try:
        with stopping():
            refuse_other_encodings(sys.argv[1:])
            cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except (Exception, KeyboardInterrupt) as error:
        told = explain(error)
        if told is None:
            raise
        status, sentence = told
        click.echo(
            f"mucs: {shortened(for_terminal(sentence, len(sentence)))}", err=True
        )  # it may quote what no terminal should get
        sys.exit(status)


def shortened(sentence: str) -> str:
    """A sentence that quotes a long word, without its middle: its end says what to do."""
    return sentence if len(sentence) <= MOST else f"{sentence[: MOST // 2]} … {sentence[-MOST // 2 :]}"


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Have SIGTERM stop the block, and the process end some seconds after SIGTERM or Ctrl-C whatever it waits for.

    SIGINT keeps its meaning: where it is ignored from the start, as it is in a script's background, it stays so.
    """

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    read, write = os.pipe()
    os.set_blocking(write, False)
    ending = threading.Event()

    def watch() -> None:
        number = None
        while number not in (signal.SIGTERM, signal.SIGINT):  # others may have handlers too
            arrived = os.read(read, 1)
            if not arrived:
                return os.close(read)
            number = arrived[0]
        ending.set()
        time.sleep(SECONDS_TO_STOP)
        click.echo(f"mucs: {STOPPED}", err=True)
        os._exit(128 + number)

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, Exception):
            if not ending.is_set():  # then finalizers find half of what they need
                hook(lost)
            return
        number = signal.SIGINT if type(lost.exc_value) is KeyboardInterrupt else signal.SIGTERM
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()

    threading.Thread(target=watch, daemon=True).start()
    kept, hook = signal.signal(signal.SIGTERM, terminate), sys.unraisablehook
    sys.unraisablehook = send_again  # an exception that a finalizer happens to get ends nothing
    # the kernel's own note of a signal: Prefect has a handler of its own while a flow runs
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        if not ending.is_set():
            sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, kept)
        os.close(write)


def refuse_other_encodings(words: list[str]) -> None:
    """InputError for an argument that is not UTF-8."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise InputError(f"The argument {os.fsencode(word)!r} is not UTF-8; write it in UTF-8.") from None


def explain(error: BaseException) -> tuple[int, str] | None:
    """The exit status and the sentence for an error that is not the program's own; None for one that is."""
    number = stopped_by(error)
    if number is not None:
        return 128 + number, STOPPED
    if isinstance(error, click.ClickException):
        return 2, f"{error.format_message().rstrip('.')}; see `mucs --help`."
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, ModuleNotFoundError):  # the library alone is installed
        ours = (error.name or "").partition(".")[0] in ("mucs", "tasks", "flows")
        return None if ours else (2, f"The package {error.name} is missing; run: pip install 'mucs[service]'.")
    if isinstance(error, OSError) and error.errno in SURROUNDINGS and error.filename is not None:
        return 2, f"{error.filename} cannot be used ({error.strerror}); mend that, or give another place."
    units = sys.modules.get("flows.units")
    if units is not None and isinstance(error, units.NoneAttributed):
        return 1, str(error)
    duckdb = sys.modules.get("duckdb")
    if duckdb is not None and isinstance(error, duckdb.Error):
        said = f"The ledger cannot be read ({first_line(error)}); check it with `mucs verify`, or make it anew with `mucs rebuild`."
        return 2, said
    return None


def stopped_by(error: BaseException | None) -> int | None:
    """The signal that stopped the command, also where another error came up on the way out; None for none."""
    found = None
    while error is not None:
        if isinstance(error, Terminated):
            return signal.SIGTERM
        if isinstance(error, KeyboardInterrupt | click.Abort):
            found = signal.SIGINT
        error = error.__context__
    return found
