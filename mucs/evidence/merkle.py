"""Merkle trees (RFC 6962, section 2.1): one digest for many leaves, and short proofs that a leaf is among them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _levels(hashes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """From the leaves' hashes up to the root; the last of an odd number goes up as it is."""
    yield hashes
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else []
        hashes = [*map(node_hash, hashes[:-1:2], hashes[1::2]), *odd]
        yield hashes


def root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order; SHA-256 of nothing for none."""
    for level in _levels(hashes):
        hashes = level
    return hashes[0] if hashes else hashlib.sha256().digest()


def complete(hashes: Sequence[bytes], start: int) -> list[tuple[int, bytes]]:
    """The fewest complete subtrees over leaves that stand in a row from index `start`, left to right: (height, root) of each."""
    left, right, height = [], [], 0
    sha256 = hashlib.sha256
    while hashes:
        if start % 2:
            left.append((height, hashes[0]))
            hashes = hashes[1:]
        if len(hashes) % 2:
            right.append((height, hashes[-1]))
            hashes = hashes[:-1]
        # as node_hash does it, without a call for each
        hashes = [sha256(b"\x01" + a + b).digest() for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
        start, height = (start + 1) // 2, height + 1
    return left + right[::-1]


class Growing:
    """A tree that takes complete subtrees from left to right, and keeps one hash a height."""

    def __init__(self) -> None:
        self._roots: list[tuple[int, bytes]] = []

    def add(self, subtrees: Iterable[tuple[int, bytes]]) -> None:
        """Add what `complete` gives for the leaves that come next."""
        for height, hashed in subtrees:
            while self._roots and self._roots[-1][0] == height:
                hashed = node_hash(self._roots.pop()[1], hashed)
                height += 1
            self._roots.append((height, hashed))

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._roots:
            return root([])
        *rest, (_, hashed) = self._roots
        for _, other in reversed(rest):
            hashed = node_hash(other, hashed)
        return hashed


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes, from the bottom up, that make the root together with the leaf at an index (from 0)."""
    found = []
    for level in _levels(hashes):
        sibling = index ^ 1
        if sibling < len(level):
            found.append(level[sibling])
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
