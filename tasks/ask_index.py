"""Ask index: have the index say which training items are likely behind a picture, and tell the log."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mucs import InputError
from mucs.canonical import canonical
from mucs.images.rows import rows_and_holders
from mucs.ledger import Said
from tasks.device import choose_device, deterministic
from tasks.indexes import current, read_index, subject
from tasks.ledgers import writing
from tasks.plan import Plan
from tasks.prepared import prepared

if TYPE_CHECKING:
    from mucs.index import Provisional

MOST = 50  # training items that are told of a picture
DECIMALS = 6


def ask_index(plan: Plan, ledger: str, log: str) -> str:
    """Have the index that is used now say what is likely behind the only picture of a plan's batch; the log keeps what it said.

    Args:
        plan: With a batch of one, whose settings are those of the index.
        ledger: The ledger's place.
        log: Its log's.

    Returns:
        SHA-256 of the picture's manifest row, by which the question `provisional` finds the answer.

    Raises:
        InputError: If there is no index of these inputs and settings, or anything else cannot be used.
    """
    from mucs.index import vectors

    of, picture = subject(plan), plan.images("batch").row(0)
    row_sha256: str = plan.images("batch").row_sha256[0].as_py()
    with writing(ledger, log) as opened:
        opened.sync()
        sha256 = current(opened, of)
        if sha256 is None:
            raise InputError(
                "There is no index of this checkpoint, training set and settings, by this version of the method; make one with `mucs index`."
            )
        answered = "SELECT count(*) FROM provisional_answers WHERE row_sha256 = ? AND index_sha256 = ?"
        if opened.one(answered, row_sha256, sha256):
            return row_sha256
        index = read_index(log, sha256)
        index.check(of)
        with deterministic(choose_device(plan.device)):
            given = prepared(plan)
            assert given.generated is not None
            found = index.ask(vectors(given.model, given.generated[:1])[0], MOST)
        edges = canonical(edges_of(plan, found))
        said = {
            "index": sha256,
            "generated": {"id": picture["id"], "row_sha256": row_sha256, "sha256": picture["sha256"]},
            "edges": hashlib.sha256(edges).hexdigest(),
        }
        opened.say(lambda _: None if opened.one(answered, row_sha256, sha256) else Said("provisional", said, [edges]))
    return row_sha256


def edges_of(plan: Plan, found: Sequence[Provisional]) -> list[dict[str, Any]]:
    """Provisional edges as the log keeps them, with the training items as the ledger names them."""
    rows = plan.images("training").rows.take([each.item for each in found])
    named = zip(
        found,
        rows_and_holders(rows)["row_sha256"].to_pylist(),
        *(rows[c].to_pylist() for c in ("id", "sha256")),
        strict=True,
    )
    return [
        {"rank": each.rank, "row_sha256": row_sha256, "training": name, "sha256": sha256}
        | {key: None if value is None else round(value, DECIMALS) for key, value in numbers(each).items()}
        for each, row_sha256, name, sha256 in named
    ]


def numbers(found: Provisional) -> dict[str, float | None]:
    """What is said of a training item in numbers."""
    return {name: getattr(found, name) for name in ("likeness", "predicted", "low", "high", "among_best")}
