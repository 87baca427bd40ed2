"""The outcome of a generated item: what a run says of it besides its edges. Record and ledger follow from this list."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from mucs.attribution import Attribution

OUTCOME = pa.schema(  # as `attributions` of schema.sql describes it; null is what was not measured
    [
        pa.field("converged", pa.bool_(), nullable=False),
        pa.field("steps", pa.int32(), nullable=False),
        pa.field("null_loss", pa.float64(), nullable=False),
        pa.field("forget_loss", pa.float64(), nullable=False),
        pa.field("retain_loss", pa.float64(), nullable=False),
        pa.field("probe_before", pa.float64(), nullable=False),
        pa.field("probe_after", pa.float64(), nullable=False),
        pa.field("candidates", pa.int32(), nullable=False),
        pa.field("survivors", pa.int32(), nullable=False),
        pa.field("held_out", pa.int32()),
        pa.field("held_out_ks", pa.float64()),
        pa.field("tie_p_value", pa.float64()),
        pa.field("recall", pa.json_()),
        pa.field("missed", pa.json_()),
    ]
)
LATER = (
    "held_out",
    "tie_p_value",
    "missed",
)  # earlier records do not have these, and have others that are read no more


def outcome(attribution: Attribution, candidates: int) -> dict[str, Any]:
    """A generated item's outcome by the names of OUTCOME, as JSON.

    Args:
        attribution: what was measured.
        candidates: how many training items there are.
    """
    unseen = attribution.unseen and len(attribution.unseen.items)
    counts = {"candidates": candidates, "survivors": len(attribution.items), "held_out": unseen}
    missed = attribution.missed and asdict(attribution.missed)
    made = counts | {"missed": missed}
    return {
        field.name: _or_null(made[field.name] if field.name in made else getattr(attribution, field.name), field)
        for field in OUTCOME
    }


def _or_null(value: Any, field: pa.Field) -> Any:
    return None if field.nullable and isinstance(value, float) and math.isnan(value) else value
