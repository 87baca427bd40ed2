"""Commands about money: statements and their disputes."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path

import click

from flows.cli.shared import AS_OF, JSON, LEDGER, LOG, PLACE, Whole, print_json, print_table, reading

SHOWN = 20  # accounts


@click.command()
@click.option("--contract", type=PLACE, required=True, help="The contract, a YAML file.")
@click.option("--period", required=True, help="A month, such as 2026-10.")
@click.option("--usage", type=PLACE, required=True, help="The usage report, a CSV file.")
@click.option(
    "--out",
    type=PLACE,
    default=Path("statements"),
    show_default=True,
    help="Folder for the statement's files.",
)
@click.option(
    "--sign",
    "key",
    type=PLACE,
    help="Sign the files with this private key, which `mucs keygen` made.",
)
@click.option("--dry-run", is_flag=True, help="Show the statement without issuing it; nothing is written.")
@AS_OF
@LEDGER
@LOG
@JSON
def royalties(
    contract: Path,
    period: str,
    usage: Path,
    out: Path,
    key: Path | None,
    dry_run: bool,
    as_of: str,
    ledger: str,
    log: str | None,
    as_json: bool,
) -> None:
    """Issue the statement of a month: what each rights holder is owed, and why.

    The same inputs find the statement that is there. Other usage, evidence or rights make a version that supersedes it.
    """
    from mucs.royalties.export import state
    from tasks import ledgers

    opened = partial(ledgers.reading, ledger) if dry_run else partial(ledgers.writing, ledger, log)
    done = state(contract, period, usage, opened, out, as_of, key, dry_run)
    statement, content = done.statement, done.statement.content
    issued = not (dry_run and statement.new)
    if as_json:
        told = {
            "issued": issued,
            "sha256": statement.sha256 if issued else None,
            "new": statement.new,
            "files": [str(path) for path in done.files],
            "remarks": done.remarks,
        }
        return print_json(told | content)
    if not issued:
        click.echo(
            f"Statement {statement.title} as it would be issued now; nothing is issued, and nothing was written."
        )
    else:
        words = "is issued" if statement.new else "was issued before, and nothing in it has changed"
        click.echo(f"Statement {statement.title} ({statement.sha256[:16]}) {words}.")
    for remark in done.remarks:
        click.echo(remark)
    if statement.changes:
        click.echo("\nWhat changed since the version before:")
        for change in statement.changes:
            click.echo(f"  {change}")
    click.echo()
    amounts = [
        "carried_in",
        "net",
        *(["difference"] if content["header"]["supersedes"] else []),
        "adjustments",
        "paid",
        "carried_out",
    ]
    accounts = [b | {name: Decimal(b[name]) for name in amounts} for b in content["balances"]]
    accounts.sort(key=lambda b: (-b["paid"], -b["carried_out"], b["holder"]))
    few = f"The first {SHOWN} of {len(accounts)} accounts, in" if len(accounts) > SHOWN else "In"
    print_table(accounts[:SHOWN], ["holder", *amounts], f"{few} {content['header']['currency']}")
    if done.files:
        click.echo(f"\nThe statement: {done.page}")


@click.group()
def dispute() -> None:
    """Dispute a statement: open, review, then uphold with an amount or reject. Every step is an entry of the log."""


@dispute.command("open")
@click.argument("statement")
@click.argument("holder")
@click.option("--reason", required=True, help="What is wrong.")
@LEDGER
@LOG
def open_(statement: str, holder: str, reason: str, ledger: str, log: str | None) -> None:
    """Open a dispute of STATEMENT (its title, or the start of its SHA-256) by the rights holder HOLDER."""
    from mucs.royalties.dispute import open_dispute
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        number, new = open_dispute(opened, statement, holder, reason)
    click.echo(f"Dispute {number} is open." if new else f"Nothing to do: that is dispute {number}, which is going on.")


def move(ledger: str, log: str | None, number: int, state: str, reason: str, amount: str | None = None) -> None:
    """Take a dispute a step further, and say so."""
    from mucs.royalties.dispute import move_dispute
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        move_dispute(opened, number, state, reason, amount)
    click.echo(f"Dispute {number} is {state}.")


@dispute.command()
@click.argument("number", type=Whole())
@click.option("--reason", default="taken up", show_default=True, help="What is being looked at.")
@LEDGER
@LOG
def review(number: int, reason: str, ledger: str, log: str | None) -> None:
    """Take up dispute NUMBER."""
    move(ledger, log, number, "under review", reason)


@dispute.command()
@click.argument("number", type=Whole())
@click.option("--amount", required=True, help="What is owed besides, which the contract's next statement adds.")
@click.option("--reason", required=True, help="Why.")
@LEDGER
@LOG
def uphold(number: int, amount: str, reason: str, ledger: str, log: str | None) -> None:
    """Uphold dispute NUMBER."""
    move(ledger, log, number, "upheld", reason, amount)


@dispute.command()
@click.argument("number", type=Whole())
@click.option("--reason", required=True, help="Why.")
@LEDGER
@LOG
def reject(number: int, reason: str, ledger: str, log: str | None) -> None:
    """Reject dispute NUMBER."""
    move(ledger, log, number, "rejected", reason)


@dispute.command("list")
@LEDGER
@JSON
def list_(ledger: str, as_json: bool) -> None:
    """List the disputes as they stand."""
    with reading(ledger) as opened:
        rows = opened.rows("SELECT * FROM disputes ORDER BY dispute")
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("No disputes.")
    shown = [
        {**row, "statement": row["statement"][:12], "changed_at": f"{row['changed_at']:%Y-%m-%d %H:%M}"} for row in rows
    ]
    print_table(shown, ["dispute", "statement", "rights_holder", "state", "amount", "reason", "changed_at"])
