"""Canonical JSON (RFC 8785) and the SHA-256 digests built on it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """The one serialisation of a JSON value."""
    if _without_fractions(value):
        # manifest rows, statements: for these the standard library writes the same, fifty times as fast
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return rfc8785.dumps(value)


def _without_fractions(value: Any) -> bool:
    """Whether it is of texts and small whole numbers alone, with keys that any rule sorts in the same order."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(abs(value) < 2**53)
    if kind is dict:
        return all(type(k) is str and k.isascii() and _without_fractions(v) for k, v in value.items())
    return all(map(_without_fractions, value)) if kind is list else False


def digest(value: Any) -> str:
    """SHA-256 of a JSON value's canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
