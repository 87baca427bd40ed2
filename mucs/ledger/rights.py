"""What is said of items and runs from outside: who granted what, what was made from what, which runs no longer count."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.csvfile import check_columns, read_csv
from mucs.evidence.pseudonyms import Pseudonyms, erased
from mucs.ledger.ledger import Ledger, Said
from mucs.ledger.names import HOLDERS, run_called
from mucs.ledger.questions import USES
from mucs.text import is_fit
from mucs.written import nearest, one_name, read_day, read_reason

COLUMNS = ("item", "rights_holder", "licence", "standing", "uses", "valid_from", "valid_to", "cap", "source")
NEEDED = ("item", "rights_holder", "licence", "valid_from")
STANDINGS = ("granted", "opted out")
HELD = """SELECT sha256, rights_holder, licence FROM rights_on(current_date, 'infinity') WHERE rights_holder = $target ORDER BY sha256"""
CALLED = """SELECT sha256, rights_holder, licence FROM rights_on(current_date, 'infinity')
WHERE sha256 IN (SELECT sha256 FROM training_items WHERE id = $target OR sha256 = $target) ORDER BY sha256"""
SHA256 = re.compile(r"[0-9a-f]{64}")
CAP = re.compile(r"[01](\.[0-9]{1,6})?")


@dataclass(frozen=True)
class Right:
    """What is said of an image from a day to the day before another, or for good.

    sha256: of the image. standing: granted or opted out. uses: what it is granted for; None for everything. cap: the share of any one
    generated image that may rest on the holder, as a decimal number; None for no bound. source: where it was said.
    """

    line: int
    sha256: str
    rights_holder: str
    licence: str
    standing: str
    uses: list[str] | None
    valid_from: str
    valid_to: str | None
    cap: str | None = None
    source: str | None = None

    def record(self) -> dict[str, object]:
        """As JSON, which an entry's digest covers; nothing is said of a cap and a source that are not, as before there were any."""
        return {name: value for name, value in vars(self).items() if name not in ("cap", "source") or value is not None}


def read_rights(ledger: Ledger, path: Path) -> list[Right]:
    """The rows of a CSV file with COLUMNS: an item is a training item's id, or the SHA-256 of an image.

    standing may be empty for granted, uses for everything (else `training`, `output`, or both), valid_to for no end, cap for no bound,
    source for none.
    Raises InputError, with the line, for what cannot be read or is not known to the ledger.
    """
    images: dict[str, set[str]] = {}
    for name, sha256 in ledger.connection.execute("SELECT id, sha256 FROM training_items").fetchall():
        images.setdefault(name, set()).add(sha256)
        images.setdefault(sha256, set()).add(sha256)
    rows = read_csv(path, COLUMNS, lambda found: check_columns(path, found, COLUMNS, NEEDED))
    return [_right(values, images.get(values["item"], set()), line, f"{path}, line {line}:") for line, values in rows]


def read_right(ledger: Ledger, values: Mapping[str, str]) -> Right:
    """One right from the values of COLUMNS, written as `read_rights` takes them. Raises InputError as that does."""
    name = values.get("item", "").strip()
    found = ledger.rows("SELECT DISTINCT sha256 FROM training_items WHERE id = $name OR sha256 = $name", {"name": name})
    return _right(values, {row["sha256"] for row in found}, 1, "This right cannot be recorded:")


def _right(row: Mapping[str, str], found: Set[str], line: int, here: str) -> Right:
    """A right from a row. found: the images that its item is called by. here: how a sentence about it begins."""
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name, value in values.items():
        if not value.isprintable():
            raise InputError(f"{here} {name} has characters that cannot be printed; leave them out.")
    for name in (*NEEDED, "source"):
        if not values[name] and name != "source":
            raise InputError(f"{here} {name} is empty; fill it in.")
        if values[name] and not is_fit(values[name]):
            raise InputError(f"{here} {name} has characters that cannot be printed, or too many; leave them out.")
    if len(found) != 1:
        few = "no training item" if not found else f"{len(found)} images of training items"
        raise InputError(
            f"{here} the ledger has {few} called {values['item']!r}; name one by the SHA-256 of its image."
        )
    standing = values["standing"] or "granted"
    if standing not in STANDINGS:
        raise InputError(
            f"{here} standing cannot be {standing!r}{nearest(standing, STANDINGS)}; write {' or '.join(STANDINGS)}."
        )
    uses = values["uses"].split()
    for use in uses:
        if use not in USES:
            raise InputError(
                f"{here} uses cannot have {use!r}{nearest(use, USES)}; write training, output, or both with a blank between,"
                " or leave it empty for everything."
            )
    days = {name: _day(values[name], f"{here} {name}") for name in ("valid_from", "valid_to") if values[name]}
    if "valid_to" in days and days["valid_to"] <= days["valid_from"]:
        raise InputError(
            f"{here} valid_to is not after valid_from; it is the first day on which the right does not hold."
        )
    cap = values["cap"] and _cap(values["cap"], standing, here)
    return Right(
        *(line, min(found), one_name(values["rights_holder"]), values["licence"], standing),
        *(list(dict.fromkeys(uses)) or None, days["valid_from"], days.get("valid_to")),
        cap=cap or None,
        source=values["source"] or None,
    )


def _cap(text: str, standing: str, here: str) -> str:
    """A cap as it is recorded."""
    if not CAP.fullmatch(text) or not 0 < float(text) <= 1:
        raise InputError(f"{here} cap cannot be {text!r}; give a share above 0 and at most 1, such as 0.25.")
    if standing != "granted":
        raise InputError(f"{here} cap is that of a right that is granted; leave it empty where it is {standing}.")
    return text


def _day(text: str, what: str) -> str:
    try:
        return read_day(text).isoformat()
    except ValueError:
        raise InputError(f"{what} cannot be {text!r}; write a day as 2026-10-31.") from None


def say_rights(ledger: Ledger, rights: list[Right]) -> bool:
    """Say rights in one entry; False, with nothing changed, if they are the last that were said.

    Args:
        ledger: Open to write.
        rights: As `read_rights` gives them.

    Raises:
        InputError: If there are none.
    """
    if not rights:
        raise InputError("The file says nothing of any item; give at least one row.")
    pseudonyms = Pseudonyms(ledger.followed.store)
    rows = [right.record() | {"rights_holder": pseudonyms.of(right.rights_holder)} for right in rights]
    body = {"rows": len(rows), "sha256": digest(rows)}

    def decide(_: datetime.datetime) -> Said | None:
        last = ledger.one(
            "SELECT entry::JSON->'$.body'->>'sha256' FROM entries WHERE kind = 'rights' ORDER BY position DESC LIMIT 1"
        )
        return None if last == body["sha256"] else Said("rights", body, [canonical(rows)])

    return ledger.say(decide) is not None


def artifact(ledger: Ledger, name: str) -> str:
    """The SHA-256 of an artifact by its start, or any SHA-256 written out. Raises InputError if it is neither."""
    found = ledger.connection.execute(
        "SELECT DISTINCT sha256 FROM artifacts WHERE starts_with(sha256, ?)", [name]
    ).fetchall()
    if len(found) == 1 and len(name) >= 8:
        return str(found[0][0])
    if SHA256.fullmatch(name):
        return name
    raise InputError(
        f'{name!r} names no artifact; give its SHA-256, see `mucs sql "SELECT kind, sha256 FROM artifacts"`.'
    )


# whether the second is the first, or something that it was made from: by derivation, or as a run's checkpoint was from its training set
ABOVE = """
WITH RECURSIVE parents AS MATERIALIZED (
    SELECT child_sha256 AS child, parent_sha256 AS parent FROM derivations
    UNION
    SELECT c.sha256, t.sha256
    FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
), up AS (
    SELECT ? AS sha256
    UNION
    SELECT parent FROM parents JOIN up ON child = sha256
)
SELECT 1 FROM up WHERE sha256 = ?
"""


def opted_out(ledger: Ledger, target: str, day: str) -> list[Right]:
    """That all works of a rights holder, or one training item, are opted out from a day on; to be said by `say_rights`.

    Args:
        ledger: What is held today is read of it.
        target: The rights holder's name, or the item's id or SHA-256.
        day: The first on which they are, as 2026-10-31.

    Raises:
        InputError: If that is no day, or the ledger has nothing of that name.
    """
    from_day = _day(day.strip(), "The day")
    held = ledger.rows(HELD, {"target": target}) or ledger.rows(CALLED, {"target": target})
    if not held:
        raise InputError(f"The ledger has no works of {target[:100]!r}, and none called so; give a name that it has.")
    return [
        Right(line, row["sha256"], row["rights_holder"], row["licence"], "opted out", None, from_day, None)
        for line, row in enumerate(held, start=1)
    ]


def say_derivation(ledger: Ledger, child: str, parent: str) -> bool:
    """Say that one artifact was made from another (each by SHA-256); False if the ledger knows.

    Args:
        ledger: Open to write.
        child: What was made.
        parent: What it was made from.

    Raises:
        InputError: If they are one, or the parent was made from the child, as earlier derivations or runs have it.
    """
    if child == parent:
        raise InputError(f"Nothing is made from itself, and {child[:12]} is given twice; give what it was made from.")

    def decide(_: datetime.datetime) -> Said | None:
        if ledger.one("SELECT 1 FROM derivations WHERE child_sha256 = ? AND parent_sha256 = ?", child, parent):
            return None
        if ledger.one(ABOVE, parent, child):
            raise InputError(
                f"{parent[:12]} was made from {child[:12]}, so it cannot be what that was made from; give them the other way round."
            )
        return Said("derivation", {"child": child, "parent": parent})

    return ledger.say(decide) is not None


def withdraw(ledger: Ledger, run: str, reason: str) -> bool:
    """Have a run (by the start of its SHA-256) count no longer; False if it does not already.

    Args:
        ledger: Open to write.
        run: The start of its SHA-256.
        reason: Why.

    Raises:
        InputError: If there is not exactly one such run, its name is shorter than eight digits, or the reason says nothing.
    """
    ledger.sync()  # the run may be one that another ledger told the log
    run_called(ledger.connection, run)
    why = read_reason(reason)

    def decide(_: datetime.datetime) -> Said | None:
        sha256 = run_called(ledger.connection, run)
        if ledger.one("SELECT 1 FROM withdrawals JOIN runs USING (run_id) WHERE sha256 = ?", sha256):
            return None
        return Said("withdrawal", {"run": sha256, "reason": why})

    return ledger.say(decide) is not None


def forget(ledger: Ledger, name: str) -> str:
    """Erase a rights holder's name beside the log, and make the ledger anew without it; gives what stands in its place.

    An entry says that it was done, so that other ledgers of the log are made anew, too. Called again where it was killed, it goes on.

    Args:
        ledger: Open to write.
        name: As the ledger has it.

    Raises:
        InputError: If the log knows no pseudonym of that name.
    """
    pseudonyms = Pseudonyms(ledger.followed.store)
    pseudonym = pseudonyms.of_known(name)
    if pseudonym is None:
        found = [row["name"] for row in ledger.rows(f"SELECT DISTINCT name FROM ({HOLDERS})")]
        raise InputError(
            f"The log has no pseudonym of a rights holder {name!r}{nearest(name, found)}; give a name that it has."
        )
    pseudonyms.hide(name)  # whoever makes a ledger from now on does not find it
    said = "SELECT 1 FROM entries WHERE kind = 'erasure' AND (entry->>'$.body.holder') = ?"
    ledger.say(lambda _: None if ledger.one(said, pseudonym) else Said("erasure", {"holder": pseudonym}))
    pseudonyms.erase(name)  # last, so that a call that was killed can be made again
    return erased(pseudonym)
