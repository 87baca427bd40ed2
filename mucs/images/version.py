"""Version: which code reads images, for what is kept of them, so that what other code made is never taken for its own."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path


def source_sha256(folder: Path, *words: str) -> str:
    """SHA-256 over the Python files of a folder, and words, in hexadecimal."""
    sha = hashlib.sha256("\n".join(words).encode())
    for path in sorted(folder.glob("*.py")):
        sha.update(f"\n{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return sha.hexdigest()


IMAGES_SHA256 = source_sha256(Path(__file__).parent, f"pillow {version('pillow')}")  # when it is imported
