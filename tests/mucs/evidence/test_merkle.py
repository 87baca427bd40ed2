"""Merkle trees are those of RFC 6962, and a path proves its leaf and no other."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucs.evidence import merkle

LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "60" * 16)]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1 writes it, by recursion."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


def test_the_published_value_for_one_empty_leaf():
    root = merkle.root([merkle.leaf_hash(b"")]).hex()
    assert root == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@pytest.mark.parametrize("count", range(9))
def test_the_root_is_the_one_of_the_definition(count):
    leaves = (LEAVES * 2)[:count]
    assert merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]) == by_definition(leaves)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40), st.data())
def test_a_path_proves_its_leaf_and_no_other(leaves, data):
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle.root(hashes), merkle.path(hashes, index)
    assert root == by_definition(leaves)
    assert merkle.root_from(hashes[index], index, len(leaves), path) == root
    assert merkle.root_from(merkle.leaf_hash(b"another"), index, len(leaves), path) != root
    assert merkle.root_from(hashes[index], index, len(leaves), [*path, root]) is None
    assert merkle.root_from(hashes[index], len(leaves), len(leaves), path) is None
    if path:
        assert merkle.root_from(hashes[index], index, len(leaves), path[:-1]) is None
        assert merkle.root_from(hashes[index], index, len(leaves), [root, *path[1:]]) != root
