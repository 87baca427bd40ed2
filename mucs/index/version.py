"""Version: which code of the index this is."""

from __future__ import annotations

from pathlib import Path

from mucs.digests import source_sha256

INDEX_SHA256 = source_sha256(Path(__file__).parent)  # when it is imported: the source may change while the code runs
