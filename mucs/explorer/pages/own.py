"""Own: what a rights holder sees: his works, what rests on them, his lines, accounts and disputes, and nothing of anybody else.

Each query here names the holder, and takes rows of his alone. What is another's is as if it were not there.
"""

from __future__ import annotations

from typing import Any

from mucs.explorer.page import Asked, Page
from mucs.explorer.pages import statements
from mucs.explorer.plots import bars
from mucs.explorer.words import STANDINGS
from mucs.ledger.names import Unknown

BASES = {  # of a line, in words
    "equal": "every licensed work gets the same",
    "attribution": "by attribution: how much of what was used rests on them",
    "fallback": "what no measured work is behind, divided as agreed",
}
BEST = 10  # edges of a generated item that count, as everywhere
MINE = """mine AS MATERIALIZED (
    SELECT t.training_id, t.id, t.sha256, t.manifest_row, h.licence, h.standing, h.uses, h.valid_from, h.valid_to
    FROM training_items t JOIN rights_on(current_date, $as_of) h ON h.sha256 = t.sha256
    WHERE h.rights_holder = $holder AND t.recorded_at <= $as_of::TIMESTAMPTZ
)"""
RESTING = f"""resting AS MATERIALIZED (
    SELECT e.run_id, e.generated_id, e.training_id, e.rank, e.score, e.standard_error, e.p_value, e.decoy_p_value, e.decoy_z
    FROM edges e JOIN mine USING (training_id) JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= {BEST} AND e.score > 0
)"""
WORKS = f"""
WITH {MINE}, {RESTING}, behind AS (
    SELECT sha256, count(DISTINCT generated_id) AS generated_items, min(rank) AS best_rank
    FROM resting JOIN mine USING (training_id) GROUP BY sha256
)
SELECT
    min(m.id) AS training, any_value(m.licence) AS licence, any_value(m.standing) AS standing, array_to_string(any_value(m.uses), ' ') AS uses,
    any_value(m.valid_from) AS valid_from, any_value(m.valid_to) AS valid_to, coalesce(any_value(b.generated_items), 0) AS generated_items,
    any_value(b.best_rank) AS best_rank, m.sha256 AS training_sha256
FROM mine m LEFT JOIN behind b USING (sha256) GROUP BY m.sha256 ORDER BY generated_items DESC, training
"""
MONTHS = f"""
WITH {MINE}, shared AS (
    SELECT e.generated_id, coalesce(sum(e.score::DOUBLE) FILTER (WHERE m.training_id IS NOT NULL), 0) / sum(e.score::DOUBLE) AS share,
        count(m.training_id) AS edges
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id) LEFT JOIN mine m USING (training_id)
    WHERE e.rank <= {BEST} AND e.score > 0 GROUP BY e.generated_id
)
SELECT strftime(g.recorded_at AT TIME ZONE 'UTC', '%Y-%m') AS month, count(*) FILTER (WHERE edges > 0) AS exposed, sum(edges)::BIGINT AS edges, avg(share) AS share
FROM shared JOIN generated_items g USING (generated_id) GROUP BY month ORDER BY month
"""
USED = f"""
WITH {MINE}, {RESTING}
SELECT g.id AS generated, m.id AS training, r.rank, r.score::DOUBLE AS score, r.standard_error::DOUBLE AS standard_error,
    r.p_value::DOUBLE AS p_value, r.decoy_p_value::DOUBLE AS decoy_p_value, r.decoy_z::DOUBLE AS decoy_z,
    g.sha256 AS generated_sha256, m.sha256 AS training_sha256
FROM resting r JOIN mine m USING (training_id) JOIN generated_items g USING (generated_id)
WHERE coalesce(m.sha256 = $training, true) AND coalesce(g.sha256 = $generated, true)
ORDER BY r.rank, score DESC, generated
"""
ONE = f"WITH {MINE} SELECT * FROM mine WHERE id = $name OR sha256 = $name ORDER BY training_id DESC"
GENERATED = f"""
WITH {MINE}, {RESTING}
SELECT DISTINCT g.sha256, g.id FROM resting JOIN generated_items g USING (generated_id) WHERE g.id = $name OR g.sha256 = $name
"""
HISTORY = """
SELECT recorded_at, event, standing, licence, uses, cap, valid_from, valid_to, source FROM (
    SELECT recorded_at, 'manifest' AS event, 'granted' AS standing, licence, NULL AS uses, NULL AS cap, date AS valid_from, NULL AS valid_to, NULL AS source
    FROM training_items WHERE sha256 = $training AND rights_holder = $holder
    UNION ALL
    SELECT recorded_at, 'right', standing, licence, array_to_string(uses, ' '), cap, valid_from, valid_to, source
    FROM rights WHERE sha256 = $training AND rights_holder = $holder
) WHERE recorded_at <= $as_of::TIMESTAMPTZ ORDER BY recorded_at, valid_from
"""
LINES = """
SELECT strftime(s.period_start, '%Y-%m') AS period, s.contract, s.version, l.line, l.right_type, l.basis, l.share, l.gross, l.deducted, l.net, s.currency,
    s.sha256 AS statement
FROM lines l JOIN statements s USING (position)
WHERE l.rights_holder = $holder AND s.issued_at <= $as_of::TIMESTAMPTZ ORDER BY s.position DESC, l.line
"""
ACCOUNT = """
SELECT strftime(b.period_start, '%Y-%m') AS period, b.contract, b.version, b.carried_in, b.net, b.difference, b.adjustments, b.paid, b.carried_out, s.currency,
    b.statement
FROM balances b JOIN statements s ON s.sha256 = b.statement
WHERE b.rights_holder = $holder AND s.issued_at <= $as_of::TIMESTAMPTZ ORDER BY b.position DESC
"""
DISPUTES = """
SELECT d.dispute, d.state, o.reason, d.amount, s.currency, strftime(s.period_start, '%Y-%m') AS period, d.statement, o.recorded_at AS opened_at,
    d.recorded_at AS changed_at
FROM dispute_steps d JOIN dispute_steps o ON o.position = d.dispute JOIN statements s ON s.sha256 = d.statement
WHERE d.rights_holder = $holder AND d.recorded_at <= $as_of::TIMESTAMPTZ
QUALIFY row_number() OVER (PARTITION BY d.dispute ORDER BY d.position DESC) = 1 ORDER BY d.dispute DESC
"""
STEPS = """
SELECT recorded_at, state, reason, amount FROM dispute_steps
WHERE dispute::VARCHAR = $dispute AND rights_holder = $holder AND recorded_at <= $as_of::TIMESTAMPTZ ORDER BY position
"""
LINE = """
SELECT l.*, s.currency, s.sha256 AS statement, s.contract, s.version, strftime(s.period_start, '%Y-%m') AS period
FROM lines l JOIN statements s USING (position)
WHERE s.sha256 = $statement AND l.line::VARCHAR = $line AND l.rights_holder = $holder AND s.issued_at <= $as_of::TIMESTAMPTZ
"""
# works that were ever said to be his, or that a line of his rests on, and what rests on those that are his today
PICTURES = f"""
WITH {MINE}
SELECT 1 WHERE EXISTS (FROM training_items WHERE sha256 = $image AND rights_holder = $holder)
    OR EXISTS (FROM rights WHERE sha256 = $image AND rights_holder = $holder)
    OR EXISTS (FROM works JOIN lines l USING (position, line) WHERE sha256 = $image AND l.rights_holder = $holder)
    OR EXISTS (FROM edges e JOIN mine USING (training_id) JOIN generated_items g USING (generated_id)
        WHERE g.sha256 = $image AND e.rank <= {BEST} AND e.score > 0)
"""
EDGES = ["generated", "training", "rank", "score", "standard_error", "p_value", "decoy_p_value"]


class NotYours(Unknown):
    """There is nothing at this address, or it is somebody else's: which of the two is not told."""

    def __init__(self) -> None:
        super().__init__("There is no page at this address; begin at the first page.")


def _given(asked: Asked, **more: Any) -> dict[str, Any]:
    return {"holder": asked.person.holder, "as_of": asked.as_of} | more


def first(asked: Asked) -> Page:
    """The first page is the holder's."""
    return Page("", "", to=asked.link("holders", str(asked.person.holder)))


def holder(asked: Asked, name: str) -> Page:
    """What is his: works, exposure, statement lines, account, and disputes."""
    if name != asked.person.holder:
        raise NotYours
    given = _given(asked)
    works = asked.query_view(
        "works",
        "Works",
        ["training", "licence", "standing", "uses", "valid_from", "valid_to", "generated_items", "best_rank"],
        WORKS,
        **given,
    )
    months = asked.query_view(
        "exposure", "Exposure, month by month", ["month", "exposed", "edges", "share"], MONTHS, **given
    )
    used = asked.query_view(
        "used",
        "Generated items that rest on the works",
        EDGES,
        USED,
        **given,
        training=None,
        generated=None,
    )
    lines = asked.query_view(
        "lines",
        "Statement lines",
        ["period", "contract", "version", "line", "right_type", "why", "share", "gross", "deducted", "net", "currency"],
        LINES,
        **given,
    )
    lines.rows[:] = [row | {"why": BASES.get(row["basis"], row["basis"])} for row in lines.rows]
    account = asked.query_view(
        "account",
        "Account, statement by statement",
        ["period", "statement", "version", "carried_in", "net", "adjustments", "paid", "carried_out", "currency"],
        ACCOUNT,
        **given,
    )
    disputes = asked.query_view(
        "disputes",
        "Disputes",
        ["dispute", "state", "reason", "amount", "currency", "period", "changed_at"],
        DISPUTES,
        **given,
    )
    exposed = [row for row in months.rows if row["exposed"]]
    facts = {
        "rights_holder": name,
        "works": len(works.rows),
        "exposed": sum(row["exposed"] for row in exposed),
        "since": exposed[0]["month"] if exposed else None,
    }
    plot = bars(
        "Share of what was generated each month that rests on your works",
        [(row["month"], row["share"]) for row in months.rows],
    )
    return Page("own.html", name, [works, months, used, lines, account, disputes], facts, {"plot": plot})


def training(asked: Asked, item: str) -> Page:
    """A work of his: its rights, and what rests on it."""
    found = asked.ledger.rows(ONE, _given(asked, name=item))
    if len({row["sha256"] for row in found}) != 1:
        raise NotYours
    (row, *_), sha256 = found, found[0]["sha256"]
    used = asked.query_view(
        "used",
        "Generated items that rest on it",
        [name for name in EDGES if name != "training"],
        USED,
        **_given(asked, training=sha256, generated=None),
    )
    history = asked.query_view(
        "history",
        "Rights: what was said of you, and when we knew",
        ["recorded_at", "event", "standing", "licence", "uses", "cap", "valid_from", "valid_to", "source"],
        HISTORY,
        **_given(asked, training=sha256),
    )
    facts = {name: row[name] for name in ("id", "sha256", "licence", "standing", "uses", "valid_from", "valid_to")}
    return Page("own_work.html", f"Work {row['id']}", [used, history], facts, {"standing": STANDINGS[row["standing"]]})


def generated(asked: Asked, item: str) -> Page:
    """A generated item that rests on works of his: on which, and how much."""
    found = asked.ledger.rows(GENERATED, _given(asked, name=item))
    if len({row["sha256"] for row in found}) != 1:
        raise NotYours
    facts = found[0]
    edges = asked.query_view(
        "used",
        "Your works that it rests on",
        [name for name in EDGES if name != "generated"],
        USED,
        **_given(asked, training=None, generated=facts["sha256"]),
    )
    return Page("own_generated.html", f"Generated item {facts['id']}", [edges], facts)


def edge(asked: Asked, item: str, training: str) -> tuple[str, str]:
    """The SHA-256 of the ends of an edge of his, each given by its id or SHA-256. Raises NotYours unless there is just one."""
    works = {row["sha256"] for row in asked.ledger.rows(ONE, _given(asked, name=training))}
    items = {row["sha256"] for row in asked.ledger.rows(GENERATED, _given(asked, name=item))}
    if len(works) == 1 and len(items) == 1:
        (work,), (image,) = works, items
        if asked.ledger.rows(USED, _given(asked, training=work, generated=image)):
            return image, work
    raise NotYours


def statement(asked: Asked, statement: str) -> Page:
    """Of a statement, there is his document."""
    return Page("", "", to=asked.link("statements", statement, "holders", str(asked.person.holder)))


def document(asked: Asked, statement: str, name: str) -> Page:
    """What a statement says is owed to him."""
    if name != asked.person.holder or statement not in {
        row["statement"] for row in asked.ledger.rows(ACCOUNT, _given(asked))
    }:
        raise NotYours
    return statements.document(asked, statement, name)


def line(asked: Asked, statement: str, line: str) -> Page:
    """How a line of his came about: his works, and the edges that they were counted for."""
    found = asked.ledger.rows(LINE, _given(asked, statement=statement, line=line))
    if not found:
        raise NotYours
    this = found[0]
    works = asked.query_view(
        "works",
        "Works of this line",
        ["training", "share", "gross"],
        statements.WORKS,
        statement=statement,
        line=this["line"],
    )
    edges = asked.view("line_edges", "Edges that it rests on", EDGES, statement=statement, line=this["line"])
    edges.rows[:] = [
        {name: row[name] for name in (*EDGES, "generated_sha256", "training_sha256")} for row in edges.rows
    ]
    facts = {
        name: this[name]
        for name in (
            *(
                "statement",
                "contract",
                "period",
                "version",
                "currency",
                "line",
                "right_type",
                "basis",
                "generated_items",
            ),
            *("units", "score_mass", "score_error", "share", "gross", "deducted", "net"),
        )
    }
    words = {"why": BASES.get(this["basis"], this["basis"])}
    return Page("own_line.html", f"Line {line} of {this['period']}", [edges, works], facts | words)


def dispute(asked: Asked, dispute: str) -> Page:
    """A dispute of his, step by step."""
    steps = asked.query_view(
        "steps", "Steps", ["recorded_at", "state", "reason", "amount"], STEPS, **_given(asked, dispute=dispute)
    )
    found = [row for row in asked.ledger.rows(DISPUTES, _given(asked)) if str(row["dispute"]) == dispute]
    if not found:
        raise NotYours
    return Page("dispute.html", f"Dispute {dispute}", [steps], found[0])


def may_see(asked: Asked, image_sha256: str) -> bool:
    """Whether he may see the picture of an image."""
    return bool(asked.ledger.rows(PICTURES, _given(asked, image=image_sha256)))
