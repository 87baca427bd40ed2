"""Version: which code reads images."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from mucs.digests import source_sha256

IMAGES_SHA256 = source_sha256(Path(__file__).parent, f"pillow {version('pillow')}")  # when it is imported
