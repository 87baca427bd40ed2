"""Random streams that depend on what they are for, and on nothing that ran before."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, purpose: str, item: str = "") -> torch.Generator:
    """A CPU generator seeded by SHA-256 over (seed, purpose, item digest)."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{item}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
