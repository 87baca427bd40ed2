"""Commands that ask the ledger."""

from __future__ import annotations

from typing import Any

import click

from flows.cli.shared import AS_OF, JSON, LEDGER, Number, Whole, print_json, print_table, reading
from mucs import InputError

RUNS = {
    "run",
    "first_run",
    "second_run",
}  # what every answer shows of the runs that it rests on, other digests being left out


@click.command()
@click.argument("generated")
@click.option("--top", type=Whole(1), default=10, show_default=True, help="How many training items.")
@AS_OF
@LEDGER
@JSON
def why(generated: str, top: int, as_of: str, ledger: str, as_json: bool) -> None:
    """What is behind this generated item (its id, or the start of its SHA-256)?"""
    with reading(ledger) as opened:
        rows = opened.ask("why", generated=generated, top=top, as_of=as_of)
    if not rows:
        raise InputError(
            f"No run speaks for the generated item {generated!r}; see what is on record of it with `mucs ask trail item={generated}`."
        )
    if as_json:
        return print_json(rows)
    print_table(
        rows,
        [
            "rank",
            "training",
            *(["annotation"] if rows[0]["annotation"] else []),
            "rights_holder",
            "licence",
            *today(rows),
            "score",
            "standard_error",
            "p_value",
            *(["decoy_p_value", "decoy_z"] if rows[0]["decoy_p_value"] is not None else []),
        ],
        f"Behind {rows[0]['generated']} (run {rows[0]['run'][:16]}): {rows[0]['verdict']}",
    )


@click.command()
@click.argument("training")
@click.option("--top", type=Whole(1), default=20, show_default=True, help="How many generated items.")
@AS_OF
@LEDGER
@JSON
def used(training: str, top: int, as_of: str, ledger: str, as_json: bool) -> None:
    """What is this training item behind (its id, or the start of its SHA-256)?"""
    with reading(ledger) as opened:
        rows = opened.ask("used", training=training, top=top, as_of=as_of)
        known = rows or opened.ask("known", training=training, as_of=as_of)
    if as_json:
        return print_json(rows)
    if not rows:
        by = f" by {known[0]['rights_holder']}" if known else ""
        return click.echo(f"{training}{by} is in no generated item's ranking.")
    print_table(
        rows,
        ["generated", "rank", "score", "standard_error", "p_value", *today(rows), "run"],
        f"{rows[0]['training']} by {rows[0]['rights_holder']} is behind",
    )


def today(rows: list[dict[str, Any]]) -> list[str]:
    """The columns that say how images stand today, where that is not what their manifests said."""
    changed = {"holder_today": "rights_holder", "licence_today": "licence"}
    found = [now for now, then in changed.items() if any(row[now] != row[then] for row in rows)]
    standing = any(row["standing_today"] != "granted" for row in rows)
    return found + ["standing_today"] * standing


@click.command()
@click.argument("name", required=False)
@JSON
def questions(name: str | None, as_json: bool) -> None:
    """List the questions that `mucs ask` answers, or show one as SQL, to copy."""
    from mucs.ledger.questions import names, question

    if name is not None:
        asked = question(name)
        return print_json({"name": asked.name, "sql": asked.sql}) if as_json else click.echo(asked.sql.rstrip())
    found = [question(each) for each in names()]
    rows = [
        {
            "question": q.name,
            "parameters": " ".join(
                p.name if p.default is None else f"[{p.name}={p.default}]" for p in q.parameters if p.name != "as_of"
            ),
            "what it answers": q.about,
        }
        for q in found
    ]
    if as_json:
        return print_json(rows)
    print_table(rows, list(rows[0]))


@click.command()
@click.argument("name")
@click.argument("parameters", nargs=-1)
@AS_OF
@LEDGER
@JSON
def ask(name: str, parameters: tuple[str, ...], as_of: str, ledger: str, as_json: bool) -> None:
    """Answer a named question; PARAMETERS are name=value words, as `mucs questions` lists them."""
    given = {}
    for word in parameters:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{word!r} is not a parameter; write name=value, see `mucs questions {name}`.")
        if key == "as_of":
            raise InputError("The time is given as --as-of TIME, not as a parameter; write it so.")
        if key in given:
            raise InputError(f"The parameter {key} is there twice; give it once.")
        given[key] = value
    with reading(ledger) as opened:
        rows = opened.ask(name, **given | {"as_of": as_of})
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("No rows.")
    rows = [row | {k: row[k][:16] for k in RUNS & row.keys()} for row in rows]
    said = [k for k in rows[0] if any(row[k] is not None for row in rows)]  # a column without any value only takes room
    print_table(rows, [k for k in said if not (isinstance(rows[0][k], str) and len(rows[0][k]) == 64)])


@click.command()
@click.argument("query")
@click.option("--rows", "most", type=Whole(1), default=10_000, show_default=True, help="How many rows at the most.")
@click.option(
    "--timeout",
    type=Number(0, 10**6, min_open=True),
    default=60.0,
    show_default=True,
    help="How many seconds it may take.",
)
@LEDGER
@JSON
def sql(query: str, most: int, timeout: float, ledger: str, as_json: bool) -> None:
    """Answer one SELECT over the ledger; it can neither write nor reach anything else."""
    from mucs.ledger import analyst
    from tasks.ledgers import credentials

    with reading(ledger):  # says if it is behind, and refuses what is no ledger
        rows = analyst.select(ledger, query, most + 1, timeout, credentials(ledger))
    if len(rows) > most:
        click.echo(
            f"mucs: There are more rows than these {most}; ask for less, or for more of them with --rows.", err=True
        )
        rows = rows[:most]
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("No rows.")
    print_table(rows, list(rows[0]))
