"""Replay: whether what a run recorded of its generated items came out again, and the first thing that did not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mucs.attribution.replay import Verdict, compare_rankings
from mucs.evidence.edges import NUMBERS
from mucs.evidence.outcome import LATER, OUTCOME
from mucs.evidence.reading import raw_digests

# which items recall is measured of depends on who else is in the run
COMPARED = [name for name in OUTCOME.names if name != "recall"]


@dataclass(frozen=True)
class Replayed:
    """How one generated item came out.

    Attributes:
        generated: its id.
        verdict: identical if every number that was published came out the same; equal if each score that both have
            differs by no more than the tolerance, and the first ten items are the same, of held-out ones as of training items.
        largest: difference of a score, infinite if no item has one in both.
        where: the first thing that differs.
    """

    generated: str
    verdict: Verdict
    largest: float
    where: str | None


@dataclass(frozen=True)
class Replay:
    """How a run came out, which is as its worst item did.

    Attributes:
        run: its SHA-256.
        of: how many generated items it attributed.
        notes: what was not as it was when the run was made, such as another version of the code.
        fault: what of the run's inputs is gone or altered, so that nothing was computed.
        items: those that were attributed again.
    """

    run: str
    of: int
    notes: tuple[str, ...]
    fault: str | None
    items: tuple[Replayed, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its items'; "different" if something else did not come out again."""
        if self.fault:
            return "different"
        order: tuple[Verdict, ...] = ("identical", "equal", "different")
        return max((item.verdict for item in self.items), key=order.index)


def compare_item(
    name: str,
    recorded: pa.Table,
    again: pa.Table,
    outcome: Mapping[str, Any],
    outcome_again: Mapping[str, Any],
    unseen: tuple[pa.Table, pa.Table] | None = None,
) -> Replayed:
    """How an item came out.

    Args:
        name: its id.
        recorded: its edges in the ledger, best first: `training_row_sha256` and NUMBERS as they were published.
        again: its edges as they would be published now, with the same columns.
        outcome: what the run's record says of it.
        outcome_again: what a record would say of it now.
        unseen: its unseen edges in the ledger, with `held_out_sha256` and NUMBERS, and as they would be published now; None where the run
            kept none.
    """
    pairs = [(recorded, again, "training_row_sha256")]
    where = _edge_difference(*pairs[0]) or _outcome_difference(outcome, outcome_again)
    if unseen is not None and max(map(len, unseen)):
        pairs.append((*unseen, "held_out_sha256"))
        differs = _edge_difference(*pairs[1])
        where = where or (differs and f"of held-out items, {differs}")
    if where is None:
        return Replayed(name, "identical", 0.0, None)
    compared = [compare_rankings(_ranking(one, end), _ranking(two, end)) for one, two, end in pairs]
    verdict: Verdict = "different" if any(each == "different" for each, _ in compared) else "equal"
    return Replayed(name, verdict, max(largest for _, largest in compared), where)


def _ranking(edges: pa.Table, end: str) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    return _digests(edges, end), edges["score"].cast(pa.float64()).to_numpy()


def _digests(edges: pa.Table, end: str) -> NDArray[np.generic]:
    return raw_digests(edges[end].cast(pa.string()).combine_chunks()).view("S32")


def _edge_difference(recorded: pa.Table, again: pa.Table, end: str) -> str | None:
    """The first rank at which two lists of an item's edges differ, and in what. end: the column of digests of what they lead to."""
    count = min(len(recorded), len(again))
    columns = {name: [each[name][:count].to_numpy() for each in (recorded, again)] for name in NUMBERS}
    others = {"": _digests(recorded, end)[:count] != _digests(again, end)[:count]}
    others |= {name: (one != two) & ~(np.isnan(one) & np.isnan(two)) for name, (one, two) in columns.items()}
    places = np.flatnonzero(np.any(list(others.values()), axis=0))
    if not len(places):
        return None if len(recorded) == len(again) else f"{len(recorded)} edges were recorded, {len(again)} came out"
    place = int(places[0])
    name = next(name for name, differs in others.items() if differs[place])
    if not name:
        return f"rank {place + 1}: another item"
    one, two = (each[name][place].as_py() for each in (recorded, again))
    return f"rank {place + 1}: {name.replace('_', ' ')} {one} was recorded, {two} came out"


def _outcome_difference(outcome: Mapping[str, Any], again: Mapping[str, Any]) -> str | None:
    """The first number of an outcome that differs; 1 and 1.0 are one number, as in JSON."""
    for name in COMPARED:
        if name in LATER and name not in outcome:
            continue
        if outcome.get(name) != again.get(name):
            return f"{name.replace('_', ' ')}: {outcome.get(name)} was recorded, {again.get(name)} came out"
    return None


def changes(
    record: Mapping[str, Any],
    code: Mapping[str, str],
    recorded: Iterable[Mapping[str, Any]],
    now: Iterable[Mapping[str, Any]],
) -> list[str]:
    """What was not as it was when the run was made, in sentences.

    Args:
        record: the run's.
        code: `version` and `method_sha256` of now.
        recorded: the device of each item that was attributed again, as the record says.
        now: the device that each was attributed on again.
    """
    sentences = []
    if code["method_sha256"] != record["code"]["method_sha256"]:
        sentences.append(
            f"The code of the method is another: {code['method_sha256'][:12]} (version {code['version']}),"
            f" the run recorded {record['code']['method_sha256'][:12]} (version {record['code']['version']})."
        )
    pairs = ((_in_words(one), _in_words(two)) for one, two in zip(recorded, now, strict=True))
    for then, here in dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]):
        sentences.append(f"The machine is another: {here}; the run recorded {then}.")
    return sentences


def _in_words(device: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(device.items()))  # JSON keeps no order
