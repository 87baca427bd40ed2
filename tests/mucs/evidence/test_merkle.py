"""Merkle trees are those of RFC 6962, and a path proves its leaf and no other."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mucs.evidence import merkle

LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "60" * 16)]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1 writes it, by recursion."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return merkle_node(by_definition(leaves[:k]), by_definition(leaves[k:]))


def path_by_definition(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH as section 2.1.1 writes it, by recursion."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if index < k:
        return [*path_by_definition(index, leaves[:k]), by_definition(leaves[k:])]
    return [*path_by_definition(index - k, leaves[k:]), by_definition(leaves[:k])]


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def merkle_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def packed(leaves: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(map(leaf_hash, leaves)), "V32")


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


def test_the_published_value_for_one_empty_leaf():
    root = merkle.root(packed([b""])).hex()
    assert root == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@pytest.mark.parametrize("count", range(9))
def test_the_root_is_the_one_of_the_definition(count):
    leaves = (LEAVES * 2)[:count]
    assert merkle.root(packed(leaves)) == by_definition(leaves)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70), st.data())
def test_a_path_proves_its_leaf_and_no_other(leaves, data):
    hashes = packed(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    hashed, root, path = leaf_hash(leaves[index]), merkle.root(hashes), merkle.path(hashes, index)
    assert root == by_definition(leaves)
    assert path == path_by_definition(index, leaves)
    assert merkle.root_from(hashed, index, len(leaves), path) == root
    assert merkle.root_from(leaf_hash(b"another"), index, len(leaves), path) != root
    assert merkle.root_from(hashed, index, len(leaves), [*path, root]) is None
    assert merkle.root_from(hashed, len(leaves), len(leaves), path) is None
    if path:
        assert merkle.root_from(hashed, index, len(leaves), path[:-1]) is None
        assert merkle.root_from(hashed, index, len(leaves), [root, *path[1:]]) != root


@settings(deadline=None)
@given(st.integers(0, 70), st.data())
def test_complete_subtrees_of_any_pieces_make_the_tree(count, data):
    leaves = numbered(count)
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, count), max_size=8))), count]
    pieces = [np.arange(start, end) for start, end in itertools.pairwise(cuts)]
    several = np.concatenate(data.draw(st.permutations(pieces)))  # in one call, and not in the tree's order
    tree, at_once = merkle.Growing(), merkle.Growing()
    for places in pieces:
        tree.add(merkle.complete(packed(leaves)[places], places))
    found = merkle.complete(packed(leaves)[several], several)
    at_once.add(found)
    assert tree.root() == at_once.root() == by_definition(leaves)
    for first, height, root in found:
        assert first % 2**height == 0
        assert root == by_definition(leaves[first : first + 2**height])


@pytest.mark.parametrize("count", [999, 2**11, 99_999])
def test_big_trees_are_those_of_the_definition(count):
    leaves = numbered(count)
    hashes, tree = packed(leaves), merkle.Growing()
    tree.add(merkle.complete(hashes[:777], np.arange(777)))
    tree.add(merkle.complete(hashes[777:], np.arange(777, count)))
    assert merkle.root(hashes) == tree.root() == by_definition(leaves)
    assert merkle.path(hashes, count - 2) == path_by_definition(count - 2, leaves)
