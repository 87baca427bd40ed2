"""Many strings hashed as a column have the digests that hashlib gives each."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mucs.evidence import hashing
from mucs.evidence.hashing import sha256_each


def strings(count: int, size: int) -> np.ndarray:
    raw = np.random.default_rng(count).integers(0, 256, (count, size), np.uint8)
    raw[::3, -2:] = 0  # a zero at an end is a part of the string
    raw[1::7] = 0
    return raw.reshape(-1).view(f"V{size}")


def one_by_one(given: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(string).digest() for string in given.tolist()]


@pytest.mark.parametrize("size", [1, 32, 65, 117])
@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 50_000, 200_003])
def test_each_digest_is_that_of_hashlib(count, size):
    given = strings(count, size)
    hashed = sha256_each(given)
    assert hashed.dtype == np.dtype("V32")
    assert hashed.tolist() == one_by_one(given)


def test_digests_that_end_in_zero_are_whole():
    given = strings(50_000, 65)
    ends = [digest for digest in sha256_each(given).tolist() if digest.endswith(b"\x00")]
    assert len(ends) > 100
    assert {len(digest) for digest in ends} == {32}


def test_every_other_of_a_column_is_hashed_alone():
    given = strings(120_000, 65)
    assert sha256_each(given[::2]).tolist() == one_by_one(given[::2])


def test_blocks_and_threads_change_nothing(monkeypatch):
    given = strings(60_000, 117)
    expected = one_by_one(given)
    monkeypatch.setattr(hashing, "BLOCK", 117 * 1_234 + 5)
    with ThreadPoolExecutor(4) as pool:
        for hashed in pool.map(sha256_each, [given] * 8):
            assert hashed.tolist() == expected
