"""Commands that work for minutes: demo, audit, calibrate."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from flows.cli.bars import bars
from flows.cli.shared import JSON, LEDGER, LOG, PLACE, Number, Whole, print_json
from flows.engine import Engine
from flows.prefect_server import prefect_server
from mucs import InputError
from mucs.files import check_writable
from mucs.parse import load_json
from tasks.lines import formatter

if TYPE_CHECKING:
    from mucs.attribution import Settings


class ToStandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at the time: bars that are drawn there take its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def quiet_tools() -> None:
    """Settings of the tools below that the command wants; whoever set them already is right."""
    for name, value in {
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",  # its server's database complains when a run is stopped
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }.items():
        os.environ.setdefault(name, value)
    handler = ToStandardError()
    handler.setFormatter(formatter())
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


@click.command()
@click.option(
    "--folder",
    type=PLACE,
    default=Path("mucs-demo"),
    show_default=True,
    help="Where the demo's world lives.",
)
def demo(folder: Path) -> None:
    """Audit the OpenMoji model that comes with the project, on an S3 server of its own, and state what its artists are owed."""
    quiet_tools()
    check_writable(folder, "the demo")
    home = Path(os.environ.setdefault("PREFECT_HOME", str((folder / "prefect").resolve())))
    home.mkdir(parents=True, exist_ok=True)
    from flows.demo import demo as run_demo
    from flows.demo import sample_statement

    quiet_loggers()
    with bars():
        done = run_demo(folder)
    statement = sample_statement(folder).page
    page = done.report or max((folder / "reports").glob("*.html"), key=lambda p: p.stat().st_mtime, default=None)
    ledger = folder / "ledger"
    click.echo(
        f"\nThe page:      {page}\nThe statement: {statement}\nThe ledger:    {ledger}"
        f"\n\nAsk it:        mucs why 0000 --ledger {ledger}\nLook at it:    mucs explore --open {folder}"
    )


def read_settings(assignments: tuple[str, ...]) -> Settings:
    """Settings from `name=value` words, values in JSON or plain; InputError for an unknown name or a value of another kind."""
    from mucs.attribution.settings import DEFAULTS, Settings

    given: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in DEFAULTS:
            raise InputError(f"{assignment!r} is not a setting; write name=value with one of: {', '.join(DEFAULTS)}.")
        try:
            given[name] = load_json(value)
        except ValueError:
            given[name] = value
    return Settings.from_record(given)


Command = Callable[..., None]


def options(chosen: Sequence[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Options of a command, in order."""

    def add(command: Command) -> Command:
        for option in reversed(chosen):
            command = option(command)
        return command

    return add


MODEL = [
    click.option("--registry", required=True, help="Path or address of a Git repository whose DVC remote is on S3."),
    click.option("--revision", default="main", show_default=True, help="Tag, branch or commit."),
    click.option("--checkpoint", default="checkpoint", show_default=True, help="Its folder in the registry."),
    click.option("--train", "training_set", default="train", show_default=True, help="The training set's folder."),
    LOG,
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of the method, such as learning_rate=1e-4.",
    ),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto."),
]
INPUTS = [
    *MODEL,
    click.option("--held-out", default="held_out", show_default=True, help="The held-out set's folder; '' for none."),
    click.option(
        "--licence",
        "licences",
        multiple=True,
        required=True,
        help="A licence that a training item may have; give it once for each.",
    ),
    click.option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster, HOST:PORT or ray://HOST:PORT, or on one of the command's own: local.",
    ),
    click.option("--processes", is_flag=True, help="Work in processes of this machine, in place of threads."),
    click.option("--workers", type=Whole(), help="How many items side by side on this machine; one a core without."),
    click.option(
        "--gpus", type=Number(), default=1.0, show_default=True, help="GPUs that an item takes; 0.5 puts two on one."
    ),
    click.option(
        "--work",
        metavar="PLACE",
        help="Where results of items are kept until the run is published, a folder or s3://bucket/prefix."
        " Without it, in the cache, or beside the log for a Ray cluster.",
    ),
]
inputs = options(INPUTS)  # of the commands that work on a registry


def job(
    licences: tuple[str, ...],
    assignments: tuple[str, ...],
    ray: str | None,
    processes: bool,
    workers: int | None,
    gpus: float,
    **parameters: Any,
) -> dict[str, Any]:
    """The parameters of a flow, from a command's options.

    Raises:
        InputError: For an engine that cannot be used.
    """
    if not parameters["log"]:
        parameters["log"] = of_ledger(parameters.get("ledger"))
    engine = Engine(ray, processes, workers, gpus)
    engine.check()
    parameters["held_out"] = parameters["held_out"] or None
    return parameters | {"licences": list(licences), "settings": read_settings(assignments), "engine": engine}


def of_ledger(ledger: str | None) -> str:
    """The log that a ledger follows.

    Raises:
        InputError: If there is no ledger, and so no log.
    """
    from mucs.ledger.lake import Lake
    from tasks.ledgers import followed

    if ledger is None or not Lake.at(ledger).exists():
        raise InputError("There is no log yet for the evidence; give a folder or s3://bucket/prefix as --log.")
    return followed(ledger)


@click.command()
@inputs
@click.option("--generated", "batch", default="generated", show_default=True, help="The generated batch's folder.")
@click.option(
    "--sign",
    "key",
    type=PLACE,
    help="Sign the run with this private key, which `mucs keygen` made.",
)
@click.option(
    "--retention-days",
    type=Whole(),
    help="Have S3 keep the evidence from being deleted for so many days; its bucket must have object lock.",
)
@click.option(
    "--reports",
    type=PLACE,
    default=Path("reports"),
    show_default=True,
    help="Folder for the page.",
)
@click.option(
    "--again-if-older", is_flag=True, help="Attribute again what runs of another version of the method attributed."
)
@click.option("--estimate", is_flag=True, help="Say what it will take, from a trial of some seconds, and keep nothing.")
@LEDGER
@JSON
def audit(as_json: bool, estimate: bool, **options: Any) -> None:
    """Attribute the generated items that the ledger does not hold yet.

    Credentials and endpoint of S3 come from the usual AWS_* variables.
    """
    quiet_tools()
    parameters = job(**options)
    if estimate:
        print_estimate(parameters, as_json)
        return
    with prefect_server() as wait_for_prefect:
        from flows.audit import audit as run_audit
        from flows.audit import check_audit
        from flows.inputs import Job

        quiet_loggers()
        of_page = {name: parameters[name] for name in ("ledger", "reports", "key", "retention_days")}
        check_audit(Job.given(parameters), **of_page)
        wait_for_prefect()
        with bars():
            done = run_audit(**parameters)
    if as_json:
        print_json(dataclasses.asdict(done))
    elif done.run:
        click.echo(f"Attributed {done.attributed} generated items in run {done.run[:16]}.")
    else:
        click.echo(f"Nothing to do: the ledger holds all {done.held} items for these inputs and settings.")
    if done.failed:
        click.echo(f"{done.failed} generated items could not be attributed; the page says why.", err=True)
        sys.exit(1)


def print_estimate(parameters: dict[str, Any], as_json: bool) -> None:
    """What an audit with these parameters will take."""
    from flows.estimate import estimate_audit
    from flows.inputs import Job

    quiet_loggers()
    given = Job.given(parameters)
    given.check()
    found = estimate_audit(given, parameters["batch"], parameters["ledger"])
    if as_json:
        print_json(found.record())
        return
    source = {
        "ledger": "the mean of the ledger's runs",
        "trial": "as those took that were forgotten in a trial",
        "beginning": "as they began in a trial, which is a rough guess",
    }[found.steps_from]
    click.echo(
        f"{found.items} items to attribute to {found.training:,} training images, with {found.held_out:,} held out.\n"
        f"Forward, once:    {found.once_forwards:,} samples\n"
        f"Forward, an item: {found.item_forwards:,} samples\n"
        f"And backward:     {found.item_gradients:,} samples an item, in {found.steps:.0f} steps ({source})\n"
        f"On disk:          {found.disk_bytes / 1e9:.2f} GB\n"
        f"In memory:        {found.memory_bytes / 1e9:.2f} GB an item, besides the program\n"
        f"Time:             {in_words(found.seconds)} with {found.workers} workers of this machine's kind;"
        f" {found.items_an_hour:.0f} items an hour once the original losses are there\n"
        f"At most:          {in_words(found.seconds_at_cap)}, if every item goes on to the cap of {found.max_steps} steps"
    )


def in_words(seconds: float) -> str:
    """A length of time for a person."""
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


@click.command()
@inputs
@JSON
def calibrate(as_json: bool, **options: Any) -> None:
    """Measure what the training items score for images that they have nothing to do with.

    Audits with the same inputs and settings find it in the log, and compare every edge with it.
    """
    quiet_tools()
    parameters = job(**options)
    with prefect_server() as wait_for_prefect:
        from flows.calibrate import calibrate as run_calibrate
        from flows.calibrate import check_calibrate
        from flows.inputs import Job

        quiet_loggers()
        check_calibrate(Job.given(parameters))
        wait_for_prefect()
        with bars():
            done = run_calibrate(**parameters)
    if as_json:
        print_json(dataclasses.asdict(done))
    elif done.made:
        click.echo(f"Calibrated with {done.decoys} decoys over {done.noises} noises: {done.address[:16]}.")
    else:
        click.echo(f"Nothing to do: the calibration {done.address[:16]} is there already.")


@click.command()
@click.option("--pool", default="audits", show_default=True, help="The work pool, of the type process.")
@click.option("--queue", default="on-demand", show_default=True, help="The work queue in it.")
def worker(pool: str, queue: str) -> None:
    """Take runs of a deployment one after the other, with everything loaded, until it is stopped.

    For pictures that are sent to be attributed at once; `prefect worker start` starts a process for each run.
    """
    quiet_tools()
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "0.5")
    from flows.on_demand import prefect_client

    with prefect_client():  # or a sentence
        pass
    from flows.warm_worker import work

    quiet_loggers()
    work(pool, queue)
