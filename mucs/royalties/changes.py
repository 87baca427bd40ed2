"""What changed between two versions of a statement, in words that follow from the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mucs.ledger import Ledger

NAMED = 10  # works by name in a sentence
DIGITS = 16  # of a SHA-256


def changes(
    ledger: Ledger,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    ids: Mapping[str, str],
    called: Callable[[str], str],
) -> list[str]:
    """A sentence for each thing that may have moved the money, from the header of a version to that of the next.

    Args:
        ledger: The one that both are in.
        before: The header of the earlier version.
        after: The header of the later one.
        ids: Of the works, by SHA-256.
        called: How a rights holder is called in them, by name. Rights are compared as they were known at the two headers' `as_of`.
    """
    found = [*_terms(before, after), *_usage(before, after), *_runs(ledger, before, after)]
    found += _rights(ledger, before, after, ids, called)
    if _time(after["as_of"]) < _time(before["as_of"]):
        found.insert(
            0, f"This version rests on what was known at {after['as_of']}, which is earlier than {before['as_of']}."
        )
    return found or [
        f"Contract, usage report, runs and rights are the same; what is computed from them is not ({before['issued_by']},"
        f" now {after['issued_by']})."
    ]


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _terms(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = before["contract"], after["contract"]
    names = [name for name in sorted(new) if name not in ("sha256", "version") and old.get(name) != new[name]]
    if old["sha256"] != new["sha256"]:
        versions = f"version {new['version']}, before {old['version']}"
        yield f"The contract is another ({versions}). What changed in it: {', '.join(names) or 'its version alone'}."


def _usage(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if before["usage"]["sha256"] != after["usage"]["sha256"]:
        now, then = (
            f"{usage['units']} units of {usage['generated_items']} items, revenue {usage['revenue']}"
            for usage in (after["usage"], before["usage"])
        )
        yield f"The usage report is another: {now}; before {then}."


def _runs(ledger: Ledger, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for verb, one, other in (("counts now", after, before), ("counts no longer", before, after)):
        for sha256 in sorted(set(one["training_sets"]) - set(other["training_sets"])):
            yield f"The training set {sha256[:DIGITS]} {verb}."
    new, gone = set(after["runs"]) - set(before["runs"]), set(before["runs"]) - set(after["runs"])
    for run in _of(ledger, new, "SELECT sha256, loaded_at FROM runs"):
        yield f"Run {run['sha256'][:DIGITS]}, loaded at {_said(run['loaded_at'])}, speaks for used items now."
    withdrawn = "SELECT r.sha256, w.reason, w.recorded_at FROM withdrawals w JOIN runs r USING (run_id)"
    told = set()
    for row in _of(ledger, gone, withdrawn):
        if row["recorded_at"] <= _time(after["as_of"]):
            told.add(row["sha256"])
            yield f"Run {row['sha256'][:DIGITS]} was withdrawn at {_said(row['recorded_at'])}: {row['reason']}."
    for sha256 in sorted(gone - told):
        yield f"Run {sha256[:DIGITS]} speaks for no used item any more."


def _of(ledger: Ledger, runs: set[str], query: str) -> list[dict[str, Any]]:
    return ledger.rows(f"{query} WHERE list_contains($runs, sha256) ORDER BY sha256", {"runs": list(runs)})


RIGHTS = """
SELECT
    n.position, any_value(r.recorded_at) AS recorded_at, n.valid_from, n.valid_to,
    n.rights_holder AS holder, n.standing, n.uses, o.rights_holder AS old_holder, o.standing AS old_standing, o.uses AS old_uses,
    list(DISTINCT n.sha256) AS works
FROM rights_on($day, $now) n JOIN rights_on($day, $then) o USING (sha256) LEFT JOIN rights r ON r.position = n.position AND r.sha256 = n.sha256
WHERE (n.rights_holder, n.standing, n.uses) IS DISTINCT FROM (o.rights_holder, o.standing, o.uses)
GROUP BY ALL
ORDER BY ALL
"""


def _rights(
    ledger: Ledger,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    ids: Mapping[str, str],
    called: Callable[[str], str],
) -> Iterator[str]:
    """How works stand otherwise on the period's last day."""
    day = datetime.date.fromisoformat(after["period"]["end"][:10]) - datetime.timedelta(days=1)
    given = {"day": day, "now": after["as_of"], "then": before["as_of"]}
    for row in ledger.rows(RIGHTS, given):
        works = sorted(ids[sha256] for sha256 in row["works"] if sha256 in ids)
        if not works:
            continue
        more = f" and {len(works) - NAMED} more" if len(works) > NAMED else ""
        entry = f"entry {row['position']} of {_said(row['recorded_at'])}" if row["position"] else "by the manifest"
        until = f" to {row['valid_to']}" if row["valid_to"] else ""
        now = _stands(called(row["holder"]), row["standing"], row["uses"])
        then = _stands(called(row["old_holder"]), row["old_standing"], row["old_uses"])
        yield (
            f"Rights of {len(works)} {'work' if len(works) == 1 else 'works'} ({', '.join(works[:NAMED])}{more}): {now} from {row['valid_from']}{until}, {entry};"
            f" before {then}."
        )


def _stands(holder: str, standing: str, uses: list[str] | None) -> str:
    """In words, such as `granted for training (Ada)`."""
    limits = f" for {' and '.join(uses)}" if uses and standing == "granted" else ""
    return f"{standing}{limits} ({holder})"


def _said(at: datetime.datetime) -> str:
    return f"{at.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"
