"""Pseudonyms: what entries and objects have in place of the names of rights holders, so that a name can be erased and all still holds.

A pseudonym is the SHA-256 of a salt and a name. Both lie in a file of their own beside the log, which is never locked: without it,
nobody can tell whose pseudonym it was.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mucs.evidence.store import Store
from mucs.parse import load_json

PSEUDONYM = re.compile(r"holder:[0-9a-f]{64}")
AT_ONCE = 32  # names that are looked up side by side


class Pseudonyms:
    """The pseudonyms of a log's rights holders.

    Args:
        store: The log's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[str, str] = {}  # pseudonym by name
        self._names: dict[str, str] = {}  # name by pseudonym

    def of(self, name: str) -> str:
        """The pseudonym of a name, which is made if there is none; always the same until the name is erased.

        Raises:
            InputError: If the store does not answer.
        """
        if name not in self._known:
            place = _of_name(name)
            body = self.store.get(place)
            if body is None:
                made = json.dumps({"name": name, "salt": secrets.token_hex(16)}, ensure_ascii=False).encode()
                self.store.put(place, made)
                body = self.store.get(place) or made  # whoever was first
            pseudonym = _pseudonym(body)
            self.store.put(_of_pseudonym(pseudonym), place.encode())
            self._known[name] = pseudonym
        return self._known[name]

    def of_all(self, names: Iterable[str]) -> dict[str, str]:
        """The pseudonym of each of many names, as `of` gives it."""
        asked = sorted(set(names))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(asked, pool.map(self.of, asked), strict=True))

    def name(self, text: str) -> str:
        """The name behind a pseudonym; "erased" and a few of its digits if nobody knows any more; any other text as it is."""
        if not PSEUDONYM.fullmatch(text):
            return text
        if text not in self._names:
            place = self.store.get(_of_pseudonym(text))
            body = self.store.get(place.decode(errors="replace")) if place else None
            known = body is not None and _pseudonym(body) == text
            self._names[text] = str(load_json(body)["name"]) if body is not None and known else erased(text)
        return self._names[text]

    def names(self, texts: Iterable[str]) -> dict[str, str]:
        """The name behind each of many pseudonyms, as `name` gives it."""
        asked = sorted(set(texts))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(asked, pool.map(self.name, asked), strict=True))

    def in_json(self, text: str) -> str:
        """JSON with the names behind the pseudonyms in it."""
        names = self.names(PSEUDONYM.findall(text))
        return PSEUDONYM.sub(lambda found: json.dumps(names[found[0]], ensure_ascii=False)[1:-1], text)

    def of_known(self, name: str) -> str | None:
        """The pseudonym of a name; None if it has none."""
        body = self.store.get(_of_name(name))
        return None if body is None else _pseudonym(body)

    def hide(self, name: str) -> None:
        """Have nobody find the name of its pseudonym any more; the name and its salt are still there."""
        pseudonym = self.of_known(name)
        if pseudonym is not None:
            self.store.delete(_of_pseudonym(pseudonym))
            self._names.pop(pseudonym, None)

    def erase(self, name: str) -> None:
        """Remove a name and its salt."""
        self.hide(name)
        self.store.delete(_of_name(name))
        self._known.pop(name, None)


def erased(pseudonym: str) -> str:
    """What stands in place of a name that was erased."""
    return f"erased {pseudonym.removeprefix('holder:')[:8]}"


def _of_name(name: str) -> str:
    return f"holders/names/{hashlib.sha256(name.encode()).hexdigest()}"


def _of_pseudonym(pseudonym: str) -> str:
    return f"holders/pseudonyms/{pseudonym.removeprefix('holder:')}"


def _pseudonym(body: bytes) -> str:
    said: dict[str, Any] = load_json(body)
    return f"holder:{hashlib.sha256((said['salt'] + said['name']).encode()).hexdigest()}"
