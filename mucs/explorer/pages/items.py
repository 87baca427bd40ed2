"""Items: what is behind a generated one, and what a training one is behind."""

from __future__ import annotations

import datetime
import json
from typing import Any

from mucs.explorer.address import called
from mucs.explorer.page import Asked, Page, only
from mucs.explorer.plots import strip
from mucs.explorer.words import STANDINGS
from mucs.ledger.names import known
from mucs.report import words

EDGES = [
    "rank",
    "training",
    "annotation",
    "rights_holder",
    "licence",
    "standing_today",
    "score",
    "standard_error",
    "p_value",
    "decoy_p_value",
    "decoy_z",
]
USED = ["generated", "rank", "score", "standard_error", "p_value", "decoy_p_value", "decoy_z", "converged", "run"]
SHOWN = 10  # pictures at the top of a page
PROVISIONAL = "Provisional: what the index estimated"
ESTIMATED = ["rank", "training", "predicted", "low", "high", "among_best", "measured_rank", "measured_score"]
GENERATED = """
SELECT g.generated_id, g.id, g.sha256, g.row_sha256, g.manifest_row, g.recorded_at, s.run_id, r.sha256 AS run, r.loaded_at, v.verdict, a.*
    EXCLUDE (run_id, generated_id)
FROM generated_items g
LEFT JOIN speaking_as_of($as_of) s USING (generated_id)
LEFT JOIN attributions a ON a.run_id = s.run_id AND a.generated_id = g.generated_id
LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.generated_id = g.generated_id
LEFT JOIN runs r ON r.run_id = s.run_id
WHERE is_called(g.id, g.sha256, $name) AND g.recorded_at <= $as_of::TIMESTAMPTZ
ORDER BY g.generated_id DESC
"""
CONTROLS = """
SELECT record->'results'->'controls' AS controls,
    (SELECT (result->>'rows')::BIGINT FROM validations v WHERE v.run_id = r.run_id AND suite = 'held-out set') AS held_out
FROM runs r WHERE sha256 = $run
"""
# the edges of one item that are in memory: a join with all of them would read the ledger's files
BEST_OF = """
SELECT g.id AS generated, e.rank, e.score::DOUBLE AS score, e.standard_error::DOUBLE AS standard_error, e.p_value::DOUBLE AS p_value,
    e.decoy_p_value::DOUBLE AS decoy_p_value, e.decoy_z::DOUBLE AS decoy_z, a.converged, r.sha256 AS run, g.sha256 AS generated_sha256
FROM edges e
JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
JOIN attributions a USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
WHERE e.rank <= $most_rank AND e.training_id IN (
    SELECT training_id FROM training_items t WHERE is_called(t.id, t.sha256, $training))
ORDER BY e.rank, e.score DESC, generated
"""
STATED = """
SELECT w.statement, w.contract, strftime(w.period_start, '%Y-%m') AS period, w.version, w.current, w.line, w.right_type, w.rights_holder, w.basis, w.share,
    round(w.gross, 4) AS gross, w.currency
FROM statement_works w JOIN statements s ON s.sha256 = w.statement
WHERE w.sha256 IN (SELECT sha256 FROM training_items t WHERE is_called(t.id, t.sha256, $training)) AND s.issued_at <= $as_of::TIMESTAMPTZ
ORDER BY w.period_start DESC, w.version DESC, w.line
"""


def generated_items(asked: Asked) -> Page:
    """All generated items that were attributed."""
    columns = ["generated", "verdict", "training", "rights_holder", "score", "run", "recorded_at"]
    view = asked.view("items", "Generated items", columns, ["verdict", "rights_holder", "run"])
    return Page("table.html", "Generated items", [view])


def generated(asked: Asked, item: str) -> Page:
    """What is behind a generated item, and how sure that is."""
    known(asked.ledger.connection, "generated", item)
    versions = asked.ledger.rows(GENERATED, {"name": item, "as_of": asked.as_of})
    if len({row["sha256"] for row in versions}) > 1:
        return _which(asked, "generated", item, versions)
    found = next((row for row in versions if row["run"]), versions[0] if versions else None)
    found = found or only([], "generated item", item)
    name = found["sha256"]
    edges = asked.view(
        "why",
        "Training items behind it, best first",
        EDGES,
        ["rights_holder", "licence"],
        generated=name,
        top=asked.number("top", SHOWN),
    )
    before = asked.view(
        "provisional", PROVISIONAL, ESTIMATED, note=words.PROVISIONAL, generated=found["row_sha256"], top=SHOWN
    )
    row = json.loads(found["manifest_row"])
    facts = {
        key: found[key]
        for key in (
            "id",
            "sha256",
            "recorded_at",
            "run",
            "verdict",
            "tie_p_value",
            "converged",
            "steps",
            "candidates",
            "survivors",
            "probe_before",
            "probe_after",
            "null_loss",
        )
    }
    facts["missed"] = json.loads(found["missed"] or "null")
    control, held_out = _control(asked, found)
    return Page(
        "generated.html",
        f"Generated item {found['id']}",
        [edges, before] if before.rows else [edges],
        facts | {"manifest_row": row, "control": control},
        {
            "trail": asked.link("questions", "trail", item=name),
            "said": words.VERDICTS.get(found["verdict"] or "", "No run speaks for this item, as of this time."),
            "controls": words.controls(control, held_out) if control else [],
            "shown": SHOWN,
        },
    )


def _control(asked: Asked, found: dict[str, Any]) -> tuple[Any, int | None]:
    """What became of the run's controls, and how many held-out images it had."""
    rows = asked.ledger.rows(CONTROLS, {"run": found["run"]})
    return (json.loads(rows[0]["controls"] or "null"), rows[0]["held_out"]) if rows else (None, None)


def _which(asked: Asked, kind: str, name: str, versions: list[dict[str, Any]]) -> Page:
    """Several images of one name, of which the reader chooses."""
    found = {
        row["sha256"]: {
            "kind": f"{kind} item",
            "name": row["id"],
            "sha256": row["sha256"],
            "about": f"first recorded {row['recorded_at']:%Y-%m-%d}",
            "page": asked.link(kind, row["sha256"]),
        }
        for row in versions
    }
    return Page(
        "search.html", f"{len(found)} images are called {name}", [], {"q": name}, {"found": list(found.values())}
    )


TRAINING = """
SELECT t.id, t.sha256, t.row_sha256, t.rights_holder, t.licence, t.date, t.manifest_row, t.recorded_at, h.rights_holder AS holder_today,
    h.licence AS licence_today, h.standing, h.uses, h.valid_from, h.valid_to
FROM training_items t JOIN rights_on(current_date, $as_of) h ON h.sha256 = t.sha256
WHERE is_called(t.id, t.sha256, $name) AND t.recorded_at <= $as_of::TIMESTAMPTZ
ORDER BY t.training_id DESC
"""
ALL_TRAINING = """
SELECT t.id AS training, h.rights_holder, h.licence, h.standing, t.date, coalesce(t.manifest_row->>'annotation', '') AS annotation, t.sha256 AS training_sha256
FROM (SELECT * FROM training_items WHERE recorded_at <= $as_of::TIMESTAMPTZ QUALIFY row_number() OVER (PARTITION BY sha256 ORDER BY training_id DESC) = 1) t
JOIN rights_on(current_date, $as_of) h ON h.sha256 = t.sha256
WHERE coalesce(h.rights_holder = $rights_holder, true) AND coalesce(h.licence = $licence, true) AND coalesce(h.standing = $standing, true)
ORDER BY training, training_sha256
"""
FACETS = ("rights_holder", "licence", "standing")


def training_items(asked: Asked) -> Page:
    """All training items, as they stand today; counted by the database, as there may be a million."""
    from mucs.explorer.view import CAP, Facet, View

    chosen: dict[str, Any] = {name: asked.query.get(name) for name in FACETS}
    given = chosen | {"as_of": asked.as_of}
    rows = asked.ledger.rows(ALL_TRAINING, given, CAP + 1)
    facets = []
    for name in FACETS:
        counts = asked.ledger.rows(
            f"SELECT {name} AS value, count(*) AS n FROM ({ALL_TRAINING}) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20",
            given | {name: None},
        )
        facets.append(Facet(name, [(row["value"], row["n"]) for row in counts], chosen[name]))
    columns = ["training", "annotation", "rights_holder", "licence", "standing", "date"]
    return Page(
        "table.html",
        "Training items",
        [View("training", "Training items", columns, rows[:CAP], ALL_TRAINING, given, len(rows) > CAP, facets)],
    )


def training(asked: Asked, item: str) -> Page:
    """What a training item is behind, how its rights stand, and what it brought to whom."""
    known(asked.ledger.connection, "training", item)
    versions = asked.ledger.rows(TRAINING, {"name": item, "as_of": asked.as_of})
    if len({row["sha256"] for row in versions}) > 1:
        return _which(asked, "training", item, versions)
    found = versions[0] if versions else only([], "training item", item)
    name = found["sha256"]
    most = asked.snapshot.most_rank
    used = asked.query_view(
        "used",
        "Generated items in whose ranking it stands, highest first",
        USED,
        BEST_OF,
        training=name,
        as_of=asked.as_of,
        most_rank=most,
    )
    history = asked.view(
        "history",
        "Rights: what was said, and when we knew",
        [
            "recorded_at",
            "event",
            "standing",
            "rights_holder",
            "licence",
            "uses",
            "cap",
            "valid_from",
            "valid_to",
            "source",
            "position",
        ],
        training=name,
    )
    stated = asked.query_view(
        "stated",
        "In statements",
        [
            "period",
            "contract",
            "version",
            "current",
            "line",
            "right_type",
            "rights_holder",
            "share",
            "gross",
            "currency",
        ],
        STATED,
        training=name,
        as_of=asked.as_of,
    )
    facts = {
        key: found[key]
        for key in (
            "id",
            "sha256",
            "holder_today",
            "licence_today",
            "standing",
            "uses",
            "valid_from",
            "valid_to",
            "rights_holder",
            "licence",
            "date",
            "recorded_at",
        )
    }
    row = json.loads(found["manifest_row"])
    plot = strip(f"Rights in {found['id']} over time", history.rows, datetime.datetime.now(datetime.UTC).date())
    best = sum(each["rank"] <= 10 for each in used.rows)
    return Page(
        "training.html",
        f"Training item {row.get('annotation') or found['id']}",
        [used, history, stated],
        facts
        | {
            "manifest_row": row,
            "versions": len(versions),
            "among_the_ten_best_of": best,
            "looked_at_ranks_up_to": most,
        },
        {
            "plot": plot,
            "standing": STANDINGS[found["standing"]],
            "trail": asked.link("questions", "trail", item=name),
            "all": asked.link("questions", "used", training=name, top=1000),
            "name": called(found["id"], name),
        },
    )
