"""Edges as they are published: a Parquet file that anyone can read without the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from mucs.files import replacing

if TYPE_CHECKING:
    from mucs.attribution.ranking import Ranking

EDGE_SCHEMA = pa.schema(
    [
        ("generated_row_sha256", pa.string()),
        ("generated", pa.string()),
        ("generated_sha256", pa.string()),
        ("training_row_sha256", pa.string()),
        ("training", pa.string()),
        ("training_sha256", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("standard_error", pa.float32()),
        ("seed_spread", pa.float32()),
        ("p_value", pa.float64()),
        ("decoy_p_value", pa.float64()),
        ("decoy_z", pa.float32()),
    ]
)
# what edges to held-out items would be, had they been candidates: the same, with other names
UNSEEN_SCHEMA = pa.schema([field.with_name(field.name.replace("training", "held_out")) for field in EDGE_SCHEMA])
MOST_UNSEEN = 100  # of a generated item that are kept: a contract may count its best thousand, and most count ten
TEXT = pa.dictionary(pa.int32(), pa.string())  # as texts are handed to Parquet, which keeps them so
ENDS = ("row_sha256", "id", "sha256")  # what an edge says of each of its two items, in the order of EDGE_SCHEMA
NUMBERS = EDGE_SCHEMA.names[EDGE_SCHEMA.get_field_index("score") :]
# What is published has the digits that were measured and no others, so that it can be quoted, and is stored in a third of the
# space. A p-value is rounded up, so that it is never smaller than it was.
DECIMALS = {"score": 6, "standard_error": 6, "seed_spread": 6, "p_value": 6, "decoy_p_value": 6, "decoy_z": 3}
# What SQL selects to get the numbers of the ledger's `edges` as they were published
PUBLISHED = ", ".join(
    f"{name}::DOUBLE{'::FLOAT' if EDGE_SCHEMA.field(name).type == pa.float32() else ''} AS {name}" for name in NUMBERS
)
# digests repeat: with room for a dictionary of half a million, each takes two or three bytes and not forty
PARQUET = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 2**25}
ROW_GROUP = 2**20  # edges that lie together in the file, whatever they were given in


def item_edges(
    generated: Mapping[str, str], ranking: Ranking, others: pa.Table, schema: pa.Schema = EDGE_SCHEMA
) -> pa.Table:
    """The edges of one generated item, best first, with the columns of a schema and numbers as they were measured.

    Args:
        generated: the generated item's ENDS.
        ranking: what was measured; its K items index rows of `others`.
        others: (N,) the ENDS of all training items, or held-out ones, in the order that the ranking counts them in.
        schema: EDGE_SCHEMA, or UNSEEN_SCHEMA of held-out items.

    Returns:
        K rows; texts are dictionary-encoded, so that an edge takes about 60 bytes; NaN is what was not measured.
    """
    count = len(ranking.items)
    places = pa.array(ranking.items.numpy().astype(np.int32))
    same = pa.array(np.zeros(count, np.int32))
    numbers = {
        "score": ranking.scores,
        "standard_error": ranking.standard_errors,
        "seed_spread": ranking.seed_spread,
        "p_value": ranking.p_values,
        "decoy_p_value": ranking.decoy_p_values,
        "decoy_z": ranking.decoy_z,
    }
    return pa.table(
        [
            *(pa.DictionaryArray.from_arrays(same, pa.array([generated[name]])) for name in ENDS),
            *(pa.DictionaryArray.from_arrays(places, _whole(others[name])) for name in ENDS),
            pa.array(np.arange(1, count + 1, dtype=np.int32)),
            *(pa.array(numbers[name].numpy()) for name in NUMBERS),
        ],
        schema.names,
    )


def unseen_edges(generated: Mapping[str, str], ranking: Ranking, held_out: pa.Table) -> pa.Table:
    """The unseen edges of one generated item that are kept, with the columns of UNSEEN_SCHEMA; all are as `item_edges` has them."""
    return item_edges(generated, ranking.only(slice(MOST_UNSEEN)), held_out, UNSEEN_SCHEMA)


def write_edges(tables: Iterable[pa.Table], path: Path, schema: pa.Schema = EDGE_SCHEMA) -> None:
    """Write edges in one step, rounded to DECIMALS, NaN as null; the same edges give the same bytes, however they are cut.

    Args:
        tables: edges as `item_edges` gives them, in the order of the file; no more than a row group of them is held.
        path: the file, which is there whole or not at all.
        schema: theirs.
    """
    with replacing(path) as partial, pq.ParquetWriter(partial, coded(schema), **PARQUET) as writer:
        for group in _row_groups(tables):
            writer.write_table(as_published(group, schema))


def as_published(tables: list[pa.Table], schema: pa.Schema = EDGE_SCHEMA) -> pa.Table:
    """Edges as `item_edges` gives them, in the form of the file: rounded to DECIMALS, NaN as null, each text kept once."""
    kept = coded(schema)
    return pa.table([_published_column(tables, field) for field in kept], schema=kept)


def coded(schema: pa.Schema) -> pa.Schema:
    """A schema of edges as they are handed to Parquet."""
    return pa.schema([field.with_type(TEXT) if field.type == pa.string() else field for field in schema])


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """The same rows in groups of ROW_GROUP, the last with the rest."""
    group: list[pa.Table] = []
    room = ROW_GROUP
    for table in tables:
        while len(table) >= room:
            yield [*group, table[:room]]
            table, group, room = table[room:], [], ROW_GROUP
        group.append(table)
        room -= len(table)
    if room < ROW_GROUP:
        yield group


def _published_column(tables: list[pa.Table], field: pa.Field) -> pa.Array:
    """In one piece, as Parquet's pages begin where Arrow's pieces do."""
    chunks = [chunk for table in tables for chunk in table[field.name].chunks]
    if field.name in DECIMALS:
        values = np.concatenate([chunk.to_numpy(zero_copy_only=False).astype(np.float64) for chunk in chunks])
        return pa.array(
            rounded(values, DECIMALS[field.name], up=field.name.endswith("p_value")), field.type, from_pandas=True
        )
    if field.type != TEXT:
        return pa.concat_arrays(chunks).cast(field.type)
    if all(pa.types.is_dictionary(chunk.type) for chunk in chunks):
        return _recoded(chunks)
    return pa.concat_arrays(chunks).cast(pa.string()).dictionary_encode()


def _recoded(chunks: list[pa.DictionaryArray]) -> pa.DictionaryArray:
    """Dictionary-encoded pieces in one piece, with one dictionary of the texts that are there, in the order of their first.

    A dictionary that several pieces in a row share is looked at once.
    """
    dictionaries: list[pa.Array] = []
    places, first = [], 0
    for chunk in chunks:
        if not dictionaries or not _is_same(dictionaries[-1], chunk.dictionary):
            first += len(dictionaries[-1]) if dictionaries else 0
            dictionaries.append(chunk.dictionary)
        places.append(chunk.indices.to_numpy() + first)
    used = pa.array(np.concatenate(places)).dictionary_encode()
    texts = pa.concat_arrays(dictionaries).take(used.dictionary).cast(pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(texts.indices.take(used.indices), texts.dictionary)


def _is_same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays of texts are one in memory."""
    return [b and b.address for b in one.buffers()] == [b and b.address for b in other.buffers()] and (
        (one.offset, len(one)) == (other.offset, len(other))
    )


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece; a copy only if it lies in several."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def rounded(values: NDArray[np.float64], decimals: int, *, up: bool = False) -> NDArray[np.float64]:
    """To so many decimals: to the nearest, or up (but for what a float's last digit may be off)."""
    shorter = np.ceil(values * 10**decimals - 1e-6) / 10**decimals if up else values.round(decimals)
    return shorter + 0.0  # and not -0.0


def given_back(name: str, values: ArrayLike, decoys: int | None) -> NDArray[Any]:
    """What the ledger gives back of a column of published numbers: the same, if they are of `write_edges`.

    Args:
        name: one of NUMBERS.
        values: (N,), NaN for null.
        decoys: how many there were of them; a decoy p-value is kept as how many of these score as high.
    """
    given = np.asarray(values, np.float64)
    if name == "decoy_p_value":
        number = np.nan if decoys is None else 1 + decoys
        return rounded(np.round(given * number) / number, DECIMALS[name], up=True)
    return rounded(given, DECIMALS[name]).astype(EDGE_SCHEMA.field(name).type.to_pandas_dtype())
