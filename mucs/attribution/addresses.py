"""Content addresses: what something was made from, as one digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def address(**about: Any) -> str:
    """SHA-256 over JSON values by name, whatever their order, in hexadecimal."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
