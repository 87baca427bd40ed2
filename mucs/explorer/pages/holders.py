"""Rights holders: their works, how exposed these are, what was stated, and what taking them out would touch."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

from mucs.explorer.page import Asked, Page
from mucs.explorer.plots import bars
from mucs.explorer.snapshot import Snapshot
from mucs.ledger.names import known

RANKINGS: WeakKeyDictionary[Snapshot, list[dict[str, Any]]] = WeakKeyDictionary()  # of now: one looks through all edges
ONE_AT_A_TIME = threading.Lock()
STATED = """
SELECT b.statement, b.contract, strftime(b.period_start, '%Y-%m') AS period, b.version, b.carried_in, b.net, b.adjustments, b.paid, b.carried_out, s.currency
FROM balances b JOIN statements s ON s.sha256 = b.statement
WHERE b.rights_holder = $holder AND s.issued_at <= $as_of::TIMESTAMPTZ
ORDER BY b.position DESC
"""


def ranking(asked: Asked) -> list[dict[str, Any]]:
    """All who hold rights today, the most exposed first."""
    if asked.as_of != "infinity":
        return asked.ledger.ask("holders", as_of=asked.as_of)
    with ONE_AT_A_TIME:
        if asked.snapshot not in RANKINGS:
            RANKINGS[asked.snapshot] = asked.ledger.ask("holders")
        return RANKINGS[asked.snapshot]


def holders(asked: Asked) -> Page:
    """All who hold rights today, the most exposed first."""
    columns = ["rights_holder", "works", "granted", "generated_items", "above_chance", "share", "since"]
    note = (
        "Share: of all that was attributed. Above chance: of these generated items, those in which a training image, of this holder or of"
        " another, stands out by a weak test."
    )
    return Page(
        "table.html",
        "Rights holders",
        [asked.view("holders", "Rights holders, most exposed first", columns, note=note)],
    )


def holder(asked: Asked, name: str) -> Page:
    """One of them."""
    known(asked.ledger.connection, "holder", name)
    months = asked.view(
        "exposure",
        "Exposure, month by month",
        ["month", "generated_items", "of_which_exposed", "edges", "share", "latest_run"],
        rights_holder=name,
    )
    works = asked.view(
        "works",
        "Works",
        ["training", "licence", "standing", "uses", "valid_from", "valid_to", "generated_items", "best_rank"],
        ["licence", "standing"],
        rights_holder=name,
    )
    stated = asked.query_view(
        "stated",
        "Account, statement by statement",
        ["period", "statement", "version", "carried_in", "net", "adjustments", "paid", "carried_out", "currency"],
        STATED,
        holder=name,
        as_of=asked.as_of,
    )
    disputes = asked.view(
        "disputes", "Disputes", ["dispute", "state", "reason", "amount", "currency", "statement", "changed_at"]
    )
    disputes.rows[:] = [row for row in disputes.rows if row["rights_holder"] == name]
    ranked = ranking(asked)
    place = next((place for place, row in enumerate(ranked, start=1) if row["rights_holder"] == name), None)
    items, exposed = (sum(row[key] for row in months.rows) for key in ("generated_items", "of_which_exposed"))
    share = sum(row["share"] * row["generated_items"] for row in months.rows) / items if items else 0.0
    exposed_months = [row["month"] for row in months.rows if row["of_which_exposed"]]
    facts = {
        "rights_holder": name,
        "works": len(works.rows),
        "generated_items": items,
        "exposed": exposed,
        "share": share,
        "since": exposed_months[0] if exposed_months else None,
        "place": place,
        "of_rights_holders": len(ranked),
    }
    plot = bars(
        f"Share of what was generated each month that rests on {name}",
        [(row["month"], row["share"]) for row in months.rows],
    )
    row = ranked[place - 1] if place else None
    return Page("holder.html", name, [works, months, stated, disputes], facts, {"plot": plot, "row": row})


def takedown(asked: Asked, name: str) -> Page:
    """What taking out a rights holder or a training item would touch, before anything is done."""
    known(asked.ledger.connection, "target", name)
    touched = asked.view(
        "takedown",
        "What it would touch",
        ["what", "items", "of_items", "share_of_all", "share_of_touched", "gross", "currency", "sha256"],
        target=name,
    )
    shares = asked.view(
        "takedown_shares",
        "How shares would move",
        ["rights_holder", "share_now", "share_without", "difference"],
        target=name,
    )
    items = asked.view(
        "takedown_items",
        "Generated items that rest on it",
        ["generated", "edges", "best_rank", "share", "run"],
        target=name,
    )
    return Page("takedown.html", f"Taking out {name}", [touched, shares, items], {"target": name})
