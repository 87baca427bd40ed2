"""Runs: what one measured and found, and how far two of the same items differ."""

from __future__ import annotations

from mucs.explorer.page import Asked, Page
from mucs.explorer.plots import scatter
from mucs.explorer.view import View
from mucs.ledger.names import run_called
from mucs.parse import load_json
from mucs.report import words

POINTS = """
SELECT g.id AS generated, t.id AS training, a.score::DOUBLE AS first_score, b.score::DOUBLE AS second_score, a.rank AS first_rank, b.rank AS second_rank,
    g.sha256 AS generated_sha256, t.sha256 AS training_sha256
FROM edges a JOIN edges b USING (generated_id, training_id) JOIN generated_items g USING (generated_id) JOIN training_items t USING (training_id)
WHERE a.run_id = (SELECT run_id FROM runs WHERE sha256 = $first) AND b.run_id = (SELECT run_id FROM runs WHERE sha256 = $second)
    AND a.rank <= $top AND b.rank <= $top
ORDER BY generated, first_rank
"""
SUMMARY = """
SELECT r.loaded_at, w.reason AS withdrawn_because, w.recorded_at AS withdrawn_at, c.sha256 AS checkpoint, t.sha256 AS training_set, h.sha256 AS held_out,
    k.sha256 AS calibration, b.sha256 AS batch, r.settings_sha256 AS settings, (SELECT count(*) FROM members m WHERE m.training_set_id = r.training_set_id) AS training_items
FROM runs r
LEFT JOIN withdrawals w ON w.run_id = r.run_id AND w.recorded_at <= $as_of::TIMESTAMPTZ
LEFT JOIN artifacts c ON c.artifact_id = r.checkpoint_id LEFT JOIN artifacts t ON t.artifact_id = r.training_set_id
LEFT JOIN artifacts h ON h.artifact_id = r.held_out_id LEFT JOIN artifacts k ON k.artifact_id = r.calibration_id
LEFT JOIN artifacts b ON b.artifact_id = r.batch_id
WHERE r.sha256 = $run
"""
GATES = """
SELECT suite, success, sha256, (result->>'rows')::BIGINT AS rows, json_array_length(result->'results') AS expectations
FROM validations WHERE run_id = (SELECT run_id FROM runs WHERE sha256 = $run) ORDER BY suite
"""


def runs(asked: Asked) -> Page:
    """All runs, the latest first."""
    columns = [
        "run",
        "loaded_at",
        "generated_items",
        "converged",
        "above_chance",
        "edges",
        "checkpoint",
        "training_set",
        "withdrawn_because",
    ]
    return Page("table.html", "Runs", [asked.view("runs", "Runs, the latest first", columns)])


def run(asked: Asked, run: str) -> Page:
    """One of them: its summary, controls, gates and items."""
    sha256 = run_called(asked.ledger.connection, run)
    record = load_json(asked.ledger.one("SELECT record FROM runs WHERE sha256 = ?", sha256))
    (summary,) = asked.ledger.rows(SUMMARY, {"run": sha256, "as_of": asked.as_of})
    items = asked.view(
        "items",
        "Generated items",
        ["generated", "verdict", "training", "rights_holder", "score", "converged", "steps"],
        ["verdict", "rights_holder"],
        run=sha256,
    )
    shares = asked.view(
        "shares", "Share by rights holder", ["rights_holder", "share", "generated_items", "training_items"], run=sha256
    )
    gates = asked.query_view(
        "gates", "Gates", ["suite", "success", "rows", "expectations", "sha256"], GATES, run=sha256
    )
    verdicts: dict[str, int] = {}
    for row in asked.ledger.ask("verdicts", run=sha256, as_of=asked.as_of):
        verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + 1
    bounds = words.bounds_of_run(record.get("calibration"))
    others = [row["run"] for row in asked.ledger.ask("runs", as_of=asked.as_of) if row["run"] != sha256]
    facts = {
        "run": sha256,
        **summary,
        "verdicts": verdicts,
        "edges": record["results"]["edges"],
        "edges_root": record["results"]["edges_root"],
        "false_payments": asked.ledger.ask("false_payments", run=sha256, as_of=asked.as_of, **bounds),
    }
    facts |= {
        "controls": record["results"].get("controls"),
        "failed": record.get("failed", []),
        "code": record.get("code", {}),
        "method_settings": record["settings"],
        "method": record["method"],
    }
    held_out = next((row["rows"] for row in gates.rows if row["suite"] == "held-out set"), None)
    controls = words.controls(facts["controls"], held_out) if facts["controls"] else []
    return Page(
        "run.html",
        f"Run {sha256[:12]}",
        [items, shares, gates],
        facts,
        {
            "others": others[:20],
            "controls": controls,
            "passed": sum(each["verdict"] == "passed" for each in controls),
            "paid_falsely": words.run_pays_falsely(facts["false_payments"], bounds),
        },
    )


def against(asked: Asked, run: str, other: str) -> Page:
    """Two runs side by side: how far they agree on the same items."""
    first, second = (run_called(asked.ledger.connection, each) for each in (run, other))
    top = asked.number("top", 25)
    drift = asked.view(
        "drift",
        "Item by item",
        ["generated", "overlap", "same_best", "mean_score_change", "largest_score_change"],
        first=first,
        second=second,
        top=top,
    )
    given = {"first": first, "second": second, "top": top}
    points = asked.ledger.rows(POINTS, given)
    table = View(
        "points",
        "Edges that both have",
        ["generated", "training", "first_score", "second_score", "first_rank", "second_rank"],
        points[:200],
        POINTS,
        given,
        len(points) > 200,
    )
    plot = scatter(
        "Scores of the two runs for the same edges",
        [(row["first_score"], row["second_score"]) for row in points[:2000]],
        f"score in run {first[:8]}",
        f"score in run {second[:8]}",
    )
    items = len(drift.rows)
    overlap = sum(row["overlap"] for row in drift.rows) / items if items else 0.0
    facts = {
        "first": first,
        "second": second,
        "top": top,
        "items": items,
        "mean_overlap": overlap,
        "same_best": sum(row["same_best"] for row in drift.rows),
        "points": len(points),
    }
    return Page("against.html", f"Runs {first[:8]} and {second[:8]}", [drift, table], facts, {"plot": plot})
