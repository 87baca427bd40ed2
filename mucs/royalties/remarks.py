"""What whoever issues a statement should look at: what can be stated, but may be wrong, or be paid twice."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from mucs.canonical import canonical
from mucs.ledger import Ledger
from mucs.royalties.statement import Statement
from mucs.royalties.usage import Usage


def remarks(ledger: Ledger, statement: Statement, usage: Usage) -> list[str]:
    """A sentence for each, in the order of month, usage, accounts and other statements."""
    return [*_month(statement), *_usage(statement, usage), *_names(statement), *_twice(ledger, statement)]


def _month(statement: Statement) -> list[str]:
    return ["The month is not over: usage of its other days makes another version."] if statement.early else []


def _usage(statement: Statement, usage: Usage) -> list[str]:
    elsewhere = len(usage.rows) - int(statement.content["header"]["usage"]["rows_counted"])
    repeated = len(usage.rows) - len({canonical(row) for row in usage.records()})
    counts = {
        "are of other months, and do not count": usage.outside,
        "are of other territories, and do not count": elsewhere,
        "repeat another one word by word, and count like it": repeated,
    }
    return [f"Rows of the usage report that {what}: {count}." for what, count in counts.items() if count]


def _names(statement: Statement) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for balance in statement.content["balances"]:
        alike[balance["holder"].casefold()].append(balance["holder"])
    return [
        f"Accounts whose names differ in capital letters alone: {', '.join(names)}."
        for names in alike.values()
        if len(names) > 1
    ]


def _twice(ledger: Ledger, statement: Statement) -> list[str]:
    """Disputes that are paid besides a correction of the same month, and other contracts that pay for the same usage."""
    content, header = statement.content, statement.content["header"]
    contract, start = header["contract"]["id"], header["period"]["start"][:10]
    gains = {b["holder"]: Decimal(b["difference"]) for b in content["balances"]} if header["supersedes"] else {}
    adjusted = {adjustment["dispute"] for adjustment in content["adjustments"]}
    found = []
    for row in ledger.rows(
        "SELECT d.dispute, d.rights_holder, d.amount, d.period_start::VARCHAR = $start AS same, sum(b.difference) AS later FROM disputes d"
        " JOIN statements s ON s.sha256 = d.statement LEFT JOIN balances b ON b.contract = d.contract AND b.period_start = d.period_start"
        " AND b.rights_holder = d.rights_holder AND b.position > s.position AND b.statement <> $this"
        " WHERE d.contract = $contract AND d.state = 'upheld' GROUP BY ALL ORDER BY d.dispute",
        {"start": start, "contract": contract, "this": statement.sha256},
    ):
        gain = gains.get(row["rights_holder"], Decimal(0)) if row["same"] else Decimal(0)
        later = row["later"] or Decimal(0)
        if gain > 0 or (row["dispute"] in adjusted and later > 0):
            found.append(
                f"Dispute {row['dispute']} of {row['rights_holder']} was upheld with {row['amount']}, and later versions of its month"
                f" give {max(gain, Decimal(0)) + max(later, Decimal(0))} more: see that this is not for the same."
            )
    for row in ledger.rows(
        "SELECT DISTINCT contract FROM statements WHERE contract <> $contract AND period_start::VARCHAR = $start"
        " AND (content::JSON->'header'->'usage'->>'sha256') = $usage ORDER BY contract",
        {"contract": contract, "start": start, "usage": header["usage"]["sha256"]},
    ):
        found.append(f"The contract {row['contract']} pays for the same usage report: see that this is meant.")
    return found
