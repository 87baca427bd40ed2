"""Home: what was audited and when, what waits, and what can be looked up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from mucs.explorer.address import called
from mucs.explorer.page import Asked, Page
from mucs.explorer.pages.holders import ranking
from mucs.explorer.view import View
from mucs.ledger.names import Unknown
from mucs.outbox import HELD, Event
from mucs.report.words import TERMS

Verified: TypeAlias = Callable[[str], Event | None]

FOUND = 20  # of each kind that a search shows
COUNTS = """
SELECT
    (SELECT count(DISTINCT sha256) FROM training_items WHERE recorded_at <= $as_of::TIMESTAMPTZ) AS training_items,
    (SELECT count(DISTINCT sha256) FROM generated_items WHERE recorded_at <= $as_of::TIMESTAMPTZ) AS generated_items,
    (SELECT count(*) FROM runs WHERE loaded_at <= $as_of::TIMESTAMPTZ) AS runs,
    (SELECT count(*) FROM statements WHERE issued_at <= $as_of::TIMESTAMPTZ) AS statements
"""
SEARCH = """
WITH hits AS (
    SELECT 'generated item' AS kind, id AS name, sha256, '' AS about FROM generated_items WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION SELECT 'training item', id, sha256, coalesce(manifest_row->>'annotation', '') FROM training_items WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION SELECT 'rights holder', rights_holder, NULL, '' FROM training_items WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION SELECT 'rights holder', rights_holder, NULL, '' FROM rights WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION SELECT 'run', sha256, sha256, '' FROM runs WHERE loaded_at <= $as_of::TIMESTAMPTZ
    UNION SELECT 'statement', sha256, sha256, contract || ' ' || strftime(period_start, '%Y-%m') FROM statements WHERE issued_at <= $as_of::TIMESTAMPTZ
    UNION SELECT replace(kind, '_', ' '), sha256, sha256, '' FROM artifacts
)
SELECT kind, name, about, sha256 FROM hits
WHERE contains(lower(name), lower($q)) OR contains(lower(about), lower($q)) OR (length($q) >= 6 AND starts_with(sha256, lower($q)))
QUALIFY row_number() OVER (PARTITION BY kind ORDER BY lower(name) <> lower($q), length(name), name, sha256) <= $most
ORDER BY lower(name) <> lower($q), kind, length(name), name, sha256
"""
PLACES = {
    "generated item": "generated",
    "training item": "training",
    "rights holder": "holders",
    "run": "runs",
    "statement": "statements",
}
DIGEST = """
SELECT DISTINCT kind, name, sha256 FROM (
    SELECT 'generated' AS kind, sha256 AS name, sha256 FROM generated_items UNION ALL SELECT 'generated', sha256, row_sha256 FROM generated_items
    UNION ALL SELECT 'training', sha256, sha256 FROM training_items UNION ALL SELECT 'training', sha256, row_sha256 FROM training_items
    UNION ALL SELECT 'runs', sha256, sha256 FROM runs UNION ALL SELECT 'statements', sha256, sha256 FROM statements
    UNION ALL SELECT 'artifacts', sha256, sha256 FROM artifacts UNION ALL SELECT 'entries', position::VARCHAR, sha256 FROM entries
    UNION ALL SELECT 'artifacts', parent_sha256, parent_sha256 FROM derivations UNION ALL SELECT 'artifacts', child_sha256, child_sha256 FROM derivations
    UNION ALL SELECT 'entries', position::VARCHAR, sha256 FROM usage_reports
    UNION ALL SELECT 'entries', position::VARCHAR, sha256 FROM accesses -- of what was taken out
    UNION ALL SELECT 'runs', r.sha256, v.sha256 FROM validations v JOIN runs r USING (run_id)
) WHERE starts_with(sha256, $digest) ORDER BY ALL LIMIT 50
"""


def home(verified: Verified) -> Callable[[Asked], Page]:
    """What there is, what waits, who is most exposed, and whether all of it last held. Args: verified: tells that, up to a time."""
    return lambda asked: _home(asked, verified(asked.as_of))


def _home(asked: Asked, verified: Event | None) -> Page:
    (counts,) = asked.ledger.rows(COUNTS, {"as_of": asked.as_of})
    runs = asked.view(
        "runs",
        "Latest runs",
        ["run", "loaded_at", "generated_items", "converged", "above_chance", "withdrawn_because"],
        most=5,
        more=asked.link("runs"),
    )
    holders = asked.view(
        "holders",
        "Most exposed rights holders",
        ["rights_holder", "works", "generated_items", "above_chance", "share", "since"],
        most=10,
        more=asked.link("holders"),
    )
    disputes = asked.view(
        "disputes",
        "Disputes",
        ["dispute", "rights_holder", "state", "reason", "statement", "changed_at"],
        most=10,
        more=asked.link("disputes"),
    )
    waits = {
        "without_audit": len(asked.ledger.ask("coverage", as_of=asked.as_of)),
        "disputes_waiting": sum(
            row["state"] in ("open", "under review") for row in asked.ledger.ask("disputes", as_of=asked.as_of)
        ),
        "without_licence": len(asked.ledger.ask("unlicensed", as_of=asked.as_of)),
        "over_cap": len(asked.ledger.ask("over_cap", as_of=asked.as_of)),
    }
    statements = asked.view(
        "statements",
        "Latest statements",
        ["statement", "contract", "period", "version", "current", "paid", "currency", "issued_at"],
        most=5,
        more=asked.link("statements"),
    )
    shown = [holders, runs, *([statements] if statements.rows else []), *([disputes] if disputes.rows else [])]
    found = verified and {"holds": verified.type == HELD, "at": verified.at, **verified.data}
    facts = counts | waits | {"rights_holders": len(ranking(asked)), "verified": found}
    return Page("home.html", "What is behind what was generated", shown, facts)


def search(asked: Asked) -> Page:
    """Everything whose id, digest, name or annotation has the words."""
    words = asked.query.get("q", "").strip()[:200]
    if not words:
        return Page("search.html", "Search", [], {"q": ""})
    view = asked.query_view(
        "search",
        f"Found for “{words}”",
        ["kind", "name", "about", "sha256"],
        SEARCH,
        q=words,
        as_of=asked.as_of,
        most=FOUND,
    )
    found = [
        row | {"page": asked.link(PLACES.get(row["kind"], "artifacts"), called(row["name"], row["sha256"]))}
        for row in view.rows
    ]
    return Page("search.html", f"Search: {words}", [view], {"q": words}, {"found": found})


def digest(asked: Asked, digest: str) -> Page:
    """The page of whatever has this SHA-256."""
    if not re.fullmatch("[0-9a-f]{8,64}", digest):
        raise Unknown(f"{digest[:80]!r} is no SHA-256; give its first eight digits or more.")
    rows = asked.ledger.rows(DIGEST, {"digest": digest})
    places = {(row["kind"], row["name"]) for row in rows}
    if len(places) == 1:
        ((kind, name),) = places
        return Page("", "", to=asked.link(kind, name))
    if not rows:
        raise Unknown(
            f"Nothing in the ledger has a page under {digest[:16]}…; it may be the digest of a file in the log."
        )
    view = View("sha256", f"What begins with {digest[:16]}", ["kind", "sha256"], rows, DIGEST, {"digest": digest})
    return Page(
        "search.html",
        view.title,
        [view],
        {"q": digest},
        {"found": [row | {"about": "", "page": asked.link(row["kind"], row["name"])} for row in rows]},
    )


def glossary(asked: Asked) -> Page:
    """What each term means."""
    return Page("glossary.html", "What the words mean", [], {"terms": TERMS})
