"""Commands that make a registry, and add to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flows.cli.jobs import quiet_loggers, quiet_tools
from flows.cli.shared import JSON, PLACE, print_json
from mucs import InputError
from mucs.files import check_writable

COLUMNS = ("id", "file_name", "rights_holder", "licence", "date", "class", "prompt", "seed")


@click.group()
def registry() -> None:
    """Make a registry of a checkpoint and images: a Git repository with DVC, whose bytes lie on S3. Audits read it."""


@registry.command()
@click.argument("folder", type=PLACE)
@click.option("--remote", required=True, metavar="s3://BUCKET/PREFIX", help="Where its bytes are to lie.")
@click.option("--checkpoint", type=PLACE, help="A diffusers folder, to be added at once.")
def init(folder: Path, remote: str, checkpoint: Path | None) -> None:
    """Make an empty registry in FOLDER. Run again, it goes on where it was.

    Credentials and endpoint of S3 come from the usual AWS_* variables.
    """
    cache = prepare()
    from flows.registry import init as make

    quiet_loggers()
    made = make(folder, remote, checkpoint, cache)
    has = " with its checkpoint" if checkpoint else ""
    click.echo(f"{folder} is a registry{has}." if made else f"Nothing to do: {folder} is that registry{has} already.")


def called(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what a table calls the columns of a manifest."""
    for name in reversed(COLUMNS):
        short = name.removeprefix("rights_").removesuffix("_name")
        say = f"The table's column that is the {name}, if it is called otherwise."
        command = click.option(f"--{short}-column", name, metavar="COLUMN", help=say)(command)
    return command


@registry.command()
@click.argument("name")
@click.argument("source", type=PLACE)
@click.option(
    "--registry",
    "folder",
    type=PLACE,
    envvar="MUCS_REGISTRY",
    default=Path(),
    help="The registry's folder; without it, the one that this is run in.",
)
@click.option("--as", "kind", help="checkpoint, train, held_out or generated; NAME without it.")
@click.option(
    "--csv", "table", type=PLACE, help="Names the images: CSV, Parquet or JSON lines; SOURCE/metadata.* without."
)
@called
@click.option(
    "--fill",
    "fills",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value for images of which the table says none, such as licence=CC0-1.0 or seed=unknown.",
)
@click.option("--checkpoint", default="checkpoint", show_default=True, help="The checkpoint whose images they are.")
@click.option("--tag", help="What Git is to call this version, too, such as v1.")
@JSON
def add(
    name: str,
    source: Path,
    folder: Path,
    kind: str | None,
    table: Path | None,
    fills: tuple[str, ...],
    checkpoint: str,
    tag: str | None,
    as_json: bool,
    **columns: str | None,
) -> None:
    """Add the folder SOURCE to a registry as NAME: validate it as an audit will, push it to S3, and commit it.

    NAME becomes what SOURCE is now; what it was before stays in the commits before. The same again changes nothing.
    """
    cache = prepare()
    from flows.registry import Addition
    from flows.registry import add as add_to

    quiet_loggers()
    said = {column: value for column, value in columns.items() if value is not None}
    done = add_to(folder, Addition(name, source, kind, table, said, read_fills(fills)), cache, checkpoint, tag)
    if as_json:
        return print_json(dataclasses.asdict(done) | {"tag": tag})
    what = [] if done.images is None else [f"{done.images} image{'s' * (done.images != 1)}"]
    if done.rights_holders:
        what += [f"rights holders: {done.rights_holders}", f"licences: {', '.join(done.licences)}"]
    at = f"commit {done.commit[:12]}{f', tag {tag}' if tag else ''}"
    click.echo(f"{'Added' if done.is_new else 'Nothing to do: the registry has'} {name} ({', '.join([*what, at])}).")


def prepare() -> Path:
    """The cache, once tools are quiet; InputError if nothing can be written there."""
    quiet_tools()
    from tasks.pull import default_cache

    cache = default_cache()
    check_writable(cache, "the cache, MUCS_CACHE")
    return cache


def read_fills(words: tuple[str, ...]) -> dict[str, Any]:
    """Values by name from `name=value` words."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name in found:
            raise InputError(
                f"--fill {word!r} is no value, or the second of its name; write it once, as licence=CC0-1.0."
            )
        found[name] = value
    return found
