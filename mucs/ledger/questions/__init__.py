"""Named questions: one `.sql` file each, whose comment says what it answers and what its parameters are.

A parameter's line is `-- $name kind = default: what it is`, without a default for one that must be given.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.written import nearest, read_day, read_number, read_time, read_whole

USES = ("training", "output")  # what a right is granted for, and a contract has pots for
HERE = Path(__file__).parent
LINE = re.compile(r"^-- \$(?P<name>\w+) (?P<kind>\w+)(?: =(?P<default>[^:]*))?: (?P<about>.*)$")


@dataclass(frozen=True)
class Parameter:
    """kind: text, count, probability, day, time, use, or one of `mucs.ledger.names.KINDS`, for the name of something in the ledger.

    default: as one would write it; None if it must be given.
    """

    name: str
    kind: str
    default: str | None
    about: str

    def value(self, given: Any) -> Any:
        """What was given, as the query takes it. Raises InputError if it is not of the kind."""
        text = str(given)
        try:
            match self.kind:
                case "count":
                    found = read_whole(text)
                    if not 0 < found <= MOST:
                        raise ValueError
                    return found
                case "probability":
                    number = read_number(text)
                    if not 0 < number <= 1:
                        raise ValueError
                    return number
                case "day":
                    today = datetime.datetime.now(datetime.UTC).date()
                    return today if text == "today" else read_day(text)
                case "time" if text != "infinity":
                    return read_time(text).isoformat()
                case "use" if text not in USES:
                    raise ValueError
                case _:
                    return text
        except (ValueError, OverflowError):
            meant = nearest(text, USES) if self.kind == "use" else ""
            raise InputError(f"{self.name} cannot be {text!r}{meant}; give {FORMS[self.kind]}.") from None


MOST = 999_999
FORMS = {  # of what is not a name
    "count": f"a whole number from 1 to {MOST}, such as 10",
    "probability": "a number above 0 and at most 1, such as 0.05",
    "day": "a day, such as 2026-10-31",
    "time": "a time, such as 2026-10-31T12:00:00",
    "use": " or ".join(USES),
}


@dataclass(frozen=True)
class Question:
    """about: what it answers. sql: the whole file."""

    name: str
    about: str
    parameters: tuple[Parameter, ...]
    sql: str

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each parameter. Raises InputError for one that is missing, unknown, or of another kind."""
        names = [p.name for p in self.parameters]
        for name in given:
            if name not in names:
                raise InputError(f"The question {self.name} has no parameter {name!r}; it has {', '.join(names)}.")
        for p in self.parameters:
            if p.default is None and p.name not in given:
                raise InputError(f"The question {self.name} needs {p.name}, {p.about.rstrip('.')}; add {p.name}=….")
        return {p.name: p.value(given.get(p.name, p.default)) for p in self.parameters}


@functools.cache
def names() -> tuple[str, ...]:
    """Of all questions, in order."""
    return tuple(sorted(path.stem for path in HERE.glob("*.sql")))


@functools.cache
def question(name: str) -> Question:
    """A question by its name. Raises InputError if there is none."""
    if name not in names():
        raise InputError(f"There is no question {name!r}; see them with `mucs questions`.")
    sql = (HERE / f"{name}.sql").read_text()
    comment = [line for line in sql.splitlines() if line.startswith("-- ")]
    parameters = [
        Parameter(m["name"], m["kind"], None if m["default"] is None else m["default"].strip(), m["about"])
        for m in map(LINE.match, comment)
        if m
    ]
    about = " ".join(line.removeprefix("-- ") for line in comment if not LINE.match(line))
    return Question(name, about, tuple(parameters), sql)
