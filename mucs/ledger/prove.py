"""Prove: find an edge of the ledger, and write its proof."""

from __future__ import annotations

import json
from typing import Any

from mucs import InputError
from mucs.evidence.proof import make_proof
from mucs.ledger.ledger import Ledger


def prove(ledger: Ledger, generated: str, training: str, as_of: str = "infinity") -> dict[str, Any]:
    """The proof of the edge between two items (each its id, or the start of its SHA-256), in the run that speaks, or spoke then.

    Raises InputError unless there is exactly one such edge.
    """
    found = ledger.ask("edge", generated=generated, training=training, as_of=as_of)
    if not found:
        raise InputError(
            f"The ledger has no edges between {generated!r} and {training!r}; see those of a generated item with `mucs why`."
        )
    if len(found) > 1:
        raise InputError(
            f"The ledger has {len(found)} edges between items called {generated!r} and {training!r}; name them by the start of their SHA-256."
        )
    (edge,) = found
    edges = ledger.edges(edge["run_id"])
    pairs = zip(edges["generated_row_sha256"].to_pylist(), edges["training_row_sha256"].to_pylist(), strict=True)
    index = list(pairs).index((edge["generated_row_sha256"], edge["training_row_sha256"]))
    return make_proof(edges, index, json.loads(edge["generated"]), json.loads(edge["training"]), edge["run"])
