"""The contract: who pays whom for what, as a YAML file whose every fault is named with its line."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from mucs import InputError
from mucs.canonical import digest
from mucs.files import read_at_most
from mucs.ledger.questions import USES
from mucs.parse import compose_yaml
from mucs.text import is_fit
from mucs.written import nearest, one_name, read_day

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
SHA256 = re.compile(r"[0-9a-f]{64}")
TERRITORY = re.compile(r"[A-Z]{2}")
HUNDRED = Decimal(100)
MOST_BYTES = 20_000_000
MOST_EDGES = 1000  # of a generated item that can count
PLACES = 4  # decimals of a percentage


@dataclass(frozen=True)
class Party:
    """A holder as the contract identifies it.

    Attributes:
        name: As manifests and grants have it.
        ipi: CISAC's identifier; None where the contract gives none.
        isni: That of ISO 27729; None where it gives none.
    """

    name: str
    ipi: str | None
    isni: str | None


@dataclass(frozen=True)
class Pot:
    """What there is to share in a period: an amount, or a percentage of revenue that is at least a minimum."""

    amount: Decimal | None
    percentage: Decimal | None
    minimum: Decimal


@dataclass(frozen=True)
class Evidence:
    """Which edges count, all of these together: the best `top` images of a generated item (1 to 1000), with a positive score.

    An edge without the number that a bound asks for does not count.

    Attributes:
        top: How many.
        p_value, decoy_p_value: The most, each in (0, 1].
        decoy_z: The least; None for no bound.
        tie_p_value: The most that a generated item may have for any of its edges to count, in (0, 1].
        converged: Whether unlearning must have converged.
    """

    top: int
    p_value: Decimal | None
    decoy_p_value: Decimal | None
    decoy_z: Decimal | None
    tie_p_value: Decimal | None
    converged: bool


@dataclass(frozen=True)
class Contract:
    """Money is in the currency's units, percentages are of 100; all numbers are exact.

    Attributes:
        decimals: Of the currency (0 to 4).
        valid_to: The first day on which the contract does not hold.
        training_sets: SHA-256; empty for all that the ledger's runs used.
        pots: By right type, training and output.
        fallback: What becomes of generated items without evidence, `equal` or `suspense`.
        splits: Percentages by holder, by a work's id or SHA-256.
        lines: Where each of them stands in the file.
        territories: Those whose usage counts; empty for all.
    """

    id: str
    version: int
    licensor: Party
    licensee: Party
    currency: str
    decimals: int
    valid_from: datetime.date
    valid_to: datetime.date
    training_sets: tuple[str, ...]
    pots: Mapping[str, Pot]
    fallback: str
    evidence: Evidence
    deductions: Mapping[str, Decimal]
    minimum_payout: Decimal
    splits: Mapping[str, Mapping[str, Decimal]]
    suspense: str
    territories: tuple[str, ...]
    lines: Mapping[str, str]

    def record(self) -> dict[str, Any]:
        """As JSON, numbers as text, which the digest covers: comments and layout of the file do not matter."""
        terms = {name: _plain(value) for name, value in vars(self).items() if name != "lines"}
        if self.evidence.tie_p_value is None:  # a contract of before there was such a bound stays the same one
            del terms["evidence"]["tie_p_value"]
        return {name: terms[name] for name in sorted(terms)}

    @property
    def sha256(self) -> str:
        """Of the record."""
        return digest(self.record())


def _plain(value: Any) -> Any:
    if isinstance(value, Party | Pot | Evidence):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return f"{value:f}" if isinstance(value, Decimal) else str(value) if isinstance(value, datetime.date) else value


def read_contract(path: Path) -> Contract:
    """A contract from its file. Raises InputError, with the line, for the first thing that is wrong."""
    try:
        root = compose_yaml(read_at_most(path, MOST_BYTES).decode())
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as text; give a contract, see docs/royalties.md.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}, line {line}: this is not YAML ({error.problem}); mend it.") from None
    except yaml.YAMLError:
        raise InputError(f"{path} has characters that YAML does not allow; save it as plain text.") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read as a contract: {error}; write it plainly.") from None
    if root is None:
        raise InputError(f"{path} is empty; give a contract, see docs/royalties.md.")
    return _contract(_Value(str(path), "the contract", root))


def _contract(root: _Value) -> Contract:
    given = root.keys(
        *("id", "version", "licensor", "licensee", "currency", "valid_from", "valid_to", "pots", "evidence"),
        optional=("training_sets", "fallback", "deductions", "minimum_payout", "splits", "suspense", "territories"),
    )
    money = given["currency"].keys("code", "decimals")
    decimals = money["decimals"].integer(0, 4)
    start, end = given["valid_from"].day(), given["valid_to"].day()
    if end <= start:
        given["valid_to"].refuse("is not after valid_from", "give the first day on which the contract does not hold")
    pots = {name: _pot(pot, decimals) for name, pot in given["pots"].keys(optional=USES).items()}
    if not pots:
        given["pots"].refuse("has no pot", "give training, output or both")
    suspense = one_name(given["suspense"].text()) if "suspense" in given else "Suspense account"
    splits = given["splits"].items() if "splits" in given else {}
    return Contract(
        id=given["id"].text(NAME, "letters, digits, dots, dashes and underscores"),
        version=given["version"].integer(1, 10**6),
        licensor=_party(given["licensor"]),
        licensee=_party(given["licensee"]),
        currency=money["code"].text(re.compile("[A-Z]{3}"), "three capital letters of ISO 4217, such as EUR"),
        decimals=decimals,
        valid_from=start,
        valid_to=end,
        training_sets=_texts(given.get("training_sets"), SHA256, "the 64 digits of a SHA-256"),
        pots=pots,
        fallback=given["fallback"].text(re.compile("equal|suspense"), "equal or suspense")
        if "fallback" in given
        else "suspense",
        evidence=_evidence(given["evidence"]),
        deductions=_deductions(given["deductions"]) if "deductions" in given else {},
        minimum_payout=given["minimum_payout"].money(decimals) if "minimum_payout" in given else Decimal(0),
        splits={work: _split(split, suspense) for work, split in splits.items()},
        suspense=suspense,
        territories=_texts(given.get("territories"), TERRITORY, "two capital letters of ISO 3166"),
        lines={work: split.place for work, split in splits.items()},
    )


def _party(value: _Value) -> Party:
    given = value.keys("name", optional=("ipi", "isni"))
    ipi = given["ipi"].text(re.compile(r"[0-9]{9,11}"), "9 to 11 digits") if "ipi" in given else None
    isni = given["isni"].text(re.compile(r"[0-9]{15}[0-9X]"), "16 digits, without blanks") if "isni" in given else None
    return Party(one_name(given["name"].text()), ipi, isni)


def _pot(value: _Value, decimals: int) -> Pot:
    given = value.keys(optional=("amount", "percentage", "minimum"))
    if ("amount" in given) == ("percentage" in given) or ("amount" in given and "minimum" in given):
        value.refuse("is not one kind of pot", "give an amount, or a percentage with or without a minimum")
    return Pot(
        given["amount"].money(decimals) if "amount" in given else None,
        given["percentage"].percentage() if "percentage" in given else None,
        given["minimum"].money(decimals) if "minimum" in given else Decimal(0),
    )


def _evidence(value: _Value) -> Evidence:
    given = value.keys("top", optional=("p_value", "decoy_p_value", "decoy_z", "tie_p_value", "converged"))
    bounds = {}
    for name in ("p_value", "decoy_p_value", "tie_p_value"):
        bounds[name] = given[name].number(Decimal("0.000001"), Decimal(1), 6) if name in given else None
    z = given["decoy_z"].number(Decimal(-1000), Decimal(1000), 3) if "decoy_z" in given else None
    converged = given["converged"].text(re.compile("true|false"), "true or false") if "converged" in given else "true"
    return Evidence(given["top"].integer(1, MOST_EDGES), **bounds, decoy_z=z, converged=converged == "true")


def _deductions(value: _Value) -> dict[str, Decimal]:
    found = {name: each.percentage() for name, each in value.items().items()}
    if sum(found.values()) > HUNDRED:
        value.refuse("takes more than 100 %", "lower the percentages")
    return found


def is_unknown(holder: str) -> bool:
    """Whether that is how a manifest or a register says that the rights holder is not known; such a one is never paid."""
    return holder.strip().lower() in ("", "unknown")


def _split(value: _Value, suspense: str) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for written, each in value.items().items():
        holder = one_name(written)
        if holder in found:
            each.refuse(f"is another spelling of {holder}", "give each holder once")
        if holder == suspense or is_unknown(holder):
            each.refuse("goes to the suspense account", "leave it out: what is missing to 100 goes there by itself")
        found[holder] = each.percentage()
    if sum(found.values()) > HUNDRED:
        value.refuse("adds up to more than 100", "lower the percentages; what is missing to 100 goes to suspense")
    return found


def _texts(value: _Value | None, pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    return tuple(sorted({each.text(pattern, what) for each in value.sequence()})) if value else ()


class _Value:
    """A node of the file with its place. Scalars are read as the text that was written, so that numbers stay exact."""

    def __init__(self, path: str, name: str, node: yaml.Node) -> None:
        self.name, self.node, self.path = name, node, path
        self.place = f"{path}, line {node.start_mark.line + 1}"

    def refuse(self, what: str, remedy: str) -> Any:
        raise InputError(f"{self.place}: {self.name} {what}; {remedy}.")

    def _pairs(self) -> Iterator[tuple[str, _Value]]:
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse("is not a mapping", "write `key: value` lines")
            return
        seen = set()
        for key, node in self.node.value:
            place = _Value(self.path, f"a key of {self.name}", key)
            name = place.text()
            if name in seen:
                place.refuse(f"is there twice ({name})", "give it once")
            seen.add(name)
            value = _Value(self.path, name, node)
            value.place = place.place
            yield name, value

    def items(self) -> dict[str, _Value]:
        """A mapping with keys of any name."""
        return dict(self._pairs())

    def keys(self, *required: str, optional: tuple[str, ...] = ()) -> dict[str, _Value]:
        """A mapping with these keys alone."""
        found, known = self.items(), (*required, *optional)
        for name, value in found.items():
            if name not in known:
                value.refuse(
                    f"is no key of {self.name}{nearest(name, known)}", f"the known ones are {', '.join(known)}"
                )
        for name in required:
            if name not in found:
                self.refuse(f"has no {name}", "add it")
        return found

    def sequence(self) -> list[_Value]:
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse("is not a list", "write it as [one, another]")
            return []
        return [_Value(self.path, f"an item of {self.name}", node) for node in self.node.value]

    def text(self, pattern: re.Pattern[str] | None = None, what: str = "") -> str:
        if not isinstance(self.node, yaml.ScalarNode):
            return str(self.refuse("is not a single value", "write it on one line"))
        found = str(self.node.value).strip()
        if not found:
            self.refuse("is empty", "fill it in")
        if pattern and not pattern.fullmatch(found):
            self.refuse(f"cannot be {found[:80]!r}", f"write {what}")
        if not is_fit(found):
            self.refuse("has characters that cannot be printed, or too many", "leave them out")
        return found

    def integer(self, least: int, most: int) -> int:
        what = f"a whole number from {least} to {most}"
        found = self.text(re.compile(r"[0-9]{1,9}"), what)
        return int(found) if least <= int(found) <= most else self.refuse(f"cannot be {found}", f"write {what}")

    def number(self, least: Decimal, most: Decimal, places: int) -> Decimal:
        what = f"a number from {least:f} to {most:f} with at most {places} decimals"
        found = self.text(NUMBER, what)
        number = Decimal(found)
        if (
            not least <= number <= most
            or (found.startswith("-") and not number)
            or len(found.partition(".")[2]) > places
        ):
            self.refuse(f"cannot be {found}", f"write {what}")
        return number

    def percentage(self) -> Decimal:
        return self.number(Decimal(0), HUNDRED, PLACES)

    def money(self, decimals: int) -> Decimal:
        return self.number(Decimal(0), Decimal(10**12 - 1), decimals)

    def day(self) -> datetime.date:
        found = self.text()
        try:
            return read_day(found)
        except ValueError:
            return datetime.date(*self.refuse(f"cannot be {found!r}", "write a day as 2026-10-31"))
