"""Merkle trees (RFC 6962, section 2.1): one digest for many leaves, and short proofs that a leaf is among them.

Hashes of many leaves or nodes are an array, (N,) V32; a single one is bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

import numpy as np

from mucs.evidence.hashing import DIGEST, sha256_each

LEAF_PREFIX, NODE_PREFIX = 0, 1  # the byte that comes before what is hashed of a leaf, and of a node
NODE = np.dtype([("prefix", "u1"), ("left", DIGEST), ("right", DIGEST)])

Subtree = tuple[int, int, bytes]  # a complete one: which leaf of the tree is its first, its height, its root


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and both children."""
    return hashlib.sha256(bytes([NODE_PREFIX]) + left + right).digest()


def _node_hashes(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The same of many nodes."""
    nodes = np.empty(len(left), NODE)
    nodes["prefix"], nodes["left"], nodes["right"] = NODE_PREFIX, left, right
    return sha256_each(nodes)


def _levels(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """From the leaves' hashes up to the root; the last of an odd number goes up as it is."""
    yield hashes
    while len(hashes) > 1:
        even = len(hashes) // 2 * 2
        hashes = np.concatenate([_node_hashes(hashes[:even:2], hashes[1:even:2]), hashes[even:]])
        yield hashes


def root(hashes: np.ndarray) -> bytes:
    """The root over leaf hashes in order; SHA-256 of nothing for none."""
    for level in _levels(hashes):
        hashes = level
    return hashes[0].tobytes() if len(hashes) else hashlib.sha256().digest()


def complete(hashes: np.ndarray, places: np.ndarray) -> list[Subtree]:
    """The fewest complete subtrees over some leaves of a tree, left to right.

    Args:
        hashes: (N,) V32, of the leaves.
        places: (N,) integers, which leaf of the tree each is, from 0. Those that stand in a row here as there share subtrees.
    """
    found: list[Subtree] = []
    height = 0
    while len(hashes):
        left = np.flatnonzero((places[:-1] % 2 == 0) & (places[1:] == places[:-1] + 1))
        alone = np.ones(len(hashes), bool)
        alone[left] = alone[left + 1] = False
        found += zip((places[alone] << height).tolist(), repeat(height), hashes[alone].tolist(), strict=False)
        hashes, places, height = _node_hashes(hashes[left], hashes[left + 1]), places[left] // 2, height + 1
    return sorted(found)


class Growing:
    """A tree that takes complete subtrees from left to right, and keeps one hash a height."""

    def __init__(self) -> None:
        self._roots: list[tuple[int, bytes]] = []

    def add(self, subtrees: Iterable[Subtree]) -> None:
        """Add what `complete` gives for the leaves that come next."""
        for _, height, hashed in subtrees:
            while self._roots and self._roots[-1][0] == height:
                hashed = node_hash(self._roots.pop()[1], hashed)
                height += 1
            self._roots.append((height, hashed))

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._roots:
            return hashlib.sha256().digest()
        *rest, (_, hashed) = self._roots
        for _, other in reversed(rest):
            hashed = node_hash(other, hashed)
        return hashed


def path(hashes: np.ndarray, index: int) -> list[bytes]:
    """The hashes, from the bottom up, that make the root together with the leaf at an index (from 0)."""
    found = []
    for level in _levels(hashes):
        sibling = index ^ 1
        if sibling < len(level):
            found.append(level[sibling].tobytes())
        index //= 2
    return found


def root_from(hashed: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root of a tree of `size` leaves that has this leaf hash at the index; None if the path has not the right length."""
    last, rest = size - 1, list(path)
    if not 0 <= index <= last:
        return None
    while last:
        if index % 2 or index < last:
            if not rest:
                return None
            other = rest.pop(0)
            hashed = node_hash(other, hashed) if index % 2 else node_hash(hashed, other)
        index, last = index // 2, last // 2
    return None if rest else hashed
