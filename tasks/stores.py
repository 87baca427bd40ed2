"""Stores: the store at a place, and names there that only these bytes may have."""

from __future__ import annotations

import datetime
from pathlib import Path

from mucs import InputError
from mucs.evidence.store import Folder, Store
from tasks.bucket import Bucket


def open_store(place: str) -> Store:
    """The store at a place.

    Args:
        place: A folder, or `s3://bucket/prefix`.

    Returns:
        The store; nothing has been asked of it yet.

    Raises:
        InputError: If the place is of neither form.
    """
    return Bucket(place) if "://" in place or place.startswith("s3:") else Folder(Path(place))


def claim(store: Store, name: str, body: bytes | Path, until: datetime.datetime | None = None) -> None:
    """Put bytes under a name that no others may have; all are as `Store.put` takes them.

    Raises:
        InputError: If there are others, or if the store does not answer or refuses.
    """
    if not store.put(name, body, until):
        raise InputError(f"{store.place}/{name} holds other bytes; find out who wrote them, and publish elsewhere.")
