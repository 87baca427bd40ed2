"""The command that asks whether the attribution is true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flows.cli.jobs import quiet_loggers, quiet_tools
from flows.cli.shared import JSON, PLACE, Number, print_json
from flows.prefect_server import prefect_server
from mucs import InputError


@click.command()
@click.argument("study", required=False)
@click.option(
    "--quick", is_flag=True, help="Does MUCS beat random removal on a checkpoint? Exit status 1 if it does not."
)
@click.option("--checkpoint", type=PLACE, help="With --quick: a diffusers folder; the demo's without it.")
@click.option("--train", type=PLACE, help="With --quick: the folder of images it was trained on.")
@click.option("--held-out", type=PLACE, help="With --quick: a folder of others of the same kind.")
@click.option("--learning-rate", type=Number(), help="With --quick: the rate that the checkpoint was trained with.")
@click.option("--data", type=PLACE, help="A Parquet file or folder instead of the study's own images.")
@click.option(
    "--folder",
    type=PLACE,
    default=Path("mucs-evaluation"),
    show_default=True,
    help="Where retrainings are kept and results are written.",
)
@JSON
def evaluate(
    study: str | None,
    quick: bool,
    checkpoint: Path | None,
    train: Path | None,
    held_out: Path | None,
    learning_rate: float | None,
    data: Path | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Test whether attributed items caused the images: train again without them, and predict such trainings.

    STUDY is one of flows/studies.yaml. It can be stopped at any moment; run it again and it goes on.
    """
    if quick == (study is not None):
        raise InputError("Give the name of a study, or --quick; see flows/studies.yaml.")
    mine = {"checkpoint": checkpoint, "train": train, "held_out": held_out, "learning_rate": learning_rate}
    if not quick and any(value is not None for value in mine.values()):
        raise InputError("--checkpoint, --train, --held-out and --learning-rate go with --quick; leave them out.")
    if checkpoint is not None and None in (train, held_out, learning_rate):
        raise InputError(
            "A checkpoint of your own needs --train, --held-out and --learning-rate beside it; give all of them."
        )
    changed: dict[str, Any] = {}
    if data is not None:
        changed |= {"train": {"path": data.resolve()}, "held_out": {"path": data.resolve()}}
    for name, value in (("train", train), ("held_out", held_out)):
        changed |= {name: {"path": value.resolve()}} if value is not None else {}
    changed |= {"checkpoint": checkpoint.resolve()} if checkpoint is not None else {}
    if learning_rate is not None:
        rates = {"unlearning": {"learning_rate": learning_rate / 5}, "recipe": {"learning_rate": learning_rate / 2}}
        changed |= {"plan": rates}
    quiet_tools()
    name = "quick" if quick else str(study)
    with prefect_server() as wait_for_prefect:
        from flows.evaluate import check_evaluate
        from flows.evaluate import evaluate as run

        quiet_loggers()
        check_evaluate(name, folder, **changed)
        wait_for_prefect()
        found = run(name, folder, **changed)
    if as_json:
        print_json(found)
    else:
        from mucs.evaluation.tables import tables

        click.echo(f"{tables(found)}\nThe results: {folder / name}")
    if quick:
        value, low, high = found["counterfactual"]["MUCS"]["MSE"]["auc"]
        beats = low > 0.5
        if not as_json:
            words = "moves images further than" if beats else "does NOT move images further than"
            click.echo(
                f"Removing what MUCS names {words} random removal: AUC {value:.2f}, 95 % interval {low:.2f} to {high:.2f}"
                " (mean squared error)."
            )
        if not beats:
            sys.exit(1)
