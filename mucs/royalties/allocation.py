"""Who is owed what: pots divided into lines by exact arithmetic, so that the lines sum to their pot to the last cent.

Everything is apportioned in whole units (of 10^-24 of a pot, of 10^-12 for shares that are shown, of the currency's smallest
coin) by largest remainder, so that nothing is rounded away and the order of what is added up does not matter.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from mucs.royalties.contract import HUNDRED, Contract, Pot, is_unknown
from mucs.written import one_name

FINE = 10**24  # units of a pot while it is divided
SHARE_PLACES = 12  # decimals of a share that is shown
K = TypeVar("K", str, tuple[str, str])


@dataclass(frozen=True)
class Work:
    """A distinct image of the training sets, as it stands on the period's last day.

    Attributes:
        id: The least of the names that it has.
        holder: Empty if unknown.
        training, output: Whether it is granted for that use.
    """

    sha256: str
    id: str
    holder: str
    training: bool
    output: bool


@dataclass(frozen=True)
class Line:
    """What a holder (or the suspense account) gets of a pot for a reason.

    Items, units, score mass and score error are 0 where nothing was attributed.

    Attributes:
        right_type: Training or output.
        basis: `equal`, `attribution` or `fallback`; for the suspense account, why it is there.
        works: Share of the pot by SHA-256 of each work, with 12 decimals.
        items: How many generated items count.
        units: Their usage.
        score_mass: The sum of the scores that count, split as the works are.
        score_error: The same sum of their standard errors, which that of score_mass cannot exceed; None if one is
            unknown.
        share: Of the pot, with 12 decimals.
        gross, deductions, net: In the currency's smallest coin; gross = net + the sum of deductions.
    """

    right_type: str
    holder: str
    basis: str
    works: Mapping[str, Decimal]
    items: int
    units: Decimal
    score_mass: Decimal
    score_error: Decimal | None
    share: Decimal
    gross: int
    deductions: Mapping[str, int]
    net: int


def apportion(total: int, weights: Mapping[K, Decimal | int]) -> dict[K, int]:
    """Whole parts of `total` in proportion to weights of at least 0, by largest remainder, ties by key; they sum to it.

    Raises:
        ValueError: If no weight is positive.
    """
    ratios = {key: weight.as_integer_ratio() for key, weight in weights.items()}
    scale = math.lcm(*(below for _, below in ratios.values()))
    whole = {key: above * (scale // below) for key, (above, below) in ratios.items()}
    mass = sum(whole.values())
    if mass <= 0 or min(whole.values()) < 0:
        raise ValueError("weights must not be negative, and one of them must be positive")
    parts, remainders = {}, {}
    for key, weight in whole.items():
        parts[key], remainders[key] = divmod(total * weight, mass)
    left = total - sum(parts.values())
    for key in sorted(parts, key=lambda key: (-remainders[key], key))[:left]:
        parts[key] += 1
    return parts


def pot_coins(pot: Pot, revenue: Decimal, decimals: int) -> int:
    """What a pot comes to, in the smallest coin, half a coin rounded up.

    Args:
        pot: A fixed amount, or a percentage of revenue.
        revenue: Of the usage that counts.
        decimals: Of the currency.
    """
    if pot.amount is not None:
        return coins(pot.amount, decimals)
    of_revenue = Fraction(revenue) * Fraction(pot.percentage or 0) / 100 * Fraction(10) ** decimals
    return max(math.floor(of_revenue + Fraction(1, 2)), coins(pot.minimum, decimals))


def coins(amount: Decimal, decimals: int) -> int:
    """An amount that has no more decimals than the currency, in the smallest coin."""
    return scaled(amount, decimals)


def money(amount: int, decimals: int) -> Decimal:
    """Coins as an amount of the currency, exactly."""
    return Decimal(f"{amount}e-{decimals}")


def allocate(
    contract: Contract,
    works: Mapping[str, Work],
    units: Mapping[str, Decimal],
    evidence: Mapping[str, Mapping[str, Decimal]],
    revenue: Decimal = Decimal(0),
    errors: Mapping[str, Mapping[str, Decimal | None]] | None = None,
) -> list[Line]:
    """The lines of a period, each pot's summing to it, by right type, holder and basis.

    Args:
        contract: Its terms; its splits go by SHA-256 here.
        works: By SHA-256; those of the training sets and of the evidence.
        units: Usage by generated item, at least 0.
        evidence: For generated items that have any, the positive score (with at most 9 decimals) of each work that
            counts.
        revenue: Of the usage that counts, in the currency's units; 0 or more.
        errors: The standard errors of those scores; what is missing is unknown.
    """
    lines = []
    for right_type, pot in sorted(contract.pots.items()):
        division = _Division(contract, works)
        if right_type == "training":
            division.add_equally(FINE, "equal", "no licensed works")
        else:
            division.add_output(units, evidence, errors or {})
        lines += division.lines(right_type, pot_coins(pot, revenue, contract.decimals))
    return lines


def share_of(
    what: str, units: Mapping[str, Decimal], scores: Mapping[str, Mapping[tuple[str, str], Decimal]]
) -> Decimal | None:
    """The share of what scores divide that falls to images of one kind, divided as `output` pots are.

    Args:
        what: The kind.
        units: Usage by generated item, at least 0.
        scores: For generated items, the positive score of each image that counts, by its kind and SHA-256.

    Returns:
        From 0 to 1, with 12 decimals; None where nothing is divided.
    """
    used = {item: units[item] for item in scores if units[item] > 0}
    if not used:
        return None
    parts = [share for item, part in apportion(FINE, used).items() for share in apportion(part, scores[item]).items()]
    theirs = sum(part for (kind, _), part in parts if kind == what)
    shares = apportion(10**SHARE_PLACES, {"theirs": theirs, "others": FINE - theirs})
    return Decimal(f"{shares['theirs']}e-{SHARE_PLACES}")


class _Division:
    """A pot while it is divided: fine units by line, a line's name being its holder and basis."""

    def __init__(self, contract: Contract, works: Mapping[str, Work]) -> None:
        self.contract, self.works = contract, works
        self.parts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.items: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.mass: dict[tuple[str, str], int] = defaultdict(int)  # in units of 10^-17
        self.errors: dict[tuple[str, str], int | None] = defaultdict(int)  # the same
        self.units: Mapping[str, Decimal] = {}

    def add_equally(self, total: int, basis: str, otherwise: str) -> None:
        """To every licensed work the same; to the suspense account if there is none."""
        licensed = {work.sha256: 1 for work in self.works.values() if work.training}
        if not licensed:
            self.parts[self.contract.suspense, otherwise][""] += total
            return
        for work, part in apportion(total, licensed).items():
            self._credit(self.works[work], part, basis)

    def add_output(
        self,
        units: Mapping[str, Decimal],
        evidence: Mapping[str, Mapping[str, Decimal]],
        errors: Mapping[str, Mapping[str, Decimal | None]],
    ) -> None:
        """To each generated item by usage; of that to each work by score; what has no evidence to the fallback."""
        self.units = {item: used for item, used in units.items() if used > 0}
        by_item = apportion(FINE, self.units) if self.units else {}
        fallback = FINE - sum(by_item[item] for item in by_item if evidence.get(item))
        for item, part in by_item.items():
            scores = evidence.get(item)
            if scores:
                for work, share in apportion(part, scores).items():
                    owners = self._credit(self.works[work], share, "attribution")
                    self._measure(item, owners, scores[work], errors.get(item, {}).get(work))
        if fallback and self.contract.fallback == "equal":
            self.add_equally(fallback, "fallback", "insufficient evidence")
        elif fallback:
            self.parts[self.contract.suspense, "insufficient evidence"][""] += fallback

    def _credit(self, work: Work, part: int, basis: str) -> dict[tuple[str, str], Decimal]:
        """A work's part to its holders, or to the suspense account for a reason; gives their percentages by line."""
        owners = self._owners(work, basis)
        shares = apportion(part, owners) if len(owners) > 1 else dict.fromkeys(owners, part)
        for line, share in shares.items():
            self.parts[line][work.sha256] += share
        return owners

    def _measure(
        self, item: str, owners: Mapping[tuple[str, str], Decimal], score: Decimal, error: Decimal | None
    ) -> None:
        """What lines rest on: a generated item's score of a work, split as the work is."""
        for line, percent in owners.items():
            self.items[line].add(item)
            self.mass[line] += scaled(score, 9) * scaled(percent, 6)
            known = self.errors[line]
            self.errors[line] = (
                None if known is None or error is None else known + scaled(error, 9) * scaled(percent, 6)
            )

    def _owners(self, work: Work, basis: str) -> dict[tuple[str, str], Decimal]:
        """Percentages by line, 100 in all."""
        suspense = self.contract.suspense
        if basis == "attribution" and not work.output:
            return {(suspense, "not granted for output"): HUNDRED}
        split = self.contract.splits.get(work.sha256)
        if split is None:
            # the account is no holder, whatever a manifest says
            nobody = is_unknown(work.holder) or one_name(work.holder) == one_name(suspense)
            return {(suspense, "holder unknown") if nobody else (work.holder, basis): HUNDRED}
        owners = {(holder, basis): percent for holder, percent in split.items() if percent}
        rest = HUNDRED - sum(split.values())
        return owners | ({(suspense, "split incomplete"): rest} if rest else {})

    def lines(self, right_type: str, pot: int) -> list[Line]:
        """What became of it, with money."""
        fine = {line: sum(parts.values()) for line, parts in self.parts.items()}
        shares = apportion(10**SHARE_PLACES, fine)
        gross = apportion(pot, shares)
        return [self._line(right_type, *line, shares[line], gross[line]) for line in sorted(shares)]

    def _line(self, right_type: str, holder: str, basis: str, share: int, gross: int) -> Line:
        line = holder, basis
        works = {work: part for work, part in self.parts[line].items() if work}
        by_work = apportion(share, works) if works and any(works.values()) else {}
        deductions = deducted(gross, self.contract.deductions)
        error = self.errors[line]
        return Line(
            *(right_type, holder, basis),
            works={work: Decimal(f"{by_work[work]}e-{SHARE_PLACES}") for work in sorted(by_work)},
            items=len(self.items[line]),
            units=sum((self.units[item] for item in sorted(self.items[line])), Decimal(0)),
            score_mass=Decimal(f"{self.mass[line]}e-17"),
            score_error=None if error is None else Decimal(f"{error}e-17"),
            share=Decimal(f"{share}e-{SHARE_PLACES}"),
            gross=gross,
            deductions=deductions,
            net=gross - sum(deductions.values()),
        )


def scaled(number: Decimal, places: int) -> int:
    """A number with at most so many decimals, in units of the last of them."""
    above, below = number.as_integer_ratio()
    unit: int = 10**places // below
    return above * unit


def deducted(gross: int, percentages: Mapping[str, Decimal]) -> dict[str, int]:
    """Coins by name of deduction. They are rounded down together, so that what is left is never negative."""
    rate = sum((Fraction(each) for each in percentages.values()), Fraction(0))
    if not rate:
        return dict.fromkeys(percentages, 0)
    return apportion(math.floor(gross * rate / 100), percentages)


@dataclass(frozen=True)
class Balance:
    """A holder's account with one statement more, in the smallest coin.

    Attributes:
        net: Of the statement's lines.
        difference: Net less that of the version which is superseded.
        adjustments: Of disputes.
    """

    holder: str
    carried_in: int
    net: int
    difference: int
    adjustments: int
    paid: int

    @property
    def carried_out(self) -> int:
        """What goes into the next statement; negative if more was paid before than is now found due."""
        return self.carried_in + self.difference + self.adjustments - self.paid


def balances(
    contract: Contract,
    net: Mapping[str, int],
    superseded: Mapping[str, int],
    carried: Mapping[str, int],
    adjustments: Iterable[tuple[str, int]] = (),
) -> list[Balance]:
    """Every account that a statement moves or carries on, by holder.

    What is due is paid when it reaches the minimum payout; the suspense account is never paid.

    Args:
        contract: Its terms.
        net: Of the statement by holder.
        superseded: That of the version before; empty for none.
        carried: What the contract's last statement carried out.
        adjustments: Holder and coins.
    """
    adjusted: dict[str, int] = defaultdict(int)
    for holder, amount in adjustments:
        adjusted[holder] += amount
    least = max(coins(contract.minimum_payout, contract.decimals), 1)
    found = []
    for holder in sorted(net.keys() | superseded.keys() | adjusted.keys() | {h for h, c in carried.items() if c}):
        difference = net.get(holder, 0) - superseded.get(holder, 0)
        due = carried.get(holder, 0) + difference + adjusted.get(holder, 0)
        paid = due if due >= least and holder != contract.suspense else 0
        found.append(
            Balance(holder, carried.get(holder, 0), net.get(holder, 0), difference, adjusted.get(holder, 0), paid)
        )
    return found


def spelt(holders: Iterable[str], accounts: Collection[str]) -> dict[str, str]:
    """The account of each holder: one for all spellings of a name that differ in blanks and Unicode form alone.

    Args:
        holders: Names, as works, grants and splits have them.
        accounts: Those that there are, which are kept as they are spelt, so that nobody is paid again under another
            spelling.
    """
    names = sorted(holders, key=lambda name: (name != one_name(name), name))
    known = sorted(accounts, key=lambda name: (name != one_name(name), name))
    first: dict[str, str] = {}
    for name in (*known, *names):
        first.setdefault(one_name(name), name)
    return {name: name if name in accounts else first[one_name(name)] for name in names}


def by_holder(lines: Iterable[Line]) -> dict[str, int]:
    """Net of lines by holder."""
    found: dict[str, int] = defaultdict(int)
    for line in lines:
        found[line.holder] += line.net
    return dict(found)
