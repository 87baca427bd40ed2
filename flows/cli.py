"""The `mucs` command."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mucs import InputError, __version__

if TYPE_CHECKING:
    from tasks.attribute import Settings

LEDGER = click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    envvar="MUCS_LEDGER",
    default=Path("mucs.duckdb"),
    show_default=True,
    help="The ledger file.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mucs")
def cli() -> None:
    """Which training images are behind a generated image, with the evidence.

    Exit status: 0 done, 1 a check failed, 2 bad input.
    """


def add_elapsed(record: logging.LogRecord) -> bool:
    """Gives a log record the minutes and seconds since the command began."""
    seconds = int(record.relativeCreated / 1000)
    record.elapsed = f"{seconds // 60:2d}:{seconds % 60:02d}"
    return True


def quiet_tools() -> None:
    """Settings of the tools below that the command wants; whoever set them already is right."""
    for name, value in {
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }.items():
        os.environ.setdefault(name, value)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(elapsed)s  %(message)s"))
    handler.addFilter(add_elapsed)
    narrator = logging.getLogger("mucs")
    narrator.handlers = [handler]
    narrator.setLevel(logging.INFO)
    narrator.propagate = False


def quiet_loggers() -> None:
    """Once the tools are imported: their own remarks are not for the reader of a command's output."""
    import dvc  # noqa: F401  (it sets levels of its own when it is first imported)

    for name in (
        "dvc",
        "dvc_objects",
        "dvc_data",
        "great_expectations",
        "botocore",
        "aiobotocore",
        "diffusers",
        "alembic",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)


@cli.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("mucs-demo"),
    show_default=True,
    help="Where the demo's world lives.",
)
def demo(folder: Path) -> None:
    """Audit the OpenMoji model that comes with the project, on an S3 server of its own."""
    quiet_tools()
    home = Path(os.environ.setdefault("PREFECT_HOME", str((folder / "prefect").resolve())))
    home.mkdir(parents=True, exist_ok=True)
    from flows.demo import demo as run_demo

    quiet_loggers()
    done = run_demo(folder)
    page = done.report or max((folder / "reports").glob("*.html"), key=lambda p: p.stat().st_mtime, default=None)
    ledger = folder / "ledger.duckdb"
    click.echo(f"\nThe page:      {page}\nThe ledger:    {ledger}\n\nAsk it:        mucs why 0000 --ledger {ledger}")


def read_settings(assignments: tuple[str, ...]) -> Settings:
    """Settings from `name=value` words, values in JSON or plain; InputError for an unknown name or a value of another kind."""
    from pydantic import TypeAdapter, ValidationError

    from tasks.attribute import Settings

    names = [field.name for field in dataclasses.fields(Settings)]
    given: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in names:
            raise InputError(f"{assignment!r} is not a setting; write name=value with one of: {', '.join(names)}.")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    try:
        return TypeAdapter(Settings).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"The setting {first['loc'][0] if first['loc'] else '?'} cannot be {first['input']!r}; give a value of the kind of its default."
        ) from None


def inputs(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that work on a registry."""
    for option in reversed(INPUTS):
        command = option(command)
    return command


INPUTS = [
    click.option("--registry", required=True, help="Path or address of a Git repository whose DVC remote is on S3."),
    click.option("--revision", default="main", show_default=True, help="Tag, branch or commit."),
    click.option("--checkpoint", default="checkpoint", show_default=True, help="Its folder in the registry."),
    click.option("--train", "training_set", default="train", show_default=True, help="The training set's folder."),
    click.option("--held-out", default="held_out", show_default=True, help="The held-out set's folder; '' for none."),
    click.option("--results", required=True, help="s3://bucket/prefix for the evidence."),
    click.option(
        "--licence",
        "licences",
        multiple=True,
        required=True,
        help="A licence that a training item may have; give it once for each.",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of the method, such as learning_rate=1e-4.",
    ),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto."),
]


@cli.command()
@inputs
@click.option("--generated", "batch", default="generated", show_default=True, help="The generated batch's folder.")
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder for the page.",
)
@LEDGER
@JSON
def audit(
    licences: tuple[str, ...], assignments: tuple[str, ...], held_out: str, as_json: bool, **parameters: Any
) -> None:
    """Attribute the generated items that the ledger does not hold yet.

    Credentials and endpoint of S3 come from the usual AWS_* variables.
    """
    quiet_tools()
    from flows.audit import audit as run_audit

    quiet_loggers()
    done = run_audit(
        licences=list(licences), settings=read_settings(assignments), held_out=held_out or None, **parameters
    )
    if as_json:
        print_json(dataclasses.asdict(done))
    elif done.run:
        click.echo(f"Attributed {done.attributed} generated items in run {done.run[:16]}.")
    else:
        click.echo(f"Nothing to do: the ledger holds all {done.held} items for these inputs and settings.")


@cli.command()
@inputs
@JSON
def calibrate(licences: tuple[str, ...], assignments: tuple[str, ...], as_json: bool, **parameters: Any) -> None:
    """Measure what the training items score for images that they have nothing to do with.

    Audits with the same inputs and settings find it under the results, and compare every edge with it.
    """
    quiet_tools()
    from flows.calibrate import calibrate as run_calibrate

    quiet_loggers()
    done = run_calibrate(licences=list(licences), settings=read_settings(assignments), **parameters)
    if as_json:
        print_json(dataclasses.asdict(done))
    elif done.made:
        click.echo(f"Calibrated with {done.decoys} decoys over {done.noises} noises: {done.address[:16]}.")
    else:
        click.echo(f"Nothing to do: the calibration {done.address[:16]} is there already.")


def print_json(value: Any) -> None:
    """JSON, with anything that JSON lacks as text; NaN as null."""
    import math

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(v) for v in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    click.echo(json.dumps(plain(value), indent=1, default=str, ensure_ascii=False))


def print_table(rows: list[dict[str, Any]], columns: list[str], title: str | None = None) -> None:
    """A table for a person."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = all(isinstance(row[column], int | float) or row[column] is None for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(
            *(f"{row[c]:.4f}" if isinstance(row[c], float) else "" if row[c] is None else str(row[c]) for c in columns)
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@cli.command()
@click.argument("generated")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many training items.")
@LEDGER
@JSON
def why(generated: str, top: int, ledger: Path, as_json: bool) -> None:
    """What is behind this generated item (its id, or the start of its SHA-256)?"""
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        rows = opened.ask("why", generated=generated, top=top)
    if not rows:
        raise InputError(
            f'The ledger has no attribution of a generated item {generated!r}; list them with `mucs sql "SELECT DISTINCT generated FROM lineage"`.'
        )
    if as_json:
        return print_json(rows)
    state = "" if rows[0]["converged"] else ", not converged"
    print_table(
        rows,
        [
            "rank",
            "training",
            *(["annotation"] if rows[0]["annotation"] else []),
            "rights_holder",
            "licence",
            "score",
            "standard_error",
            "p_value",
            *(["decoy_p_value", "decoy_z"] if rows[0]["decoy_p_value"] is not None else []),
        ],
        f"Behind {rows[0]['generated']} (run {rows[0]['run'][:16]}{state})",
    )


@cli.command()
@click.argument("training")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="How many generated items.")
@LEDGER
@JSON
def used(training: str, top: int, ledger: Path, as_json: bool) -> None:
    """What is this training item behind (its id, or the start of its SHA-256)?"""
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        rows = opened.ask("used", training=training, top=top)
        known = rows or opened.ask("known", training=training)
    if not known:
        raise InputError(
            f'The ledger has no training item {training!r}; list them with `mucs sql "SELECT id, rights_holder FROM training_items"`.'
        )
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo(f"{known[0]['training']} by {known[0]['rights_holder']} is in no generated item's ranking.")
    print_table(
        rows,
        ["generated", "rank", "score", "standard_error", "p_value", "run"],
        f"{rows[0]['training']} by {rows[0]['rights_holder']} is behind",
    )


@cli.command()
@click.argument("query")
@LEDGER
@JSON
def sql(query: str, ledger: Path, as_json: bool) -> None:
    """Answer one SELECT over the ledger; it can neither write nor reach anything else."""
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        rows = opened.select(query)
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("No rows.")
    print_table(rows, list(rows[0]))


@cli.command()
@click.argument("generated")
@click.argument("training")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("proof.json"),
    show_default=True,
    help="The proof's file.",
)
@LEDGER
def prove(generated: str, training: str, output: Path, ledger: Path) -> None:
    """Write a proof that this training item is behind this generated one, to show without the rest of the run."""
    from mucs.files import replacing
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        proof = opened.prove(generated, training)
    try:
        with replacing(output) as partial:
            partial.write_text(json.dumps(proof, indent=1, ensure_ascii=False) + "\n")
    except OSError:
        raise InputError(f"{output} cannot be written; give another --output.") from None
    click.echo(
        f"{output} proves rank {proof['edge']['rank']} to whoever knows the root of run {proof['run'][:16]}:"
        f" mucs verify --proof {output} --root {proof['root']}"
    )


def verify_proof(path: Path, root: str, as_json: bool) -> None:
    """Check a proof against a root; exit status 1 if it does not hold."""
    from mucs.ledger import holds

    try:
        proof = json.loads(path.read_text())
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read as JSON; give a file that `mucs prove` wrote.") from None
    held = holds(proof, root)
    if as_json:
        print_json({"holds": held, "generated": proof["generated"], "training": proof["training"], **proof["edge"]})
    elif held:
        ends, edge = (proof["generated"], proof["training"]), proof["edge"]
        made, cause = (f"{row.get('id')} (image {str(row.get('sha256'))[:16]})" for row in ends)
        click.echo(
            f"It holds: {cause} stands at rank {edge['rank']} behind {made}, with a score of {edge['score']:.4f}."
        )
    else:
        click.echo(f"It does not hold: the edge in {path} is not among those that the root commits to.")
    if not held:
        sys.exit(1)


@cli.command()
@LEDGER
@click.option("--proof", type=click.Path(path_type=Path), help="Check this file, without a ledger.")
@click.option("--root", help="The Merkle root that the run published, as results.edges_root of its run.json.")
@JSON
def verify(ledger: Path, proof: Path | None, root: str | None, as_json: bool) -> None:
    """Recompute the ledger's chain and every digest in it, or a proof; exit status 1 at the first thing that does not hold."""
    if (proof is None) != (root is None):
        raise InputError("A proof is checked against a published root; give both --proof and --root.")
    if proof is not None and root is not None:
        return verify_proof(proof, root, as_json)
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        fault, entries = opened.first_fault(), opened.entries()
    if as_json:
        print_json(
            {
                "holds": fault is None,
                "fault": fault,
                "entries": len(entries),
                "head": entries[-1].sha256 if entries else None,
            }
        )
    else:
        click.echo(
            f"It does not hold: {fault}."
            if fault
            else f"It holds: {len(entries)} entries, head {entries[-1].sha256 if entries else 'none'}."
        )
    if fault:
        sys.exit(1)


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
        click.echo(f"mucs: {error.format_message().rstrip('.')}; see `mucs --help`.", err=True)
        sys.exit(2)
    except InputError as error:
        click.echo(f"mucs: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("mucs: stopped; run the same command again to go on where it was.", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
