"""Commands of the index: fit it, and ask it about a picture."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import click

from flows.cli.bars import bars
from flows.cli.jobs import MODEL, inputs, job, of_ledger, options, quiet_loggers, quiet_tools, read_settings
from flows.cli.shared import JSON, LEDGER, PLACE, Whole, print_json, print_table, reading
from flows.engine import Engine
from flows.prefect_server import prefect_server
from mucs import InputError

SHOWN = ["rank", "training", "predicted", "low", "high", "among_best", "measured_rank", "measured_score"]


@click.command()
@inputs
@click.option(
    "--generated",
    "batch",
    default="",
    metavar="FOLDER",
    help="A generated batch whose items were attributed without screening: the index is fitted to their scores as well.",
)
@LEDGER
@JSON
def index(as_json: bool, **options: Any) -> None:
    """Fit what tells at once, from scores that were measured, which training items are likely behind a picture.

    It is fitted to the decoys of `mucs calibrate`, and replaces the one before only if it tells pictures better that the other had not seen.
    """
    quiet_tools()
    parameters = job(**options)
    parameters["batch"] = parameters["batch"] or None
    with prefect_server() as wait_for_prefect:
        from flows.index import check_index
        from flows.index import index as run_index
        from flows.inputs import Job

        quiet_loggers()
        check_index(Job.given(parameters), parameters["ledger"])
        wait_for_prefect()
        with bars():
            done = run_index(**parameters)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    told = done.measured
    if told is None:
        from mucs.index.ranker import LEAST

        click.echo(
            f"Fewer than {LEAST} pictures were measured against every training item, so that this index goes by likeness alone, which says"
            " little of what caused a picture; run `mucs calibrate`, and `mucs index` again."
        )
    else:
        click.echo(
            f"Fitted to {done.pictures} measured pictures. For pictures that it had not seen, its order of {done.training:,} training items agrees"
            f" with the measured one by a rank correlation of {told['spearman']:.2f}; plain likeness by {told['likeness']:.2f}. Of the best"
            f" {told['best']} measured, its first tenth has {100 * told['recall'][0]:.0f} %, its first fifth {100 * told['recall'][1]:.0f} %."
        )
    if done.made:
        click.echo(f"It is used from now on: {done.index[:16]}.")
    else:
        click.echo(f"{done.index[:16]} stays in use: this one tells no pictures better which that one had not seen.")


@click.command("ask-image")
@click.argument("picture", type=PLACE)
@options(MODEL)
@click.option("--class", "label", metavar="CLASS", help="The class that it was made for, where the model has classes.")
@click.option("--prompt", help="The words that it was made from, where the model takes words.")
@click.option("--seed", default="unknown", show_default=True, help="The seed that it was made from.")
@click.option("--top", type=Whole(1, 50), default=10, show_default=True, help="How many training items.")
@LEDGER
@JSON
def ask_image(
    picture: Path,
    label: str | None,
    prompt: str | None,
    seed: str,
    top: int,
    as_json: bool,
    assignments: tuple[str, ...],
    **parameters: Any,
) -> None:
    """Ask the index which training items are likely behind a picture, before anything is measured.

    PICTURE is a PNG, JPEG or WebP file of the model's size. What is said is provisional: no evidence, and never paid.
    """
    quiet_tools()
    if not picture.is_file():
        raise InputError(f"There is no file {picture}; give a picture's.")
    from flows.inputs import Job
    from flows.provisional import Answering
    from mucs.images.request import Request
    from tasks.accept import accept

    quiet_loggers()
    logging.getLogger("mucs").setLevel(logging.WARNING)  # an answer, and no narration
    parameters["log"] = parameters["log"] or of_ledger(parameters["ledger"])
    given = parameters | {"settings": read_settings(assignments)}
    given |= {"held_out": None, "licences": [], "work": None, "cache": None, "engine": Engine()}
    sent = Request(picture.read_bytes(), label, prompt, seed)
    row = Answering(given).ask(accept(sent, Job.given(given).spec(), given["log"]))
    with reading(given["ledger"]) as opened:
        rows = opened.ask("provisional", generated=row, top=top)
    if as_json:
        print_json(rows)
        return
    shown = [name for name in SHOWN if any(each[name] is not None for each in rows)]
    click.echo("Provisional: what the index estimates. It is no evidence, and is never paid.\n")
    print_table(rows, shown)
    if rows[0]["predicted"] is None:
        click.echo(
            "It goes by likeness alone, as too few pictures were measured to fit it; run `mucs calibrate` and `mucs index`."
        )
    else:
        click.echo(
            f"Nine of ten pictures that the index had not seen measured between low and high at this rank; among_best is the share of them for"
            f" which this rank was among the best measured. It was fitted to {rows[0]['pictures']} measured pictures."
        )
