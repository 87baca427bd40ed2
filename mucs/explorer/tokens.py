"""Tokens: secrets that people and programs show to the explorer, and the file that has their digests.

A token is 32 random bytes. Nobody can guess that, so its SHA-256 is kept as it is: slow hashes are for passwords, which people choose.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.explorer.roles import HOLDER, ROLES
from mucs.files import read_at_most, replacing
from mucs.parse import load_json
from mucs.text import is_fit
from mucs.written import nearest, one_name

PREFIX, BYTES = "mucs_", 32
FORM = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
MOST_BYTES = 10_000_000  # of a file
MOST_DAYS = 3660


@dataclass(frozen=True)
class Token:
    """What the file says of a token.

    Attributes:
        id: By which it is listed and ended.
        name: Whose it is, as entries of the log name him.
        role: One of ROLES.
        holder: Of the role holder, the rights holder.
        made: When, as RFC 3339.
        until: From when it counts no longer, as RFC 3339.
        sha256: Of the token, in hexadecimal.
    """

    id: str
    name: str
    role: str
    holder: str | None
    made: str
    until: str
    sha256: str

    def counts(self, now: datetime.datetime) -> bool:
        """Whether it has not expired."""
        return now < datetime.datetime.fromisoformat(self.until)


class Tokens:
    """The tokens of a file, which is looked at anew whenever it is another.

    Args:
        path: The file's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: object = None
        self._all: list[Token] = []
        self._reading = threading.Lock()

    def all(self) -> list[Token]:
        """All of them, in the order in which they were made.

        Raises:
            InputError: If the file is missing, cannot be read, or others than its owner could have written it.
        """
        with self._reading:
            try:
                found = self.path.stat()
            except OSError as error:
                reason = str(error.strerror).lower()
                raise InputError(
                    f"The tokens {self.path} cannot be read ({reason}); make one with `mucs token new`, or give another --tokens."
                ) from None
            seen = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
            if seen != self._seen:
                self._all = self._read(found.st_mode)
                self._seen = seen
            return self._all

    def find(self, secret: str) -> Token | None:
        """The token that this is; None if there is none, it was ended, or has expired. It takes as long whichever of these it is.

        Raises:
            InputError: As `all` does.
        """
        digest = _digest(secret)
        match = None
        for token in self.all():
            if hmac.compare_digest(token.sha256, digest):
                match = token
        return match if match and match.counts(datetime.datetime.now(datetime.UTC)) else None

    def called(self, id: str) -> Token | None:
        """The token of an id, unless it was ended or has expired.

        Raises:
            InputError: As `all` does.
        """
        match = next((token for token in self.all() if token.id == id), None)
        return match if match and match.counts(datetime.datetime.now(datetime.UTC)) else None

    def add(self, name: str, role: str, holder: str | None, days: int) -> tuple[str, Token]:
        """Make a token.

        Args:
            name: Whose it is; empty for the rights holder's own.
            role: One of ROLES.
            holder: The rights holder, of the role holder alone.
            days: For how many it counts, 1 to MOST_DAYS.

        Returns:
            The token, which is kept nowhere, and what the file says of it.

        Raises:
            InputError: If any of these cannot be, or the file cannot be read or written.
        """
        if role not in ROLES:
            raise InputError(f"There is no role {role!r}{nearest(role, ROLES)}; give {', '.join(ROLES)}.")
        if (holder is not None) != (role == HOLDER):
            raise InputError(
                "The role holder needs --holder with the name of a rights holder, and no other role takes it."
            )
        of, whose = None if holder is None else one_name(holder), one_name(name or holder or "")
        for said in (whose, of):
            if said is not None and (not said or not is_fit(said)):
                raise InputError(
                    "A name is empty, longer than 1000 characters, or cannot be shown; give another with --name."
                )
        if not 0 < days <= MOST_DAYS:
            raise InputError(f"A token cannot count for {days} days; give 1 to {MOST_DAYS}.")
        secret, now = PREFIX + secrets.token_urlsafe(BYTES), datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(days=days)
        made, ends = (each.isoformat(timespec="seconds") for each in (now, until))
        with self._writing() as tokens:
            token = Token(_new_id(tokens), whose, role, of, made, ends, _digest(secret))
            tokens.append(token)
        return secret, token

    def end(self, id: str) -> Token:
        """Have a token count no longer, from now on.

        Raises:
            InputError: If there is none of that id, or the file cannot be read or written.
        """
        with self._writing() as tokens:
            match = next((token for token in tokens if token.id == id), None)
            if match is None:
                raise InputError(f"There is no token {id[:80]!r}; see them with `mucs token list`.")
            tokens.remove(match)
        return match

    @contextlib.contextmanager
    def _writing(self) -> Iterator[list[Token]]:
        """The tokens, to be changed by one writer at a time; then the file is another, in one step."""
        folder = self.path.absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = list(self.all()) if self.path.exists() else []
            yield tokens
            with replacing(self.path) as partial:
                said = json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=1)
                partial.touch(0o600)
                partial.write_text(said + "\n")
        finally:
            os.close(lock)

    def _read(self, mode: int) -> list[Token]:
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InputError(
                f"Others can write to the tokens {self.path}; run `chmod 600` on it, and see who is in it."
            )
        try:
            said: dict[str, Any] = load_json(read_at_most(self.path, MOST_BYTES))
            tokens = [Token(**each) for each in said["tokens"]]
            for token in tokens:
                known = token.role in ROLES and (token.holder is not None) == (token.role == HOLDER)
                texts = {k: v for k, v in asdict(token).items() if k != "holder" or v is not None}
                if (
                    not all(isinstance(v, str) and v.isprintable() for v in texts.values())
                    or not token.sha256.isascii()
                ):
                    raise ValueError
                if not known or not datetime.datetime.fromisoformat(token.until).tzinfo:
                    raise ValueError
            return tokens
        except (OSError, ValueError, TypeError, LookupError):
            raise InputError(
                f"The tokens {self.path} cannot be read as such; put the file back, or make a new one with `mucs token new`."
            ) from None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _new_id(tokens: list[Token]) -> str:
    while True:
        id = secrets.token_hex(4)
        if id not in {token.id for token in tokens}:
            return id
