"""A leaf has the bytes that it always had, whatever its numbers."""

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mucs.evidence.edges import NUMBERS
from mucs.evidence.hashing import sha256_each
from mucs.evidence.leaves import leaf_hashes, pack
from tests.mucs.evidence.test_edges import in_full, staged

OTHER_NAN = struct.unpack("<d", bytes.fromhex("010000000000f4ff"))[0]
NULL = bytes.fromhex("000000000000f87f")


def one_by_one(
    generated: list[bytes], training: list[bytes], rank: list[int], numbers: Sequence[Sequence[float]]
) -> list[bytes]:
    """Leaf hashes as they were made before they were made by column; numbers: those of each edge."""
    hashes = []
    for ends, place, values in zip(zip(generated, training, strict=True), rank, numbers, strict=True):
        coded = [NULL if np.isnan(value) else struct.pack("<d", value) for value in values]
        hashes.append(hashlib.sha256(b"\x00" + b"".join(ends) + struct.pack("<i", place) + b"".join(coded)).digest())
    return hashes


NUMBER = st.sampled_from([0.0, -0.0, float("nan"), OTHER_NAN]) | st.floats()


@settings(deadline=None)
@given(st.lists(st.tuples(*[NUMBER] * len(NUMBERS)), max_size=70), st.randoms(use_true_random=False))
def test_leaf_hashes_are_those_of_each_leaf(numbers, random):
    count = len(numbers)
    generated, training = ([random.randbytes(31) + b"\0" for _ in numbers] for _ in "gt")
    rank = [random.randrange(1, 2**31) for _ in numbers]
    columns = dict(zip(NUMBERS, np.array(numbers).reshape(count, len(NUMBERS)).T, strict=True))
    raw = [np.frombuffer(b"".join(digests), "V32") for digests in (generated, training)]
    packed = pack(raw[0], raw[1], np.array(rank, np.int32), columns)
    assert sha256_each(packed).tolist() == one_by_one(generated, training, rank, numbers)


def test_a_table_has_the_leaf_hashes_of_its_edges():
    table = in_full(staged())
    rows = table.to_pylist()
    generated, training = (
        [bytes.fromhex(row[f"{end}_row_sha256"]) for row in rows] for end in ("generated", "training")
    )
    numbers = [[np.nan if row[name] is None else row[name] for name in NUMBERS] for row in rows]
    assert leaf_hashes(table).tolist() == one_by_one(generated, training, [row["rank"] for row in rows], numbers)
