"""The commands that hand findings to others in their formats."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from flows.cli.shared import AS_OF, LEDGER, LOG, PLACE, Whole
from mucs import InputError


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
    from mucs.exports.c2pa import definition, entry, sign, state_of
    from mucs.exports.credential import read_credential
    from mucs.files import replacing
    from mucs.ledger import Said
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
        opened.by = {"who": getpass.getuser(), "role": "command"}
        opened.say(lambda _: Said("access", entry(marked, said)))
    try:
        with replacing(place) as part:
            part.write_bytes(marked.manifest if marked.image is None else marked.image)
    except OSError:
        raise InputError(f"{place} cannot be written; give another place.") from None
    named = len(said["ingredients"]) - 2
    anchor = credential.anchor.read_bytes() if credential.anchor else None
    state = state_of(embed, None, anchor) if embed else state_of(image, marked.manifest, anchor)
    click.echo(f"{place}: {state.lower()}, {named} training images, signed with {key}.")
    if credential.anchor:
        click.echo(
            f"Whoever is to trust it must know {credential.anchor}; give --certificate for one that readers know already."
        )
