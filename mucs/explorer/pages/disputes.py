"""Disputes of statements: how each stands, and what became of it, step by step."""

from __future__ import annotations

from mucs.explorer.page import Asked, Page, only

STEPS = """
SELECT recorded_at, state, reason, amount, position FROM dispute_steps
WHERE dispute::VARCHAR = $dispute AND recorded_at <= $as_of::TIMESTAMPTZ ORDER BY position
"""


def disputes(asked: Asked) -> Page:
    """All of them, the last first."""
    columns = ["dispute", "rights_holder", "state", "reason", "amount", "currency", "period", "statement", "changed_at"]
    return Page(
        "table.html",
        "Disputes",
        [asked.view("disputes", "Disputes, the last first", columns, ["state", "rights_holder"])],
    )


def dispute(asked: Asked, dispute: str) -> Page:
    """One of them."""
    rows = [row for row in asked.ledger.ask("disputes", as_of=asked.as_of) if str(row["dispute"]) == dispute]
    found = only(rows, "dispute", dispute)
    steps = asked.query_view(
        "steps",
        "Steps",
        ["recorded_at", "state", "reason", "amount", "position"],
        STEPS,
        dispute=dispute,
        as_of=asked.as_of,
    )
    return Page("dispute.html", f"Dispute {dispute}", [steps], found)
