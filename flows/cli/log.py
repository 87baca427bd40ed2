"""Commands about the log and the ledger that is made from it: its head, to bring a ledger up to it, to make one anew."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import click

from flows.cli.jobs import quiet_tools
from flows.cli.shared import JSON, LEDGER, LOG, PLACE, print_json
from mucs import InputError


@click.command()
@click.option("--sign", "key", type=PLACE, help="Sign the head with this private key, which `mucs keygen` made.")
@click.option("--output", type=PLACE, default=Path("head.dsse.json"), show_default=True, help="The signed head's file.")
@click.option(
    "--timestamp",
    "url",
    metavar="URL",
    help="Have the time-stamping authority at this address stamp the head (RFC 3161).",
)
@click.option(
    "--timestamp-output", "stamped", type=PLACE, default=Path("head.tsr"), show_default=True, help="The stamp's file."
)
@LEDGER
@LOG
@JSON
def head(
    key: Path | None, output: Path, url: str | None, stamped: Path, ledger: str, log: str | None, as_json: bool
) -> None:
    """Print the last entry of the log: a few words that hold it to all that it says.

    Keep them, publish them, or have somebody else keep them; `mucs verify --head` finds whatever was changed or removed before it.
    A stamp shows when the entry was there at the latest; `mucs verify --timestamp` checks it.
    """
    from mucs.evidence.signing import sign, signed_head
    from mucs.evidence.timestamp import ask_stamp
    from mucs.files import replacing
    from tasks.ledgers import followed, open_log

    opened = open_log(log or followed(ledger))
    entries = deque(opened.after(), maxlen=1)
    if not entries:
        raise InputError(f"The log {opened.place} has no entries yet; give another --log.")
    (last,) = entries
    envelope = sign(signed_head(last, opened.place), key) if key else None
    stamp = ask_stamp(last, url) if url is not None else None  # before anything is written
    if envelope:
        with replacing(output) as partial:
            partial.write_text(json.dumps(envelope, indent=1) + "\n")
    if stamp:
        with replacing(stamped) as partial:
            partial.write_bytes(stamp.response)
    if as_json:
        said = {"position": last.position, "head": last.sha256, "at": last.said["at"], "log": opened.place}
        return print_json(said | ({"stamped": stamp.at.isoformat()} if stamp else {}))
    click.echo(f"Entry {last.position} of {last.said['at'][:19]} UTC, head {last.sha256}.")
    if key:
        click.echo(f"Signed in {output}.")
    if stamp:
        click.echo(f"Stamped at {stamp.at.isoformat()[:19]} UTC, in {stamped}.")


@click.command()
@LEDGER
@LOG
@JSON
def sync(ledger: str, log: str | None, as_json: bool) -> None:
    """Bring a ledger up to its log; a missing one is made."""
    quiet_tools()
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        applied = opened.sync()
        position, last = opened.at()
    if as_json:
        return print_json({"applied": applied, "position": position, "head": last})
    click.echo(f"Applied {applied} entries." if applied else f"Nothing to do: the ledger has all {position} entries.")


@click.command()
@click.option(
    "--from", "old", type=PLACE, help="A ledger of before there was a log, to be brought over into --log first."
)
@LEDGER
@LOG
@JSON
def rebuild(old: Path | None, ledger: str, log: str | None, as_json: bool) -> None:
    """Make a ledger anew from its log: after an upgrade, or when it was lost or altered.

    Whoever reads it meanwhile sees the old one. Nothing is lost by it, as a ledger has nothing that its log has not.
    """
    quiet_tools()
    from mucs.ledger import Ledger
    from mucs.ledger.old import bring_over
    from tasks.ledgers import credentials, followed_by_any, open_log

    if old is not None and log is None:
        raise InputError("--from needs a place for the log; give --log, a folder or s3://bucket/prefix.")
    place = log or followed_by_any(ledger)
    opened = open_log(place)
    if old is not None:
        opened.store.check()
        count = bring_over(old, opened)
        if not as_json:
            click.echo(f"Brought {count} entries of {old} over into the log {opened.place}.")
    with Ledger.rebuild(ledger, opened, credentials(ledger)) as made:
        position, last = made.at()
    if as_json:
        return print_json({"position": position, "head": last})
    click.echo(f"Made the ledger {ledger} anew from {position} entries.")
