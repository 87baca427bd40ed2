"""Issue: a statement, once; it is corrected by versions that supersede it."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mucs import InputError, __version__
from mucs.canonical import canonical
from mucs.evidence.chain import GENESIS
from mucs.evidence.pseudonyms import Pseudonyms
from mucs.ledger import Ledger, Said
from mucs.ledger.questions import Parameter
from mucs.royalties import gather
from mucs.royalties.allocation import Balance, Line, allocate, balances, by_holder, coins, money, pot_coins, share_of
from mucs.royalties.changes import changes
from mucs.royalties.contract import Contract
from mucs.royalties.dispute import upheld
from mucs.royalties.statement import Statement
from mucs.royalties.usage import Period, Usage, say_usage, shortest

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

RUN_PARTS = ("runs", "methods", "checkpoints", "settings", "noise_banks")


def issue(ledger: Ledger, contract: Contract, period: Period, usage: Usage, as_of: str = "infinity") -> Statement:
    """The statement of a period, behind its usage; the one that is there if nothing in it is new.

    Args:
        ledger: Open to write.
        contract: As it was read.
        period: The month.
        usage: The rows of the month.
        as_of: Rests on the runs and rights that the ledger knew then; now by default.

    Raises:
        InputError: With the ledger as it was, if the contract does not cover the period, has another currency or suspense
            account than before, or names works or training sets that the ledger does not have; if no row of the usage
            report counts, if an id in it names several images, or if it adds up to more than can be stated; or if `as_of`
            lies ahead.
    """
    ledger.sync()
    before = ledger.at()  # what comes in while it is computed may be in it, or not
    found = _find_or_compute(ledger, contract, period, usage, as_of)
    if isinstance(found, Statement):
        return found
    said = say_usage(ledger, usage)
    unchanged = {before} | ({(said.position, said.sha256)} if said and said.previous == before[1] else set())
    there: list[Statement] = []

    def decide(now: datetime.datetime) -> Said | None:
        nonlocal found
        if ledger.at() not in unchanged:
            found = _find_or_compute(ledger, contract, period, usage, as_of)
        if isinstance(found, Statement):
            there.append(found)
            return None
        pseudonyms = Pseudonyms(ledger.followed.store)
        with ledger.standing():
            content = found.content(ledger, now)
            changed = found.changes(ledger, content["header"], pseudonyms.of)
        text = canonical(with_pseudonyms(content, changed, pseudonyms))
        # as it will be read, so that files have the same bytes whenever they are written
        there.append(Statement(hashlib.sha256(text).hexdigest(), json.loads(canonical(content)), True, text.decode()))
        body = {name: content["header"][name] for name in ("statement", "version", "supersedes")}
        return Said("statement", body | {"sha256": there[-1].sha256}, [text])

    ledger.say(decide)
    return there[-1]


def with_pseudonyms(content: Mapping[str, Any], changed: list[str], pseudonyms: Pseudonyms) -> dict[str, Any]:
    """A statement's content with the pseudonyms of its rights holders in place of their names: what the log has, and is named by.

    Args:
        content: With names; the suspense account's is nobody's, and stays.
        changed: What changed since the version before, in sentences that have pseudonyms.
        pseudonyms: Of the log.
    """
    contract = content["header"]["contract"]
    splits = contract.get("splits") or {}
    listed = [*content["lines"], *content["balances"], *content["adjustments"]]
    names = {each["holder"] for each in listed} | {holder for split in splits.values() for holder in split}
    of = {name: pseudonyms.of(name) for name in names - {contract["suspense"]}}

    def renamed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"holder": of.get(row["holder"], row["holder"])} for row in rows]

    contract = contract | {"splits": {w: {of[h]: share for h, share in split.items()} for w, split in splits.items()}}
    return {
        "header": content["header"] | {"contract": contract, "changes": changed},
        **{name: renamed(content[name]) for name in ("lines", "balances", "adjustments")},
    }


def preview(ledger: Ledger, contract: Contract, period: Period, usage: Usage, as_of: str = "infinity") -> Statement:
    """What `issue` would issue now, without a SHA-256, as nothing is written; the statement that is there if nothing is new.

    Raises:
        InputError: As `issue` does.
    """
    found = _find_or_compute(ledger, contract, period, usage, as_of)
    if isinstance(found, Statement):
        return found
    return Statement("", found.content(ledger, datetime.datetime.now(datetime.UTC)), True, "")


@dataclass(frozen=True)
class _Computed:
    """What a statement says but for its place in the chain.

    Attributes:
        header: Its part that follows from the inputs.
        last: The statement that it supersedes, its digest and content.
        ids: Of works, by SHA-256.
        carried: Coins by holder.
    """

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

    def changes(self, ledger: Ledger, header: Mapping[str, Any], called: Callable[[str], str]) -> list[str]:
        """What changed since the version before, in sentences, by this statement's header and what rights holders are called."""
        return changes(ledger, self.last[1]["header"], header, self.ids, called) if self.last else []

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
        header["changes"] = self.changes(ledger, header, str)
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
    with ledger.standing():
        carried = _accounts(ledger, contract)
        header, lines, ids = _computed(ledger, contract, period, usage, known)
        versions = ledger.rows(
            "SELECT sha256, content, said FROM statements WHERE contract = ? AND period_start = ? ORDER BY version DESC LIMIT 1",
            [contract.id, period.start],
        )
    last = (versions[0]["sha256"], json.loads(versions[0]["content"])) if versions else None
    found = _Computed(contract, period, known, header, lines, ids, last, carried)
    if last and (_follows(last[1]["header"]), last[1]["lines"]) == (_follows(header), found.shown()):
        return Statement(*last, False, versions[0]["said"])
    return found


def _follows(header: Mapping[str, Any]) -> dict[str, Any]:
    """What of a header follows from the inputs. Verdicts and false payments follow from the runs, and older statements do not have them."""
    usage = {name: value for name, value in header["usage"].items() if name not in ("verdicts", "false_payments")}
    return {name: value for name, value in header.items() if name not in OF_THE_ISSUE} | {"usage": usage}


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
    sets = gather.training_sets(ledger, contract, known)
    works = gather.works_of(ledger, sets, period, known)
    if not usage.counted(contract):
        raise InputError(_nothing_counts(contract, period, usage))
    units, rows, revenue = gather.units_of(ledger, contract, usage, known)
    if max(revenue, sum(units.values(), Decimal(0))) >= MOST_USAGE:
        raise InputError("The usage report adds up to 10^19 units or more, or as much revenue; give smaller units.")
    evidence = gather.evidence_of(ledger, contract, sets, list(units), known)
    splits = gather.splits_of(ledger, contract, sets, known)
    account = gather.accounts_of(ledger, contract, works.values(), splits.values())
    works = {sha256: dataclasses.replace(work, holder=account[work.holder]) for sha256, work in works.items()}
    resolved = dataclasses.replace(
        contract, splits={work: {account[h]: each for h, each in split.items()} for work, split in splits.items()}
    )
    lines = allocate(resolved, works, units, evidence.scores, revenue, evidence.errors)
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
            "with_evidence": sum(1 for item in used if evidence.scores.get(item)),
            "verdicts": gather.verdicts_of(ledger, used),
            "false_payments": _false_payments(ledger, contract, units, evidence),
            "units": shortest(sum(units.values(), Decimal(0))),
            "revenue": shortest(revenue),
        },
        "works": {"known": len(works), "licensed": sum(work.training for work in works.values())},
        **{kind: sorted({run[kind] for run in evidence.runs if run[kind]}) for kind in RUN_PARTS},
        "training_sets": sets,
    }
    return header, lines, {work.sha256: work.id for work in works.values()}


def _false_payments(
    ledger: Ledger, contract: Contract, units: Mapping[str, Decimal], evidence: gather.Evidence
) -> dict[str, Any] | None:
    """What part of the money that scores divide would go to images that were never trained on, had they been among the candidates.

    It changes nothing of what is paid. None where nothing is attributed, or no run kept the scores of held-out images.
    """
    if "output" not in contract.pots:
        return None
    share = share_of(gather.UNSEEN, units, evidence.candidates)
    if share is None:
        return None
    used = [item for item in evidence.candidates if units[item]]
    sizes = gather.set_sizes_of(ledger, used)
    return {"share": f"{share:f}", "generated_items": len(used), "candidates": sizes}


def _nothing_counts(contract: Contract, period: Period, usage: Usage) -> str:
    """Why no row of a usage report does, in a sentence."""
    why = [f"{usage.outside} are of other months than {period}"] if usage.outside else []
    if elsewhere := [row.territory or "none" for row in usage.rows]:
        why.append(
            f"{len(elsewhere)} are of other territories ({', '.join(sorted(set(elsewhere)))}) than the contract's"
            f" ({', '.join(contract.territories)})"
        )
    rows = f"no row that counts: {' and '.join(why)}" if why else "no rows"
    return (
        f"The usage report has {rows}; give that of the month, where an item with 0 units says that there was no use."
    )


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
