"""Prove: find edges of the ledger, and write their proofs."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from mucs import InputError
from mucs.evidence.proof import make_proof, make_proofs
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
    index = _pairs(edges).index((edge["generated_row_sha256"], edge["training_row_sha256"]))
    return make_proof(edges, index, json.loads(edge["generated"]), json.loads(edge["training"]), edge["run"])


ENDS = """SELECT e.rank, r.run_id, g.row_sha256 AS of_generated, t.row_sha256 AS of_training, g.manifest_row AS generated, t.manifest_row AS training
FROM edges e JOIN runs r USING (run_id) JOIN generated_items g USING (generated_id) JOIN training_items t USING (training_id)
WHERE r.sha256 = ? AND g.id = ? AND g.sha256 = ? AND e.rank <= ? ORDER BY e.rank"""


def prove_best(ledger: Ledger, run: str, generated: str, image: str, top: int) -> list[dict[str, Any]]:
    """The proofs of the best edges of a generated item in a run, best first.

    Args:
        ledger: Open.
        run: The run's SHA-256.
        generated: The item's id.
        image: SHA-256 of its image.
        top: How many edges.
    """
    found = ledger.rows(ENDS, [run, generated, image, top])
    if not found:
        return []
    edges = ledger.edges(found[0]["run_id"])
    wanted = {(row["of_generated"], row["of_training"]): row for row in found}
    ends = {index: json.loads(wanted[pair]["training"]) for index, pair in enumerate(_pairs(edges)) if pair in wanted}
    return make_proofs(edges, ends, json.loads(found[0]["generated"]), run)


def _pairs(edges: pa.Table) -> list[tuple[str, str]]:
    """The rows of both ends of each edge of a run, in the order of its tree."""
    return list(zip(edges["generated_row_sha256"].to_pylist(), edges["training_row_sha256"].to_pylist(), strict=True))
