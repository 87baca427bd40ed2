"""Version: which code this is, for everything that is kept, so that what other code made is never taken for its own."""

from __future__ import annotations

import hashlib
from pathlib import Path


def code_sha256(*files: str) -> str:
    """SHA-256 over the source of the method, and of more files (as modules' `__file__` has them), in hexadecimal."""
    sha = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("*.py")), *map(Path, files)]:
        sha.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return sha.hexdigest()


METHOD_SHA256 = code_sha256()  # when it is imported: the source may change while the code runs
