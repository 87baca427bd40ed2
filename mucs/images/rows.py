"""Rows: a manifest's rows as canonical JSON (RFC 8785), and their SHA-256."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 65_536
ESCAPED = r'[\x00-\x1f"\\]'  # what JSON writes in another way


def canonical_rows(rows: pa.Table) -> pa.Table:
    """The canonical JSON of each row without its missing values, and its digest.

    Args:
        rows: Columns of strings; null is missing.

    Returns:
        The columns `row_sha256` (hexadecimal) and `said` (the JSON), of which the first is what
        `mucs.canonical.digest` gives for the row as a dictionary.
    """
    schema = pa.schema([("row_sha256", pa.string()), ("said", pa.string())])
    blocks = []
    for block in rows.to_batches(max_chunksize=BLOCK):
        said = _as_json(block)
        digests = pa.array(
            [hashlib.sha256(text).hexdigest() for text in said.cast(pa.binary()).to_pylist()], pa.string()
        )
        blocks.append(pa.record_batch([digests, said], schema))
    return pa.Table.from_batches(blocks, schema)


def rows_and_holders(rows: pa.Table) -> pa.Table:
    """The canonical JSON and digest of each row without its rights holder, whose name can be erased, and the rights holder beside it.

    Args:
        rows: As `canonical_rows` takes them, with a column `rights_holder`.

    Returns:
        The columns `row_sha256`, `said` and `rights_holder`.
    """
    return canonical_rows(rows.drop_columns(["rights_holder"])).append_column("rights_holder", rows["rights_holder"])


def _as_json(block: pa.RecordBatch) -> pa.Array:
    names = sorted(block.schema.names, key=lambda name: name.encode("utf-16-be"))  # RFC 8785, section 3.2.3
    if not names:
        return pa.array(["{}"] * block.num_rows, pa.string())
    members = []
    for name in names:
        values = block[name]
        if pc.any(pc.match_substring_regex(values, ESCAPED)).as_py():
            escaped = [None if v is None else json.dumps(v, ensure_ascii=False)[1:-1] for v in values.to_pylist()]
            values = pa.array(escaped, pa.string())
        start = "," + json.dumps(name, ensure_ascii=False) + ':"'
        members.append(pc.fill_null(pc.binary_join_element_wise(start, values, '"', ""), ""))
    inner = pc.binary_replace_slice(pc.binary_join_element_wise(*members, ""), 0, 1, "{")  # for the first comma
    return pc.binary_join_element_wise(inner, "}", "")
