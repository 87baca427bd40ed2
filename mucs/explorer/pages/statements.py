"""Statements: who is owed what for a month, how each line came about, and what changed from version to version."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

from mucs.explorer.page import Asked, Page, only
from mucs.explorer.pdf import pdf
from mucs.ledger.names import Unknown
from mucs.report import words

LINES = [
    "line",
    "rights_holder",
    "right_type",
    "basis",
    "works",
    "generated_items",
    "share",
    "gross",
    "deducted",
    "net",
]
WORKS = """
SELECT w.id AS training, w.share, round(w.share::DECIMAL(20, 12) * l.pot, 4) AS gross, w.sha256 AS training_sha256
FROM works w JOIN lines l USING (position, line) JOIN statements s USING (position)
WHERE s.sha256 = $statement AND w.line = $line ORDER BY w.share DESC, w.id
"""
VERSIONS = """
SELECT s.sha256 AS statement, s.version, s.issued_at, sum(b.paid) AS paid, sum(b.difference) AS difference
FROM statements s LEFT JOIN balances b ON b.statement = s.sha256
WHERE s.contract = $contract AND s.period_start = $start AND s.issued_at <= $as_of::TIMESTAMPTZ
GROUP BY ALL ORDER BY s.version
"""
BALANCES = """
SELECT rights_holder, carried_in, net, difference, adjustments, paid, carried_out, statement FROM balances WHERE statement = $statement
ORDER BY paid DESC, net DESC, rights_holder
"""
OWN_LINES = """
SELECT
    l.line, l.rights_holder, l.right_type, l.basis, (SELECT count(*) FROM works w WHERE w.position = l.position AND w.line = l.line) AS works,
    l.generated_items, l.units, l.score_mass, l.score_error, l.share, l.gross, l.deducted, l.net, s.currency, s.sha256 AS statement
FROM lines l JOIN statements s USING (position) WHERE s.sha256 = $statement AND l.rights_holder = $holder ORDER BY l.net DESC, l.line
"""
OWN = """
SELECT l.line, l.right_type, w.id AS training, w.share, round(w.share::DECIMAL(20, 12) * l.pot, 4) AS gross, w.sha256 AS training_sha256
FROM works w JOIN lines l USING (position, line) JOIN statements s USING (position)
WHERE s.sha256 = $statement AND l.rights_holder = $holder ORDER BY gross DESC, training
"""


def statements(asked: Asked) -> Page:
    """All statements, the latest first."""
    columns = [
        "statement",
        "contract",
        "period",
        "version",
        "current",
        "holders",
        "paid",
        "carried_out",
        "currency",
        "issued_at",
    ]
    return Page(
        "table.html",
        "Statements",
        [asked.view("statements", "Statements, the latest first", columns, ["contract", "period", "current"])],
    )


def _found(asked: Asked, statement: str) -> dict[str, Any]:
    sql = "SELECT sha256, contract, period_start, period_end, version, currency, content, issued_at FROM statements"
    rows = asked.ledger.rows(
        f"{sql} WHERE length($name) >= 8 AND starts_with(sha256, $name) AND issued_at <= $as_of::TIMESTAMPTZ",
        {"name": statement, "as_of": asked.as_of},
    )
    found = only(rows, "statement", statement)
    return found | {"content": json.loads(found["content"])}


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    header = found["content"]["header"]
    return {
        "statement": found["sha256"],
        "title": header["statement"],
        "issued_at": found["issued_at"],
        "currency": found["currency"],
        "header": header,
        "period": str(found["period_start"])[:7],
    }


def statement(asked: Asked, statement: str) -> Page:
    """One of them: accounts, lines, versions, disputes, and what it was made from."""
    found = _found(asked, statement)
    sha256 = found["sha256"]
    accounts = asked.query_view(
        "accounts",
        "Accounts",
        ["rights_holder", "paid", "net", "carried_in", "difference", "adjustments", "carried_out"],
        BALANCES,
        statement=sha256,
    )
    lines = asked.view("lines", "Lines", LINES, ["right_type", "basis", "rights_holder"], statement=sha256)
    versions = asked.query_view(
        "versions",
        "Versions of this month",
        ["version", "statement", "issued_at", "paid", "difference"],
        VERSIONS,
        contract=found["contract"],
        start=found["period_start"],
        as_of=asked.as_of,
    )
    disputes = asked.view(
        "disputes",
        "Disputes of this statement",
        ["dispute", "rights_holder", "state", "reason", "amount", "changed_at"],
    )
    disputes.rows[:] = [row for row in disputes.rows if row["statement"] == sha256]
    facts = _facts(found) | {
        "paid": sum(row["paid"] for row in accounts.rows),
        "current": versions.rows[-1]["statement"] == sha256,
        "changes": found["content"]["header"].get("changes", []),
    }
    said = words.paid(found["content"])
    return Page(
        "statement.html", f"Statement {facts['title']}", [accounts, lines, versions, disputes], facts, {"said": said}
    )


def line(asked: Asked, statement: str, line: str) -> Page:
    """How a line came about: its works, and the edges that they were counted for."""
    found = _found(asked, statement)
    lines = [
        row
        for row in asked.ledger.ask("lines", statement=found["sha256"], as_of=asked.as_of)
        if str(row["line"]) == line
    ]
    this = only(lines, "line", line)
    works = asked.query_view(
        "works",
        "Works of this line",
        ["training", "share", "gross"],
        WORKS,
        statement=found["sha256"],
        line=this["line"],
    )
    edges = asked.view(
        "line_edges",
        "Edges that it rests on",
        ["generated", "rank", "training", "score", "standard_error", "p_value", "decoy_p_value", "run"],
        statement=found["sha256"],
        line=this["line"],
    )
    facts = _facts(found)
    why = _why(found, this["line"])
    return Page("line.html", f"Line {line} of {facts['title']}", [edges, works], facts | {"line": this, "why": why})


def _why(found: dict[str, Any], line: int) -> str:
    """Why a line of a statement is there."""
    said, header = found["content"]["lines"][line - 1], found["content"]["header"]
    return words.why(said | {"works": len(said["works"])}, header["pots"], header["currency"])


def document(asked: Asked, statement: str, name: str) -> Page:
    """What one rights holder is owed, and nothing of anybody else's account: to be printed."""
    found = _found(asked, statement)
    sha256 = found["sha256"]
    balance = [each for each in found["content"]["balances"] if each["holder"] == name]
    if not balance:
        raise Unknown(f"The statement {_facts(found)['title']} has no account of {name[:100]!r}.")
    lines = asked.query_view(
        "lines",
        "Lines",
        ["line", "right_type", "basis", "works", "generated_items", "units", "share", "gross", "deducted", "net"],
        OWN_LINES,
        statement=sha256,
        holder=name,
    )
    works = asked.query_view(
        "works", "Works", ["training", "line", "right_type", "share", "gross"], OWN, statement=sha256, holder=name
    )
    works.rows[:] = [row | {"statement": sha256} for row in works.rows]
    adjustments = [each for each in found["content"]["adjustments"] if each["holder"] == name]
    header = _facts(found)["header"]
    facts = {key: value for key, value in _facts(found).items() if key != "header"} | {
        "rights_holder": name,
        "account": balance[0],
        "adjustments": adjustments,
        "supersedes": header["supersedes"],
        "attributed": any(row["basis"] == "attribution" for row in lines.rows),
        "false_payments": words.paid_falsely(header),
        "owed": words.owed(balance[0], header),
        "made_from": [
            ("statement", sha256),
            ("contract", header["contract"]["sha256"]),
            ("usage report", header["usage"]["sha256"]),
            *(("run", each) for each in header["runs"]),
            (f"head of the log at entry {header['ledger']['position']}", header["ledger"]["head"]),
        ],
        "why": [{"line": row["line"], "why": _why(found, row["line"])} for row in lines.rows],
    }
    terms = {
        "contract": header["contract"]["id"],
        "contract_version": header["contract"]["version"],
        "licensee": header["contract"]["licensee"]["name"],
        "licensor": header["contract"]["licensor"]["name"],
    }
    page = Page("document.html", f"{name}: statement {facts['title']}", [lines, works], facts | terms)
    return replace(page, pdf=partial(pdf, page))
