"""Disputes of statements: open, under review, then upheld with an amount, or rejected. Every step is an entry of the log."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from typing import Any

from mucs import InputError
from mucs.evidence.pseudonyms import Pseudonyms
from mucs.ledger import Ledger, Said
from mucs.royalties.allocation import spelt
from mucs.royalties.contract import is_unknown
from mucs.royalties.statement import Statement, find
from mucs.written import nearest, read_reason

STEPS = {"open": ("under review",), "under review": ("upheld", "rejected"), "upheld": (), "rejected": ()}
AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?")


def open_dispute(ledger: Ledger, statement: str, rights_holder: str, reason: str) -> tuple[int, bool]:
    """Open a dispute of a statement (as `find` takes it); gives its number, and False if it was open already.

    Raises:
        InputError: If there is no such statement, or the ledger knows nobody of that name.
    """
    why = read_reason(reason)
    known: list[int] = []

    def decide(_: datetime.datetime) -> Said | None:
        found = find(ledger, statement)
        holder = _holder(ledger, found, rights_holder)
        again = ledger.one(
            "SELECT d.dispute FROM disputes d JOIN dispute_steps o ON o.position = d.dispute"
            " WHERE d.statement = ? AND d.rights_holder = ? AND o.reason = ? AND d.state IN ('open', 'under review')",
            *(found.sha256, holder, why),
        )
        if again is not None:
            known.append(int(again))
            return None
        return _step(ledger, None, found.sha256, holder, "open", why)

    entry = ledger.say(decide)
    return (known[-1], False) if entry is None else (entry.position, True)


def _holder(ledger: Ledger, statement: Statement, name: str) -> str:
    """A rights holder as the ledger or the statement spells it."""
    accounts = {balance["holder"] for balance in statement.content["balances"]}
    holders = ledger.rows("SELECT DISTINCT rights_holder FROM rights_on(current_date, 'infinity')")
    known = accounts | set(spelt({row["rights_holder"] for row in holders}, accounts).values())
    known.discard(statement.content["header"]["contract"]["suspense"])
    found = spelt([name], known)[name]
    if found not in known or is_unknown(found):
        raise InputError(
            f"The ledger has no rights holder {found!r}{nearest(found, known)}; see them with"
            " `mucs sql \"SELECT DISTINCT rights_holder FROM rights_on(current_date, 'infinity')\"`."
        )
    return found


def move_dispute(ledger: Ledger, dispute: int, state: str, reason: str, amount: str | None = None) -> None:
    """Take a dispute a step further.

    Args:
        ledger: Open to write.
        dispute: Its number.
        state: Where it is taken to.
        reason: Why, in a few words.
        amount: More than 0, in the contract's currency; given when it is upheld, and only then.

    Raises:
        InputError: If there is no such dispute, or the step does not follow from where it stands.
    """
    why = read_reason(reason)

    def decide(_: datetime.datetime) -> Said | None:
        rows = ledger.rows("SELECT * FROM disputes WHERE dispute = ?", [dispute])
        if not rows:
            raise InputError(f"There is no dispute {dispute}; see them with `mucs dispute list`.")
        (at,) = rows
        if state not in STEPS[at["state"]]:
            after = " or ".join(STEPS[at["state"]])
            remedy = f"it can become {after} next" if after else "open another one if there is a new reason"
            raise InputError(f"Dispute {dispute} is {at['state']}, so it cannot become {state}; {remedy}.")
        if (amount is not None) != (state == "upheld"):
            raise InputError(
                "A dispute that is upheld names an amount, and no other step does; give --amount, or leave it out."
            )
        owed = None if amount is None else _amount(ledger, at["statement"], amount)
        return _step(ledger, dispute, at["statement"], at["rights_holder"], state, why, owed)

    ledger.say(decide)


def _amount(ledger: Ledger, statement: str, amount: str) -> Decimal:
    """What is owed besides, from its text."""
    content = json.loads(ledger.one("SELECT content FROM statements WHERE sha256 = ?", statement))
    decimals = content["header"]["decimals"]
    owed = Decimal(amount) if AMOUNT.fullmatch(amount) else Decimal(0)
    if owed <= 0 or len(amount.partition(".")[2]) > decimals:
        raise InputError(f"The amount cannot be {amount!r}; give more than 0, with at most {decimals} decimals.")
    return owed


def _step(
    ledger: Ledger,
    dispute: int | None,
    statement: str,
    rights_holder: str,
    state: str,
    reason: str,
    amount: Decimal | None = None,
) -> Said:
    body = {
        "dispute": dispute,
        "statement": statement,
        "rights_holder": Pseudonyms(ledger.followed.store).of(rights_holder),
        "state": state,
        "reason": reason,
    }
    return Said("dispute", body | {"amount": None if amount is None else f"{amount:.4f}"})


def upheld(ledger: Ledger, contract: str, decimals: int) -> list[dict[str, Any]]:
    """The adjustments that the contract's next statement makes: of disputes that were upheld, each once."""
    return [
        {
            "dispute": row["dispute"],
            "statement": row["statement"],
            "holder": row["rights_holder"],
            "amount": f"{row['amount']:.{decimals}f}",
            "reason": row["reason"],
        }
        for row in ledger.rows(
            "SELECT * FROM disputes WHERE contract = ? AND state = 'upheld' AND adjusted_by IS NULL ORDER BY dispute",
            [contract],
        )
    ]
