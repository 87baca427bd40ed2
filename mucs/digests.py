"""Digests of code, for everything that is kept, so that what other code made is never taken for its own."""

from __future__ import annotations

import hashlib
from pathlib import Path


def source_sha256(*about: Path | str) -> str:
    """SHA-256 over source code, in hexadecimal.

    Args:
        about: Python files, folders of them, and words, such as the version of another package.
    """
    sha = hashlib.sha256()
    for each in about:
        for path in sorted(each.glob("*.py")) if isinstance(each, Path) and each.is_dir() else [each]:
            said = path if isinstance(path, str) else f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            sha.update(f"{said}\n".encode())
    return sha.hexdigest()
