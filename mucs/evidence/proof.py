"""Proofs: that one edge is among those that a run committed to, without showing the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence import merkle
from mucs.evidence.edges import EDGE_SCHEMA, NUMBERS
from mucs.evidence.leaves import leaf_hashes
from mucs.evidence.reading import DIGESTS

SHA256 = re.compile("[0-9a-fA-F]{64}")


def make_proof(
    edges: pa.Table, index: int, generated: Mapping[str, Any], training: Mapping[str, Any], run: str
) -> dict[str, Any]:
    """The proof, as JSON, of a run's edge at an index.

    edges: all of the run's, by generated row and rank. generated, training: the manifest rows of the edge's ends.
    """
    (proof,) = make_proofs(edges, {index: training}, generated, run)
    return proof


def make_proofs(
    edges: pa.Table, ends: Mapping[int, Mapping[str, Any]], generated: Mapping[str, Any], run: str
) -> list[dict[str, Any]]:
    """The proofs of several edges of one generated item, as `make_proof` gives them.

    ends: by the index of each edge, the manifest row of its training item.
    """
    hashes = leaf_hashes(edges)
    root, proofs = merkle.root(hashes).hex(), []
    for index, training in ends.items():
        (edge,) = edges.slice(index, 1).to_pylist()
        proofs.append(
            {
                "run": run,
                "root": root,
                "edges": len(hashes),
                "index": index,
                "path": [step.hex() for step in merkle.path(hashes, index)],
                "edge": {name: edge[name] for name in ("rank", *NUMBERS)},
                "generated": dict(generated),
                "training": dict(training),
            }
        )
    return proofs


def holds(proof: Mapping[str, Any], root: str) -> bool:
    """Whether the edge of a proof, between just these two manifest rows, is in the tree with that root.

    Whatever the proof says of the edge and its ends is covered by the root, or it is none. Raises InputError if it is no
    proof at all, or `root` no SHA-256.
    """
    if not SHA256.fullmatch(root):
        raise InputError(f"{root[:80]!r} is no Merkle root; give the 64 digits that the run published.")
    try:
        _check_form(proof)
        edge = proof["edge"] | {
            "generated_row_sha256": digest(proof["generated"]),
            "training_row_sha256": digest(proof["training"]),
        }
        schema = pa.schema([EDGE_SCHEMA.field(name) for name in (*DIGESTS, "rank", *NUMBERS)])
        hashes = leaf_hashes(pa.Table.from_pylist([{name: edge[name] for name in schema.names}], schema))
        steps = [bytes.fromhex(step) for step in proof["path"]]
        found = merkle.root_from(hashes[0].tobytes(), proof["index"], proof["edges"], steps)
    except (KeyError, TypeError, ValueError, OverflowError, pa.ArrowException):
        raise InputError("The file is not a proof, or parts of it are missing; ask for it again.") from None
    return found is not None and found.hex() == root.lower()


def _check_form(proof: Mapping[str, Any]) -> None:
    """ValueError, TypeError or KeyError unless a proof has the form that `make_proof` gives it."""
    edge = proof["edge"]
    counts, numbers = [proof["index"], proof["edges"], edge["rank"]], [edge[name] for name in NUMBERS]
    rows = [proof["generated"], proof["training"]]
    if (
        edge.keys() != {"rank", *NUMBERS}
        or any(type(each) is not int for each in counts)
        or any(type(each) not in (int, float, type(None)) for each in numbers)
        or edge["score"] is None
        or any(type(each) is not dict for each in rows)
        or any(not SHA256.fullmatch(step) for step in proof["path"])
    ):
        raise ValueError
