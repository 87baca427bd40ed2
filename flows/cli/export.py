"""The commands that hand findings to others in their formats."""

from __future__ import annotations

import datetime
import getpass
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.shared import AS_OF, LEDGER, LOG, PLACE, Whole
from mucs import InputError

if TYPE_CHECKING:
    from mucs.ledger import Ledger


@click.group()
def export() -> None:
    """Write what the ledger knows in the formats of others."""


@export.command()
@click.argument("image", type=PLACE)
@click.option("--key", type=PLACE, required=True, help="The private key that signs, as `mucs keygen` makes it.")
@click.option(
    "--certificate",
    type=PLACE,
    help="The key's certificates in PEM, its own first; without it, own ones, which are made beside the key.",
)
@click.option("--top", type=Whole(1, 100), default=10, show_default=True, help="How many training images at the most.")
@click.option(
    "--use",
    type=click.Choice(["notAllowed", "allowed", "constrained"]),
    default="notAllowed",
    show_default=True,
    help="Whether others may train on the image.",
)
@click.option("--output", type=PLACE, help="The sidecar; IMAGE with .c2pa behind it without this.")
@click.option("--embed", type=PLACE, metavar="FILE", help="Write the image with the manifest in it, and no sidecar.")
@AS_OF
@LEDGER
@LOG
def c2pa(
    image: Path,
    key: Path,
    certificate: Path | None,
    top: int,
    use: str,
    output: Path | None,
    embed: Path | None,
    as_of: str,
    ledger: str,
    log: str | None,
) -> None:
    """Sign a C2PA manifest for a generated IMAGE: which model made it, and which training images are behind it.

    It names rights holders, and whoever has it can keep it. The log is told that it was given out.
    """
    from mucs.exports.c2pa import definition, image_of, sign, state_of
    from mucs.exports.credential import read_credential
    from tasks.ledgers import writing

    if output and embed:
        raise InputError("The manifest goes into a sidecar or into the image; give one of --output and --embed.")
    place = embed or output or image.with_name(f"{image.name}.c2pa")
    if place.resolve() == image.resolve():
        raise InputError(f"{image} stays as it is, as the ledger knows it by its bytes; give another --embed.")
    with writing(ledger, log) as opened:
        opened.sync()
        said = definition(opened, image, top, use, as_of)
        credential = read_credential(key, certificate)
        marked = sign(said, image, credential, embed is not None)
        given = marked.manifest if marked.image is None else marked.image
        tell(opened, "c2pa", f"/generated/{image_of(said)}", as_of, given)
    write({place: given})
    named = len(said["ingredients"]) - 2
    anchor = credential.anchor.read_bytes() if credential.anchor else None
    state = state_of(embed, None, anchor) if embed else state_of(image, marked.manifest, anchor)
    click.echo(f"{place}: {state.lower()}, {named} training images, signed with {key}.")
    if credential.anchor:
        click.echo(
            f"Whoever is to trust it must know {credential.anchor}; give --certificate for one that readers know already."
        )


@export.command()
@click.argument("run")
@click.option("--output", type=PLACE, help="The folder; evidence-RUN without this. It must not be there yet.")
@LEDGER
@LOG
def rocrate(run: str, output: Path | None, ledger: str, log: str | None) -> None:
    """Write the evidence of a RUN, by the start of its SHA-256, as a folder that can be checked with nothing but Python.

    It holds the log's entries and a page that names rights holders. The log is told that it was given out.
    """
    from mucs.exports.crate import write_crate
    from mucs.ledger.names import run_called
    from tasks.ledgers import open_log, writing

    with writing(ledger, log) as opened:
        opened.sync()
        sha256 = run_called(opened.connection, run)
        folder = output or Path(f"evidence-{sha256[:12]}")
        given = write_crate(opened, open_log(opened.follows), sha256, folder)
        position, head = opened.at()
        tell(opened, "rocrate", f"/runs/{sha256}", "infinity", given)
    click.echo(f"{folder}: run {sha256[:12]}, and the log up to entry {position}, head {head}.")
    click.echo(f"Check it, there or anywhere: python {folder}/check_run.py HEAD")


@export.command()
@click.argument("run")
@click.option("--output", type=PLACE, help="The file; openlineage-RUN.json without this.")
@LEDGER
@LOG
def openlineage(run: str, output: Path | None, ledger: str, log: str | None) -> None:
    """Write what an OpenLineage receiver is told of a RUN, by the start of its SHA-256: an event of a run that ended, with counts of edges."""
    from mucs.exports.openlineage import run_event
    from mucs.ledger.names import run_called
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        opened.sync()
        sha256 = run_called(opened.connection, run)
        given = run_event(opened, sha256)
        edges = opened.edges_of(sha256)
        place = output or Path(f"openlineage-{sha256[:12]}.json")
        write({place: given})
        tell(opened, "openlineage", f"/runs/{sha256}", "infinity", given)
    click.echo(f"{place}: run {sha256[:12]}, {edges} edges.")


def tell(ledger: Ledger, what: str, address: str, as_of: str, given: bytes) -> None:
    """Tell the log that something was given out."""
    from mucs.ledger import Said

    position, _ = ledger.at()
    body = {"what": what, "address": address, "as_of": None if as_of == "infinity" else as_of, "position": position}
    ledger.by = {"who": getpass.getuser(), "role": "command"}
    ledger.say(lambda _: Said("access", body | {"sha256": hashlib.sha256(given).hexdigest()}))


@export.command()
@click.option("--training-set", metavar="SHA256", help="Which one, if the ledger has several.")
@click.option("--day", metavar="DAY", help="The day on which rights are looked at; today without it.")
@click.option(
    "--output",
    type=PLACE,
    default=Path("croissant.json"),
    show_default=True,
    help="The metadata; a CSV goes beside it.",
)
@AS_OF
@LEDGER
@LOG
def croissant(
    training_set: str | None, day: str | None, output: Path, as_of: str, ledger: str, log: str | None
) -> None:
    """Describe a training set as Croissant metadata, with a table of its images, their rights holders and licences."""
    from mucs.exports.croissant import describe
    from mucs.exports.summary import training_set_called
    from mucs.ledger.questions import Parameter
    from tasks.ledgers import writing

    on, table = day_of(day), output.with_suffix(".csv")
    known_at = Parameter("as_of", "time", None, "").value(as_of)
    with writing(ledger, log) as opened:
        opened.sync()
        sha256 = training_set_called(opened, training_set, known_at)
        made = describe(opened, sha256, table.name, on, known_at)
        tell(opened, "croissant", f"/artifacts/{sha256}", as_of, made.metadata)
    write({output: made.metadata, table: made.table})
    click.echo(f"{output}: {made.images} images, which are in {table}.")


@export.command()
@click.option("--checkpoint", metavar="SHA256", help="Which one, if the ledger has several.")
@click.option("--day", metavar="DAY", help="The day on which licences are looked at; today without it.")
@click.option("--output", type=PLACE, default=Path("spdx.json"), show_default=True, help="The bill of materials.")
@AS_OF
@LEDGER
@LOG
def spdx(checkpoint: str | None, day: str | None, output: Path, as_of: str, ledger: str, log: str | None) -> None:
    """Write a bill of materials of a checkpoint: what it was trained on, and under which licences, in SPDX 3."""
    from mucs.exports.spdx import bill
    from mucs.ledger.questions import Parameter
    from tasks.ledgers import writing

    on, known_at = day_of(day), Parameter("as_of", "time", None, "").value(as_of)
    with writing(ledger, log) as opened:
        opened.sync()
        sha256, made = bill(opened, checkpoint, on, known_at)
        tell(opened, "spdx", f"/artifacts/{sha256}", as_of, made)
    write({output: made})
    click.echo(f"{output}: checkpoint {sha256[:12]}.")


def day_of(day: str | None) -> str:
    """A day that was given, or today."""
    from mucs.written import read_day

    try:
        return str(read_day(day) if day else datetime.datetime.now(datetime.UTC).date())
    except ValueError:
        raise InputError(f"--day cannot be {day!r}; write a day as 2026-10-31.") from None


def write(texts: Mapping[Path, bytes]) -> None:
    """Write files, each whole or not at all."""
    from mucs.files import replacing

    for place, text in texts.items():
        try:
            with replacing(place) as part:
                part.write_bytes(text)
        except OSError:
            raise InputError(f"{place} cannot be written; give another place.") from None


def summarising(kind: str, help: str) -> None:
    """Add a command that writes a summary of a training set."""

    @export.command(kind, help=help)
    @click.option(
        "--answers", type=PLACE, help="What only you can say, in YAML; a missing file is made, to be filled in."
    )
    @click.option("--training-set", metavar="SHA256", help="Which one, if the ledger has several.")
    @click.option("--day", metavar="DAY", help="The day on which rights are looked at; today without it.")
    @click.option(
        "--output", type=PLACE, default=Path(f"{kind}.md"), show_default=True, help="The summary; JSON goes beside it."
    )
    @AS_OF
    @LEDGER
    @LOG
    def command(
        answers: Path | None,
        training_set: str | None,
        day: str | None,
        output: Path,
        as_of: str,
        ledger: str,
        log: str | None,
    ) -> None:
        from mucs.exports.summary import as_json, as_markdown, blank, facts, missing, read_answers, summary
        from mucs.ledger.questions import Parameter
        from tasks.ledgers import writing

        on = day_of(day)
        known_at = Parameter("as_of", "time", None, "").value(as_of)
        is_new = answers is not None and not answers.exists()
        said_by = read_answers(answers, kind) if answers and not is_new else {}
        with writing(ledger, log) as opened:
            opened.sync()
            said = summary(kind, facts(opened, training_set, on, known_at), said_by, on, opened.at())
            texts = {output: as_markdown(said).encode(), output.with_suffix(".json"): as_json(said)}
            tell(opened, kind, f"/artifacts/{said['training_set']}", as_of, texts[output])
        if answers and is_new:
            texts[answers] = blank(kind).encode()
        write(texts)
        open_points = missing(said)
        click.echo(f"{output}: {len(said['points']) - len(open_points)} of {len(said['points'])} points are answered.")
        if open_points:
            click.echo(
                f"Missing: {', '.join(open_points)}."
                + (f" Fill in {answers}, and run it again." if answers else " Give --answers.")
            )


summarising("eu-summary", "Write the summary of training content that Article 53(1)(d) of the AI Act asks for.")
summarising("ab2013", "Write the documentation of training data that California's Civil Code 3111 asks for.")
