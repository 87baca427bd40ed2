"""The `mucs` command."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import click

from flows.cli import evaluate, evidence, jobs, questions, records, royalties
from mucs import InputError, __version__
from mucs.text import for_terminal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mucs")
def cli() -> None:
    """Which training images are behind a generated image, with the evidence.

    Exit status: 0 done, 1 a check failed, 2 bad input.
    """


for command in (
    *(jobs.demo, jobs.audit, jobs.calibrate, evaluate.evaluate),
    *(questions.why, questions.used, questions.questions, questions.ask, questions.sql),
    *(records.rights, records.derive, records.withdraw),
    *(royalties.royalties, royalties.dispute),
    *(evidence.prove, evidence.verify, evidence.replay, evidence.keygen, evidence.serve),
):
    cli.add_command(command)


def main() -> None:
    """Run the command; bad input is one sentence and status 2."""
    signal.signal(
        signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)
    )  # so that servers are stopped on the way out
    try:
        cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        say(f"{error.format_message().rstrip('.')}; see `mucs --help`.")
        sys.exit(2)
    except InputError as error:
        say(str(error))
        sys.exit(2)
    except ModuleNotFoundError as error:  # the library alone is installed
        if (error.name or "").partition(".")[0] in ("mucs", "tasks", "flows"):
            raise
        click.echo(f"mucs: The package {error.name} is missing; run: pip install 'mucs[service]'.", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        say_stopped()
    except Exception as error:
        if was_stopped(error):
            say_stopped()
        duckdb = sys.modules.get("duckdb")
        if duckdb is None or not isinstance(error, duckdb.Error):
            raise
        first = str(error).splitlines()[0].rstrip(".")
        say(f"The ledger cannot be read ({first}); check it with `mucs verify`, or restore it from a copy.")
        sys.exit(2)


def say(sentence: str) -> None:
    """An error for a person; it may quote what no terminal should get."""
    click.echo(f"mucs: {for_terminal(sentence)}", err=True)


def was_stopped(error: BaseException | None) -> bool:
    """Whether an error came up on the way out: Ctrl-C stops Prefect's server as well, which then cannot be told."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def say_stopped() -> NoReturn:
    click.echo("mucs: stopped; run the same command again to go on where it was.", err=True)
    sys.exit(130)
