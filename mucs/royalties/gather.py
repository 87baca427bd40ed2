"""Gather: what the ledger knows that a statement follows from: works, splits, units, scores, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mucs import InputError
from mucs.evidence.edges import MOST_UNSEEN
from mucs.ledger import Ledger
from mucs.royalties.allocation import Work, spelt
from mucs.royalties.contract import Contract
from mucs.royalties.usage import Period, Usage

UNSEEN, TRAINED = "unseen", "trained on"  # held-out and training images, where they are candidates side by side
VERDICTS = ("above chance", "within chance", "not compared", "not converged")

MEMBERS = (  # versions of items that are in the training sets
    "SELECT DISTINCT t.sha256, t.id FROM members m JOIN artifacts a ON a.artifact_id = m.training_set_id"
    " JOIN training_items t USING (training_id)"
    " WHERE list_contains($sets, a.sha256) AND t.recorded_at <= $known::TIMESTAMPTZ"
)


def training_sets(ledger: Ledger, contract: Contract, known: str) -> list[str]:
    """SHA-256 of those that count.

    Raises:
        InputError: For one that no run used.
    """
    found = {
        str(row["sha256"])
        for row in ledger.rows(
            "SELECT DISTINCT a.sha256 FROM runs r JOIN artifacts a ON a.artifact_id = r.training_set_id"
            " WHERE r.loaded_at <= $known::TIMESTAMPTZ",
            {"known": known},
        )
    }
    for sha256 in contract.training_sets:
        if sha256 not in found:
            raise InputError(
                f"The contract names the training set {sha256[:12]}, which no run in the ledger used;"
                " see `mucs sql \"SELECT sha256 FROM artifacts WHERE kind = 'training_set'\"`."
            )
    return sorted(contract.training_sets or found)


def works_of(ledger: Ledger, sets: list[str], period: Period, known: str) -> dict[str, Work]:
    """The distinct images of the training sets, as they stand on the period's last day."""
    found = ledger.connection.execute(
        f"SELECT sha256, min(m.id), any_value(h.rights_holder), any_value(h.standing), any_value(h.uses)"
        f" FROM ({MEMBERS}) m JOIN rights_on($day, $known) h USING (sha256) GROUP BY sha256 ORDER BY sha256",
        {"sets": sets, "known": known, "day": period.last_day},
    ).fetchall()
    return {
        sha256: Work(
            *(sha256, name, holder),
            *(standing == "granted" and (uses is None or use in uses) for use in ("training", "output")),
        )
        for sha256, name, holder, standing, uses in found
    }


def splits_of(ledger: Ledger, contract: Contract, sets: list[str], known: str) -> dict[str, Mapping[str, Decimal]]:
    """The contract's splits by SHA-256. Raises InputError, with the line, for a work that is not one of the training sets'."""
    if not contract.splits:
        return {}
    named: dict[str, set[str]] = {}
    for sha256, name in ledger.connection.execute(MEMBERS, {"sets": sets, "known": known}).fetchall():
        named.setdefault(sha256, set()).add(sha256)
        named.setdefault(name, set()).add(sha256)
    found: dict[str, Mapping[str, Decimal]] = {}
    for work, split in contract.splits.items():
        images = named.get(work, set())
        if len(images) != 1:
            few = "no work" if not images else f"{len(images)} works"
            raise InputError(
                f"{contract.lines[work]}: the training sets have {few} called {work!r}; name one by the SHA-256 of its image."
            )
        if min(images) in found:
            raise InputError(f"{contract.lines[work]}: {work} is the same work as another of the splits; give it once.")
        found[min(images)] = split
    return found


def units_of(ledger: Ledger, contract: Contract, usage: Usage, known: str) -> tuple[dict[str, Decimal], int, Decimal]:
    """Units by generated item, how many rows they are from, and the revenue. Items go by SHA-256 where the ledger knows them.

    Raises InputError, with the line, for an id of several images, and for revenue that is needed and missing.
    """
    rows = usage.counted(contract)
    named: dict[str, set[str]] = {}
    for name, sha256 in ledger.connection.execute(
        "SELECT name, sha256 FROM (SELECT DISTINCT unnest($names) AS name)"
        " JOIN (SELECT id AS name, sha256 FROM generated_items WHERE recorded_at <= $known::TIMESTAMPTZ"
        " UNION SELECT sha256, sha256 FROM generated_items WHERE recorded_at <= $known::TIMESTAMPTZ) USING (name)",
        {"names": [row.generated for row in rows], "known": known},
    ).fetchall():
        named.setdefault(name, set()).add(sha256)
    of_revenue = any(pot.percentage is not None for pot in contract.pots.values())
    units: dict[str, Decimal] = {}
    for row in rows:
        images = named.get(row.generated, {row.generated})
        if len(images) > 1:
            raise InputError(
                f"Line {row.line} of the usage report: the ledger has {len(images)} generated images called {row.generated!r};"
                " name it by the SHA-256 of its image."
            )
        if of_revenue and row.revenue is None:
            raise InputError(
                f"Line {row.line} of the usage report has no revenue, of which the contract takes a percentage; fill it in."
            )
        units[min(images)] = units.get(min(images), Decimal(0)) + row.units
    return units, len(rows), sum((row.revenue or Decimal(0) for row in rows), Decimal(0))


# What an edge must keep to, of whatever is called so
BOUNDS = """score > 0
    AND ($p_value IS NULL OR p_value <= $p_value)
    AND ($decoy_p_value IS NULL OR decoy_p_value <= $decoy_p_value)
    AND ($decoy_z IS NULL OR decoy_z >= $decoy_z)"""
# and what its generated item must
OF_ITEM = "(c.converged OR NOT $converged) AND ($tie_p_value IS NULL OR c.tie_p_value <= $tie_p_value)"
# Training images as candidates, as far as any may count.
TRAINED_ON = """
CREATE OR REPLACE TEMP TABLE trained_on AS
SELECT run_id, generated_id, t.sha256, rank, score, standard_error AS error, p_value, decoy_p_value, decoy_z
FROM edges JOIN counting USING (run_id, generated_id) JOIN training_items t USING (training_id)
WHERE rank <= $top + $doubles
"""
# The scores that count: exact decimals, so that the order of adding them up does not matter.
EVIDENCE = f"""
SELECT c.generated, e.sha256, max(e.score) AS score, max(e.error) AS error
FROM trained_on e JOIN counting c USING (run_id, generated_id)
WHERE {BOUNDS} AND {OF_ITEM}
GROUP BY c.generated, e.sha256
QUALIFY row_number() OVER (PARTITION BY c.generated ORDER BY max(e.score) DESC, e.sha256) <= $top
ORDER BY c.generated, e.sha256
"""
# The same if held-out images were among the candidates, where runs kept as many of them as the contract counts: `unseen` says which they
# are. Of equal scores a training image comes first.
CANDIDATES = f"""
WITH placed AS (
    SELECT *, row_number() OVER (PARTITION BY run_id, generated_id ORDER BY score DESC, unseen, rank) AS place FROM (
        SELECT false AS unseen, * EXCLUDE (error) FROM trained_on
        UNION ALL
        SELECT true, run_id, generated_id, u.sha256, rank, score, p_value, decoy_p_value, decoy_z
        FROM unseen_edges u JOIN counting USING (run_id, generated_id)
    )
)
SELECT c.generated, p.unseen, p.sha256, max(p.score) AS score
FROM placed p JOIN counting c USING (run_id, generated_id)
WHERE place <= $top + $doubles AND {BOUNDS} AND {OF_ITEM} AND c.held_out > 0 AND (c.held_out <= {MOST_UNSEEN} OR $top <= {MOST_UNSEEN})
GROUP BY c.generated, p.unseen, p.sha256
QUALIFY row_number() OVER (PARTITION BY c.generated ORDER BY max(p.score) DESC, p.unseen, p.sha256) <= $top
"""
DOUBLES = """
SELECT coalesce(max(copies), 0) FROM (
    SELECT count(*) - count(DISTINCT t.sha256) AS copies
    FROM members m JOIN training_items t USING (training_id) JOIN runs r USING (training_set_id)
    WHERE r.run_id IN (SELECT run_id FROM counting) GROUP BY r.run_id
)
"""


@dataclass(frozen=True)
class Evidence:
    """What the ledger holds as evidence for generated items.

    Attributes:
        runs: Those that speak for these items.
        scores: Of each work that counts, for each item. An image counts once for an item, with its best edge; copies of it take no
            other's place among the best.
        errors: The scores' standard errors.
        candidates: What would count if held-out images were among the candidates: the score of each image, by UNSEEN or TRAINED and its
            SHA-256, for each item whose run kept the scores of its held-out images.
    """

    runs: list[dict[str, Any]]
    scores: dict[str, dict[str, Decimal]]
    errors: dict[str, dict[str, Decimal | None]]
    candidates: dict[str, dict[tuple[str, str], Decimal]]


def evidence_of(ledger: Ledger, contract: Contract, sets: list[str], items: Iterable[str], known: str) -> Evidence:
    """The evidence for generated items.

    Args:
        ledger: Open.
        contract: Which says what counts.
        sets: SHA-256 of the training sets that count.
        items: SHA-256 of the generated items.
        known: The time whose knowledge the answer rests on.
    """
    ledger.connection.execute(
        """CREATE OR REPLACE TEMP TABLE counting AS
        SELECT g.sha256 AS generated, s.run_id, s.generated_id, a.converged, a.tie_p_value, a.candidates, a.held_out, v.verdict
        FROM speaking_as_of($known) s
        JOIN attributions a USING (run_id, generated_id)
        JOIN verdicts v USING (run_id, generated_id)
        JOIN generated_items g USING (generated_id)
        JOIN runs r USING (run_id)
        JOIN artifacts t ON t.artifact_id = r.training_set_id
        WHERE list_contains($sets, t.sha256) AND g.sha256 IN (SELECT unnest($items))
        QUALIFY row_number() OVER (PARTITION BY g.sha256 ORDER BY s.run_id DESC, s.generated_id DESC) = 1""",
        {"known": known, "sets": sets, "items": list(items)},
    )
    runs = ledger.rows(
        "SELECT r.sha256 AS runs, r.method AS methods, c.sha256 AS checkpoints, r.settings_sha256 AS settings,"
        " r.record->>'noise_bank' AS noise_banks FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id"
        " WHERE r.run_id IN (SELECT run_id FROM counting)"
    )
    rule = {**vars(contract.evidence), "doubles": ledger.one(DOUBLES)}
    ledger.connection.execute(TRAINED_ON, {name: rule[name] for name in ("top", "doubles")})
    found = Evidence(runs, {}, {}, {})
    for generated, work, score, error in ledger.connection.execute(
        EVIDENCE, {name: rule[name] for name in rule if name != "doubles"}
    ).fetchall():
        found.scores.setdefault(generated, {})[work] = score
        found.errors.setdefault(generated, {})[work] = error
    for generated, unseen, image, score in ledger.connection.execute(CANDIDATES, rule).fetchall():
        found.candidates.setdefault(generated, {})[UNSEEN if unseen else TRAINED, image] = score
    return found


def set_sizes_of(ledger: Ledger, items: list[str]) -> list[dict[str, int]]:
    """How many held-out and training images were the candidates for generated items that `evidence_of` was asked of: each pair of numbers once."""
    return ledger.rows(
        "SELECT DISTINCT held_out, candidates AS training FROM counting WHERE list_contains($items, generated) ORDER BY ALL",
        {"items": items},
    )


def verdicts_of(ledger: Ledger, used: list[str]) -> dict[str, int]:
    """How many of the used items have which verdict; `not attributed` is that of those for which no run speaks."""
    found = dict.fromkeys((*VERDICTS, "not attributed"), 0)
    for row in ledger.rows(
        "SELECT verdict, count(*) AS items FROM counting WHERE list_contains($used, generated) GROUP BY verdict",
        {"used": used},
    ):
        found[row["verdict"]] = row["items"]
    return found | {"not attributed": len(used) - sum(found.values())}


def accounts_of(
    ledger: Ledger, contract: Contract, works: Iterable[Work], splits: Iterable[Mapping[str, Decimal]]
) -> dict[str, str]:
    """The account of each holder of a work or of a part of one."""
    there = ledger.rows(
        "SELECT DISTINCT rights_holder FROM lines JOIN statements USING (position) WHERE contract = $id",
        {"id": contract.id},
    )
    holders = {work.holder for work in works} | {holder for split in splits for holder in split}
    return spelt(holders, {row["rights_holder"] for row in there})
