"""Questions, as forms with their answers; an analyst's own SQL; and single things of the log."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from mucs import InputError
from mucs.explorer.page import Asked, Page, only
from mucs.explorer.plots import bars
from mucs.explorer.view import CAP, View
from mucs.ledger.asked import Busy
from mucs.ledger.ledger import MEMORY
from mucs.ledger.names import Unknown
from mucs.ledger.questions import names, question
from mucs.text import unfit

SECONDS, AT_ONCE = 10.0, 2  # that a query may take, and queries side by side
PLOTTED = {"exposure": ("month", "share"), "shares": ("rights_holder", "share"), "holders": ("rights_holder", "share")}
BARS = 24  # that a plot has at the most
running = threading.BoundedSemaphore(AT_ONCE)


def questions(asked: Asked) -> Page:
    """All questions that have a name."""
    found = [{"question": name, "about": question(name).about} for name in names()]
    return Page("questions.html", "Questions", [View("questions", "Questions", ["question", "about"], found, "")])


def one_question(asked: Asked, name: str) -> Page:
    """A question as a form, with its answer where it was given what it needs."""
    if name not in names():
        raise Unknown(f"There is no question {name[:80]!r}; see them all on the page of questions.")
    found = question(name)
    parameters = [p for p in found.parameters if p.name != "as_of"]
    given = {p.name: asked.query[p.name] for p in parameters if asked.query.get(p.name, "") != ""}
    needed = [p.name for p in parameters if p.default is None and p.name not in given]
    views, plot = [], None
    if not needed:
        rows = asked.ledger.ask(name, **given, as_of=asked.as_of)
        shown = [
            key
            for key in (rows[0] if rows else {})
            if not key.endswith("_sha256") and any(row[key] is not None for row in rows)
        ]
        views = [View(name, "Answer", shown, rows[:CAP], found.sql, given | {"as_of": asked.as_of}, len(rows) > CAP)]
        if name in PLOTTED and rows:
            label, value = PLOTTED[name]
            plot = bars(f"{found.about.split('?')[0]}?", [(str(row[label]), row[value] or 0.0) for row in rows[:BARS]])
    elif given and set(needed) != {p.name for p in parameters if p.default is None}:
        raise InputError(f"The question {name} needs {needed[0]} as well; fill it in.")
    facts = {
        "question": name,
        "about": found.about,
        "parameters": [
            {"name": p.name, "kind": p.kind, "default": p.default, "about": p.about, "given": given.get(p.name, "")}
            for p in parameters
        ],
    }
    return Page(
        "question.html", f"{name.replace('_', ' ').capitalize()}", views, facts, {"plot": plot, "sql": found.sql}
    )


def sql(select: Callable[[str, int, float], list[dict[str, Any]]]) -> Callable[[Asked], Page]:
    """The page for an analyst's own SELECT. Args: select: answers one, as `analyst.select` does for a ledger."""

    def page(asked: Asked) -> Page:
        query = asked.query.get("q", "")
        views = []
        if query.strip():
            if not running.acquire(blocking=False):
                raise Busy(f"{AT_ONCE} queries are being answered already; try again in a few seconds.", 2)
            try:
                rows = select(query, CAP + 1, SECONDS)
            finally:
                running.release()
            views = [View("sql", "Answer", list(rows[0]) if rows else [], rows[:CAP], query, {}, len(rows) > CAP)]
        tables = asked.ledger.rows(
            "SELECT table_name AS name, string_agg(column_name, ', ' ORDER BY column_index) AS columns FROM duckdb_columns() WHERE database_name = 'kept' AND table_name <> 'best' GROUP BY ALL ORDER BY ALL"
        )
        return Page(
            "sql.html",
            "SQL",
            views,
            {"query": query},
            {"tables": tables, "seconds": SECONDS, "cap": CAP, "memory": MEMORY},
        )

    return page


def entries(asked: Asked) -> Page:
    """The log's entries, the last first."""
    sql = "SELECT position, kind, (entry::JSON->>'at')[:19] AS at, sha256 FROM entries WHERE (entry::JSON->>'at')::TIMESTAMPTZ <= $as_of::TIMESTAMPTZ ORDER BY position DESC"
    return Page(
        "table.html",
        "The log",
        [
            asked.query_view(
                "entries",
                "Entries of the log, the last first",
                ["position", "kind", "at", "sha256"],
                sql,
                as_of=asked.as_of,
            )
        ],
    )


def entry(asked: Asked, position: str) -> Page:
    """One entry, as it is in the log."""
    rows = asked.ledger.rows(
        "SELECT position, kind, sha256, entry FROM entries WHERE position::VARCHAR = $position", {"position": position}
    )
    found = only(rows, "entry", position)
    said = json.loads(found["entry"])
    return Page(
        "entry.html",
        f"Entry {position} of the log",
        [],
        {"position": found["position"], "kind": found["kind"], "sha256": found["sha256"], "entry": said},
        {"text": _visible(json.dumps(said, indent=1, ensure_ascii=False))},
    )


def _visible(text: str) -> str:
    """JSON whose characters can all be seen, where it has an escape for those that cannot."""
    return "".join(c if c == "\n" or not unfit(c) else json.dumps(c)[1:-1] for c in text)


ARTIFACT = """
WITH derived AS (
    SELECT DISTINCT unnest([child_sha256, parent_sha256]) AS sha256 FROM derivations WHERE recorded_at <= $as_of::TIMESTAMPTZ
), found AS (
    SELECT a.artifact_id, a.kind, a.sha256, a.files, a.bytes, (SELECT count(*) FROM members m WHERE m.training_set_id = a.artifact_id) AS training_items
    FROM artifacts a
    UNION ALL
    SELECT NULL, 'training_set', sha256, NULL, NULL, 0 FROM derived ANTI JOIN artifacts USING (sha256)
)
SELECT * EXCLUDE artifact_id FROM found WHERE starts_with(sha256, $name) AND length($name) >= 8 ORDER BY artifact_id, sha256
"""
RUNS_OF = """
SELECT r.sha256 AS run, r.loaded_at FROM runs r
WHERE list_contains([r.checkpoint_id, r.training_set_id, r.held_out_id, r.calibration_id, r.batch_id], (SELECT artifact_id FROM artifacts WHERE sha256 = $sha256 AND kind = $kind))
    AND r.loaded_at <= $as_of::TIMESTAMPTZ ORDER BY r.run_id DESC
"""
DERIVED = """
SELECT 'made from' AS how, parent_sha256 AS sha256, recorded_at, position FROM derivations WHERE child_sha256 = $sha256 AND recorded_at <= $as_of::TIMESTAMPTZ
UNION ALL SELECT 'made into', child_sha256, recorded_at, position FROM derivations WHERE parent_sha256 = $sha256 AND recorded_at <= $as_of::TIMESTAMPTZ
"""


def artifact(asked: Asked, name: str) -> Page:
    """Something that a run used or made: which runs did, and what it was made from."""
    rows = asked.ledger.rows(ARTIFACT, {"name": name, "as_of": asked.as_of})
    found = rows[0] if rows and len({row["sha256"] for row in rows}) == 1 else only(rows, "artifact", name)
    given = {"sha256": found["sha256"], "as_of": asked.as_of}
    runs = asked.query_view("runs", "Runs that used it", ["run", "loaded_at"], RUNS_OF, kind=found["kind"], **given)
    derived = asked.query_view(
        "derived", "What it was made from and into", ["how", "sha256", "recorded_at", "position"], DERIVED, **given
    )
    return Page(
        "artifact.html",
        f"{found['kind'].replace('_', ' ').capitalize()} {found['sha256'][:12]}",
        [runs, derived],
        found,
    )
