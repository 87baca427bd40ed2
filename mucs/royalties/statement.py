"""The statement: what each holder is owed for a period, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mucs.ledger import Ledger
from mucs.ledger.names import Unknown

# what files say of a line, and of an account
LINE = (
    *("right_type", "holder", "basis", "works", "items", "units", "score_mass", "score_error", "share"),
    *("gross", "deducted", "net"),
)
BALANCE = ("holder", "carried_in", "net", "difference", "adjustments", "paid", "carried_out")


@dataclass(frozen=True)
class Statement:
    """A statement, as the ledger has it.

    Attributes:
        sha256: The digest of what was said, and the statement's name.
        content: As JSON: header, lines, balances, with names of rights holders.
        new: Whether it was issued just now (or would be).
        said: The same as the log has it, in canonical JSON, with pseudonyms of the holders.
    """

    sha256: str
    content: dict[str, Any]
    new: bool
    said: str

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


def find(ledger: Ledger, name: str) -> Statement:
    """A statement by the start of its SHA-256, or by contract, period and version, such as art-2026/2026-10/1.

    Raises:
        Unknown: If there is not exactly one.
    """
    found = ledger.rows(
        "SELECT sha256, content, said FROM statements WHERE (length($name) >= 8 AND starts_with(sha256, $name))"
        " OR contract || '/' || strftime(period_start, '%Y-%m') || '/' || version = $name",
        {"name": name},
    )
    if len(found) != 1:
        raise Unknown(
            f"The ledger has {len(found)} statements called {name!r};"
            ' see them with `mucs sql "SELECT sha256, contract, period_start, version FROM statements"`.'
        )
    return Statement(found[0]["sha256"], json.loads(found[0]["content"]), False, found[0]["said"])


def counted(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with its works counted, as LINE has it."""
    return {**line, "works": len(line["works"]), "score_error": line["score_error"] or ""}
