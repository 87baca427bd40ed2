"""Names: what people call the things in a ledger, and the nearest one where there is none of that name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb

from mucs import InputError

PREFIX = re.compile(r"[0-9a-f]{8,64}")  # the start of a SHA-256, long enough not to be hit by chance

HOLDERS = "SELECT rights_holder AS name FROM training_items UNION SELECT rights_holder FROM rights"
TRAINING, GENERATED = (f"SELECT id AS name, sha256 FROM {kind}_items" for kind in ("training", "generated"))
# By kind of parameter: what it is in words, and the names (and SHA-256, where that is a name as well) of all there are.
KINDS = {
    "generated": ("generated item", GENERATED),
    "training": ("training item", TRAINING),
    "item": ("item", f"{GENERATED} UNION ALL {TRAINING}"),
    "holder": ("rights holder", f"SELECT name, '' AS sha256 FROM ({HOLDERS})"),
    "target": ("rights holder or training item", f"SELECT name, '' AS sha256 FROM ({HOLDERS}) UNION ALL {TRAINING}"),
    "run": ("run", "SELECT sha256 AS name, sha256 FROM runs"),
}
# a few letters off, or a longer one with it inside
NEAREST = """
SELECT name FROM (
    SELECT DISTINCT name, damerau_levenshtein(lower(name), lower($name)) AS off, length($name) >= 3 AND contains(lower(name), lower($name)) AS holds
    FROM ({})
) WHERE holds OR off <= greatest(1, length($name) // 3)
ORDER BY off - 100 * holds::INTEGER, name LIMIT 1
"""


class Unknown(InputError):
    """The ledger has nothing of that name."""


def known(connection: duckdb.DuckDBPyConnection, kind: str, name: str) -> str:
    """The name as questions take it: a run's whole SHA-256, anything else as it was given.

    kind: one of KINDS. Raises InputError, with the nearest name, if there is none; if a run's is ambiguous or shorter than
    eight digits.
    """
    what, everything = KINDS[kind]
    if kind == "run":
        return run_called(connection, name)
    if connection.execute(f"SELECT 1 FROM ({everything}) WHERE is_called(name, sha256, ?) LIMIT 1", [name]).fetchone():
        return name
    found = connection.execute(NEAREST.format(everything), {"name": name}).fetchone()
    remedy = (
        f"did you mean {found[0]!r}?" if found else "give a name that it has, or the first eight digits of a SHA-256."
    )
    raise Unknown(f"The ledger has no {what} called {name!r}; {remedy}")


def run_called(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The SHA-256 of the run that it begins so. Raises InputError unless there is just one, and at least eight digits."""
    if not PREFIX.fullmatch(name):
        raise Unknown(f"{name!r} names no run; give the first eight digits or more of its SHA-256, {LIST_RUNS}.")
    found = connection.execute("SELECT sha256 FROM runs WHERE starts_with(sha256, ?)", [name]).fetchall()
    if len(found) != 1:
        raise Unknown(f"The ledger has {len(found)} runs called {name!r}; {LIST_RUNS}.")
    return str(found[0][0])


def only_called(known: Sequence[str], name: str | None, kind: str) -> str:
    """The one of several SHA-256 that begins so; without a name, the only one. Raises Unknown unless there is just one."""
    found = [str(each) for each in known if each.startswith(name or "")]
    if len(found) != 1:
        raise Unknown(
            f"The ledger has {len(found)} {kind}s{' called ' + repr(name) if name else ''}; name one of"
            f" {', '.join(each[:12] for each in known) or 'none'} as --{kind.replace(' ', '-')}."
        )
    return found[0]


LIST_RUNS = 'see them with `mucs sql "SELECT sha256, loaded_at FROM runs"`'
