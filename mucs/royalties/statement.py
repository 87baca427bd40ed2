"""The statement: what each holder is owed for a period and why, issued once, and corrected by versions that supersede."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mucs import InputError, __version__
from mucs.canonical import canonical
from mucs.ledger import Ledger
from mucs.ledger.chain import GENESIS
from mucs.ledger.questions import Parameter
from mucs.royalties.allocation import Balance, Line, Work, allocate, balances, by_holder, coins, money, pot_coins, spelt
from mucs.royalties.changes import changes
from mucs.royalties.contract import Contract
from mucs.royalties.dispute import upheld
from mucs.royalties.usage import Period, Usage, record_usage, shortest

OF_THE_ISSUE = (
    "statement",
    "version",
    "supersedes",
    "issued_at",
    "issued_by",
    "as_of",
    "ledger",
    "changes",
)  # and not of what was computed
AS_OF = Parameter("as_of", "time", None, "")
MOST_OF_A_POT = Decimal(10**14)  # is below this, and usage below the other, as the ledger's tables have so many digits
MOST_USAGE = Decimal(10**19)
VERDICTS = ("above chance", "within chance", "not compared", "not converged")


@dataclass(frozen=True)
class Statement:
    """sha256: the digest of the content, and the statement's name. new: whether it was issued just now (or would be)."""

    sha256: str
    content: dict[str, Any]
    new: bool

    @property
    def title(self) -> str:
        """Contract, period and version, such as art-2026/2026-10/1."""
        return str(self.content["header"]["statement"])

    @property
    def changes(self) -> list[str]:
        """What changed since the version that it supersedes, in sentences; older programs did not say."""
        return list(self.content["header"].get("changes", []))

    @property
    def early(self) -> bool:
        """Whether its month was not over when it was issued."""
        header = self.content["header"]
        return str(header["issued_at"])[:10] < str(header["period"]["end"])[:10]


def issue(ledger: Ledger, contract: Contract, period: Period, usage: Usage, as_of: str = "infinity") -> Statement:
    """The statement of a period, with its usage, in one transaction; the one that is there if nothing in it is new.

    ledger: open to write. as_of: rests on the runs and rights that the ledger knew then; now by default. Raises
    InputError, with the ledger as it was, if the contract does not cover the period, has another currency or suspense
    account than before, or names works or training sets that the ledger does not have; if no row of the usage report
    counts, if an id in it names several images, or if it adds up to more than can be stated; or if as_of lies ahead.
    """
    found = _find_or_compute(ledger, contract, period, usage, as_of)
    if isinstance(found, Statement):
        return found
    with ledger.transaction() as now:
        record_usage(ledger, usage, now)
        content = found.content(ledger, now)
        text = canonical(content)
        sha256 = hashlib.sha256(text).hexdigest()
        header = content["header"]
        body = {name: header[name] for name in ("statement", "version", "supersedes")}
        entry = ledger.append("statement", body | {"sha256": sha256})
        ledger.connection.execute(
            "INSERT INTO file.statements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(
                    entry.position,
                    sha256,
                    contract.id,
                    period.start,
                    period.end,
                    header["version"],
                    header["supersedes"],
                ),
                *(contract.currency, text.decode(), now),
            ],
        )
        for table, columns in (("lines", "* EXCLUDE (works, deductions)"), ("works", "*")):
            ledger.connection.execute(
                f"INSERT INTO file.{table} SELECT {columns} FROM said_{table} WHERE position = ?", [entry.position]
            )
    # in the order in which it will be read, so that files have the same bytes whenever they are written
    return Statement(sha256, json.loads(text), True)


def preview(ledger: Ledger, contract: Contract, period: Period, usage: Usage, as_of: str = "infinity") -> Statement:
    """What `issue` would issue now, without a SHA-256, as nothing is written; the statement that is there if nothing is new.

    Raises InputError as `issue` does.
    """
    found = _find_or_compute(ledger, contract, period, usage, as_of)
    if isinstance(found, Statement):
        return found
    return Statement("", found.content(ledger, datetime.datetime.now(datetime.UTC)), True)


@dataclass(frozen=True)
class _Computed:
    """What a statement says but for its place in the chain. header: its part that follows from the inputs. last: the
    statement that it supersedes, its digest and content. ids: of works, by SHA-256. carried: coins by holder."""

    contract: Contract
    period: Period
    known: str
    header: dict[str, Any]
    lines: list[Line]
    ids: Mapping[str, str]
    last: tuple[str, dict[str, Any]] | None
    carried: Mapping[str, int]

    def shown(self) -> list[dict[str, Any]]:
        """The lines as JSON."""
        return [_line_record(line, self.contract.decimals, self.ids) for line in self.lines]

    def content(self, ledger: Ledger, now: datetime.datetime) -> dict[str, Any]:
        """All of it, if it is issued now on top of the ledger's last entry."""
        contract, decimals = self.contract, self.contract.decimals
        sha256, before = self.last or (None, None)
        last = ledger.rows("SELECT position, sha256 FROM entries ORDER BY position DESC LIMIT 1")
        position, head = (last[0]["position"], last[0]["sha256"]) if last else (0, GENESIS)
        version = before["header"]["version"] + 1 if before else 1
        as_of = now.isoformat(timespec="microseconds") if self.known == "infinity" else self.known
        header = self.header | {
            "statement": f"{contract.id}/{self.period}/{version}",
            "version": version,
            "supersedes": sha256,
            "issued_at": now.isoformat(timespec="microseconds"),
            "issued_by": f"mucs {__version__}",
            "as_of": as_of,
            "ledger": {"position": position, "head": head},
        }
        header["changes"] = changes(ledger, before["header"], header, self.ids) if before else []
        adjustments = upheld(ledger, contract.id, decimals)
        accounts = balances(
            *(contract, by_holder(self.lines), _net(before, decimals) if before else {}, self.carried),
            ((a["holder"], coins(Decimal(a["amount"]), decimals)) for a in adjustments),
        )
        return {
            "header": header,
            "lines": self.shown(),
            "balances": [_balance_record(balance, decimals) for balance in accounts],
            "adjustments": adjustments,
        }


def _find_or_compute(
    ledger: Ledger, contract: Contract, period: Period, usage: Usage, as_of: str
) -> Statement | _Computed:
    """The period's last statement if the same follows from these inputs, else what follows from them."""
    if not contract.valid_from <= period.start < period.end <= contract.valid_to:
        raise InputError(
            f"The contract {contract.id} holds from {contract.valid_from} until {contract.valid_to}, which is not all of {period};"
            " give a contract that covers the period."
        )
    known = AS_OF.value(as_of)
    if known != "infinity" and datetime.datetime.fromisoformat(known) > datetime.datetime.now(datetime.UTC):
        raise InputError(
            f"as_of cannot be {as_of!r}, which lies ahead; give a time that is past, or leave it out for now."
        )
    carried = _accounts(ledger, contract)
    header, lines, ids = _computed(ledger, contract, period, usage, known)
    versions = ledger.rows(
        "SELECT sha256, content FROM statements WHERE contract = ? AND period_start = ? ORDER BY version DESC LIMIT 1",
        [contract.id, period.start],
    )
    last = (versions[0]["sha256"], json.loads(versions[0]["content"])) if versions else None
    found = _Computed(contract, period, known, header, lines, ids, last, carried)
    if last and (_follows(last[1]["header"]), last[1]["lines"]) == (_follows(header), found.shown()):
        return Statement(*last, False)
    return found


def _follows(header: Mapping[str, Any]) -> dict[str, Any]:
    """What of a header follows from the inputs. Verdicts follow from the runs, and older statements do not have them."""
    usage = {name: value for name, value in header["usage"].items() if name != "verdicts"}
    return {name: value for name, value in header.items() if name not in OF_THE_ISSUE} | {"usage": usage}


def find(ledger: Ledger, name: str) -> Statement:
    """A statement by the start of its SHA-256, or by contract, period and version, such as art-2026/2026-10/1.

    Raises InputError if there is not exactly one.
    """
    found = ledger.rows(
        "SELECT sha256, content FROM statements WHERE (length($name) >= 8 AND starts_with(sha256, $name))"
        " OR contract || '/' || strftime(period_start, '%Y-%m') || '/' || version = $name",
        {"name": name},
    )
    if len(found) != 1:
        raise InputError(
            f"The ledger has {len(found)} statements called {name!r};"
            ' see them with `mucs sql "SELECT sha256, contract, period_start, version FROM statements"`.'
        )
    return Statement(found[0]["sha256"], json.loads(found[0]["content"]), False)


def _accounts(ledger: Ledger, contract: Contract) -> dict[str, int]:
    """What the contract's last statement carried out, by holder, in coins.

    Raises InputError if that was in another currency, or if its suspense account has another name: it would be paid out.
    """
    found = ledger.one("SELECT content FROM statements WHERE contract = ? ORDER BY position DESC LIMIT 1", contract.id)
    if found is None:
        return {}
    last = json.loads(found)
    currency = (last["header"]["currency"], last["header"]["decimals"])
    if currency != (contract.currency, contract.decimals):
        raise InputError(
            f"The statements of {contract.id} are in {currency[0]} with {currency[1]} decimals; give the contract for another"
            " currency an id of its own."
        )
    suspense = last["header"]["contract"]["suspense"]
    if suspense != contract.suspense:
        raise InputError(
            f"The statements of {contract.id} hold back in {suspense!r}, not in {contract.suspense!r}; keep the suspense"
            " account's name, or give the contract an id of its own."
        )
    return {b["holder"]: coins(Decimal(b["carried_out"]), contract.decimals) for b in last["balances"]}


def _net(content: Mapping[str, Any], decimals: int) -> dict[str, int]:
    """Net of a statement by holder, in coins."""
    return {b["holder"]: coins(Decimal(b["net"]), decimals) for b in content["balances"]}


def _computed(
    ledger: Ledger, contract: Contract, period: Period, usage: Usage, known: str
) -> tuple[dict[str, Any], list[Line], dict[str, str]]:
    """What follows from contract, usage and evidence: header, lines, and the id of each work by SHA-256."""
    sets = _training_sets(ledger, contract, known)
    works = _works(ledger, sets, period, known)
    if not usage.counted(contract):
        raise InputError(_nothing_counts(contract, period, usage))
    units, rows, revenue = _units(ledger, contract, usage, known)
    if max(revenue, sum(units.values(), Decimal(0))) >= MOST_USAGE:
        raise InputError("The usage report adds up to 10^19 units or more, or as much revenue; give smaller units.")
    runs, evidence, errors = _evidence(ledger, contract, sets, list(units), known)
    splits = _splits(ledger, contract, sets, known)
    account = _accounts_of(ledger, contract, works.values(), splits.values())
    works = {sha256: dataclasses.replace(work, holder=account[work.holder]) for sha256, work in works.items()}
    resolved = dataclasses.replace(
        contract, splits={work: {account[h]: each for h, each in split.items()} for work, split in splits.items()}
    )
    lines = allocate(resolved, works, units, evidence, revenue, errors)
    used = [item for item, count in units.items() if count]
    pots = {
        name: money(pot_coins(pot, revenue, contract.decimals), contract.decimals)
        for name, pot in contract.pots.items()
    }
    for name, pot in pots.items():
        if pot >= MOST_OF_A_POT:
            raise InputError(
                f"The pot for {name} comes to {pot:f}, and a statement can say less than {MOST_OF_A_POT:f}; look at the usage"
                " report's revenue, or give the contract a larger currency unit."
            )
    header = {
        "contract": {**contract.record(), "sha256": contract.sha256},
        "period": {"start": f"{period.start}T00:00:00Z", "end": f"{period.end}T00:00:00Z"},
        "currency": contract.currency,
        "decimals": contract.decimals,
        "pots": {name: f"{pot:f}" for name, pot in pots.items()},
        "usage": {
            "sha256": usage.sha256,
            "rows": len(usage.rows),
            "rows_counted": rows,
            "generated_items": len(used),
            "with_evidence": sum(1 for item in used if evidence.get(item)),
            "verdicts": _verdicts(ledger, used),
            "units": shortest(sum(units.values(), Decimal(0))),
            "revenue": shortest(revenue),
        },
        "works": {"known": len(works), "licensed": sum(work.training for work in works.values())},
        **{kind: sorted({run[kind] for run in runs if run[kind]}) for kind in RUN_PARTS},
        "training_sets": sets,
    }
    return header, lines, {work.sha256: work.id for work in works.values()}


def _nothing_counts(contract: Contract, period: Period, usage: Usage) -> str:
    """Why no row of a usage report does, in a sentence."""
    why = [f"{usage.outside} are of other months than {period}"] if usage.outside else []
    if elsewhere := [row.territory or "none" for row in usage.rows]:
        why.append(
            f"{len(elsewhere)} are of other territories ({', '.join(sorted(set(elsewhere)))}) than the contract's"
            f" ({', '.join(contract.territories)})"
        )
    said = f"no row that counts: {' and '.join(why)}" if why else "no rows"
    return (
        f"The usage report has {said}; give that of the month, where an item with 0 units says that there was no use."
    )


def _verdicts(ledger: Ledger, used: list[str]) -> dict[str, int]:
    """How many of the used items have which verdict; `not attributed` is that of those for which no run speaks."""
    found = dict.fromkeys((*VERDICTS, "not attributed"), 0)
    for row in ledger.rows(
        "SELECT verdict, count(*) AS items FROM counting JOIN verdicts USING (run_id, generated_id)"
        " WHERE list_contains($used, generated) GROUP BY verdict",
        {"used": used},
    ):
        found[row["verdict"]] = row["items"]
    return found | {"not attributed": len(used) - sum(found.values())}


def _accounts_of(
    ledger: Ledger, contract: Contract, works: Iterable[Work], splits: Iterable[Mapping[str, Decimal]]
) -> dict[str, str]:
    """The account of each holder of a work or of a part of one."""
    there = ledger.rows(
        "SELECT DISTINCT rights_holder FROM lines JOIN statements USING (position) WHERE contract = $id",
        {"id": contract.id},
    )
    holders = {work.holder for work in works} | {holder for split in splits for holder in split}
    return spelt(holders, {row["rights_holder"] for row in there})


RUN_PARTS = ("runs", "methods", "checkpoints", "settings", "noise_banks")


def _training_sets(ledger: Ledger, contract: Contract, known: str) -> list[str]:
    """SHA-256 of those that count. Raises InputError for one that no run used."""
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


MEMBERS = (  # versions of items that are in the training sets
    "SELECT DISTINCT t.sha256, t.id FROM members m JOIN artifacts a ON a.artifact_id = m.training_set_id"
    " JOIN training_items t USING (training_id)"
    " WHERE list_contains($sets, a.sha256) AND t.recorded_at <= $known::TIMESTAMPTZ"
)


def _works(ledger: Ledger, sets: list[str], period: Period, known: str) -> dict[str, Work]:
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


def _splits(ledger: Ledger, contract: Contract, sets: list[str], known: str) -> dict[str, Mapping[str, Decimal]]:
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


def _units(ledger: Ledger, contract: Contract, usage: Usage, known: str) -> tuple[dict[str, Decimal], int, Decimal]:
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


# The scores that count: exact decimals, so that the order of adding them up does not matter.
EVIDENCE = """
WITH edge AS (
    SELECT run_id, generated_id, training_id, score, standard_error AS error
    FROM edges
    WHERE rank <= $top + $doubles AND score > 0
        AND ($p_value IS NULL OR p_value <= $p_value)
        AND ($decoy_p_value IS NULL OR decoy_p_value <= $decoy_p_value)
        AND ($decoy_z IS NULL OR decoy_z >= $decoy_z)
)
SELECT c.generated, t.sha256, max(e.score) AS score, max(e.error) AS error
FROM edge e JOIN counting c USING (run_id, generated_id) JOIN training_items t USING (training_id)
WHERE c.converged OR NOT $converged
GROUP BY c.generated, t.sha256
QUALIFY row_number() OVER (PARTITION BY c.generated ORDER BY max(e.score) DESC, t.sha256) <= $top
ORDER BY c.generated, t.sha256
"""


def _evidence(
    ledger: Ledger, contract: Contract, sets: list[str], items: Iterable[str], known: str
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Decimal]], dict[str, dict[str, Decimal | None]]]:
    """The runs that speak for these generated items (by SHA-256); the score of each work that counts for each of them; and
    the scores' standard errors.

    An image counts once for a generated item, with its best edge; copies of it take no other's place among the best.
    """
    ledger.connection.execute(
        """CREATE OR REPLACE TEMP TABLE counting AS
        SELECT g.sha256 AS generated, s.run_id, s.generated_id, a.converged
        FROM speaking_as_of($known) s
        JOIN attributions a USING (run_id, generated_id)
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
    doubles = ledger.one(
        "SELECT coalesce(max(copies), 0) FROM (SELECT count(*) - count(DISTINCT t.sha256) AS copies FROM members m"
        " JOIN training_items t USING (training_id) JOIN runs r USING (training_set_id)"
        " WHERE r.run_id IN (SELECT run_id FROM counting) GROUP BY r.run_id)"
    )
    found = ledger.connection.execute(EVIDENCE, {**vars(contract.evidence), "doubles": doubles}).fetchall()
    evidence: dict[str, dict[str, Decimal]] = {}
    errors: dict[str, dict[str, Decimal | None]] = {}
    for generated, work, score, error in found:
        evidence.setdefault(generated, {})[work] = score
        errors.setdefault(generated, {})[work] = error
    return runs, evidence, errors


def _line_record(line: Line, decimals: int, ids: Mapping[str, str]) -> dict[str, Any]:
    """A line as JSON, numbers as text."""
    return {
        "right_type": line.right_type,
        "holder": line.holder,
        "basis": line.basis,
        "items": line.items,
        "units": shortest(line.units),
        "score_mass": shortest(line.score_mass),
        "score_error": None if line.score_error is None else shortest(line.score_error),
        "share": f"{line.share:f}",
        "gross": f"{money(line.gross, decimals):f}",
        "deductions": {name: f"{money(amount, decimals):f}" for name, amount in line.deductions.items()},
        "deducted": f"{money(line.gross - line.net, decimals):f}",
        "net": f"{money(line.net, decimals):f}",
        "works": [{"sha256": work, "id": ids[work], "share": f"{share:f}"} for work, share in line.works.items()],
    }


def _balance_record(balance: Balance, decimals: int) -> dict[str, str]:
    """A balance as JSON, amounts as text."""
    names = ("carried_in", "net", "difference", "adjustments", "paid", "carried_out")
    return {"holder": balance.holder} | {name: f"{money(getattr(balance, name), decimals):f}" for name in names}
