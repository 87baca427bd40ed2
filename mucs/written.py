"""What people write: days, times, numbers, names and words, read exactly, so that nothing odd is taken for something else."""

from __future__ import annotations

import datetime
import difflib
import re
import unicodedata
from collections.abc import Iterable

from mucs import InputError
from mucs.text import is_fit

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(
    rf"{DAY.pattern}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,6}})?)?(Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?"
)
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e-?[0-9]{1,2})?")
WHOLE = re.compile(r"-?[0-9]{1,18}")


def read_day(text: str) -> datetime.date:
    """A day as 2026-10-31, and in no other of ISO 8601's forms.

    Raises:
        ValueError: For anything else.
    """
    if not DAY.fullmatch(text):
        raise ValueError(f"{text!r} is not a day")
    return datetime.date.fromisoformat(text)


def read_time(text: str) -> datetime.datetime:
    """A day, or a time as 2026-10-31T12:00:00, with or without an offset; in UTC without one. Raises ValueError."""
    if not TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a time")
    at = datetime.datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=datetime.UTC)


def read_whole(text: str) -> int:
    """A whole number of at most 18 digits, in ASCII.

    Raises:
        ValueError: For anything else.
    """
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def read_number(text: str) -> float:
    """A number as 0.05 or 1e-05, in ASCII.

    Raises:
        ValueError: For anything else, NaN and infinity too.
    """
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def one_name(text: str) -> str:
    """A name in one spelling: Unicode's composed form, and single blanks between its words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_reason(text: str) -> str:
    """Why something is done, in a few words that can be shown.

    Raises:
        InputError: For nothing, or what cannot be shown.
    """
    if not text.strip():
        raise InputError("The reason is empty; say why in a few words.")
    if not is_fit(text.strip()):
        raise InputError("The reason has characters that cannot be shown, or more than 1000; say why in a few words.")
    return text.strip()


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that suggests the known word which is most like this one; empty if none is like it."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
