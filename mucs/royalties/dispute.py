"""Disputes of statements: open, under review, then upheld with an amount, or rejected. Every step is an entry of the chain."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from typing import Any

from mucs import InputError
from mucs.ledger import Ledger
from mucs.royalties.allocation import spelt
from mucs.royalties.contract import is_unknown
from mucs.royalties.statement import find
from mucs.written import nearest, read_reason

STEPS = {"open": ("under review",), "under review": ("upheld", "rejected"), "upheld": (), "rejected": ()}
AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?")


def open_dispute(ledger: Ledger, statement: str, rights_holder: str, reason: str) -> tuple[int, bool]:
    """Open a dispute of a statement (as `find` takes it); gives its number, and False if it was open already.

    Raises:
        InputError: If there is no such statement, or the ledger knows nobody of that name.
    """
    found = find(ledger, statement)
    reason, header = read_reason(reason), found.content["header"]
    accounts = {balance["holder"] for balance in found.content["balances"]}
    holders = ledger.rows("SELECT DISTINCT rights_holder FROM rights_on(current_date, 'infinity')")
    known = accounts | set(spelt({row["rights_holder"] for row in holders}, accounts).values())
    known.discard(header["contract"]["suspense"])
    rights_holder = spelt([rights_holder], known)[rights_holder]
    if rights_holder not in known or is_unknown(rights_holder):
        raise InputError(
            f"The ledger has no rights holder {rights_holder!r}{nearest(rights_holder, known)}; see them with"
            " `mucs sql \"SELECT DISTINCT rights_holder FROM rights_on(current_date, 'infinity')\"`."
        )
    again = ledger.one(
        "SELECT d.dispute FROM disputes d JOIN dispute_steps o ON o.position = d.dispute"
        " WHERE d.statement = ? AND d.rights_holder = ? AND o.reason = ? AND d.state IN ('open', 'under review')",
        *(found.sha256, rights_holder, reason),
    )
    if again is not None:
        return int(again), False
    with ledger.transaction() as now:
        return _step(ledger, now, None, found.sha256, rights_holder, "open", reason), True


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
    decimals = json.loads(ledger.one("SELECT content FROM statements WHERE sha256 = ?", at["statement"]))["header"][
        "decimals"
    ]
    owed = None
    if amount is not None:
        owed = Decimal(amount) if AMOUNT.fullmatch(amount) else Decimal(0)
        if owed <= 0 or len(amount.partition(".")[2]) > decimals:
            raise InputError(f"The amount cannot be {amount!r}; give more than 0, with at most {decimals} decimals.")
    with ledger.transaction() as now:
        _step(ledger, now, dispute, at["statement"], at["rights_holder"], state, read_reason(reason), owed)


def _step(
    ledger: Ledger,
    now: datetime.datetime,
    dispute: int | None,
    statement: str,
    rights_holder: str,
    state: str,
    reason: str,
    amount: Decimal | None = None,
) -> int:
    """Within a transaction; gives the dispute's number."""
    body = {
        "dispute": dispute,
        "statement": statement,
        "rights_holder": rights_holder,
        "state": state,
        "reason": reason,
    }
    entry = ledger.append("dispute", body | {"amount": None if amount is None else f"{amount:.4f}"})
    number = entry.position if dispute is None else dispute
    ledger.connection.execute(
        "INSERT INTO file.dispute_steps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [entry.position, number, statement, rights_holder, state, reason, amount, now],
    )
    return number


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
