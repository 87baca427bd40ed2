"""The catalogue: what the file of a ledger defines, held against what this program's ledgers define.

A DuckDB file can bring views and macros along, also under the names of DuckDB's own functions. So a ledger's file is only
ever attached, as data, to a database in memory, where the program makes its own views and macros over the file's tables.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import duckdb

from mucs.canonical import digest

HERE = Path(__file__).parent
FILE = "file"  # the name that the file is attached under
TABLES, VIEWS = (HERE / "schema.sql").read_text(), (HERE / "views.sql").read_text()
# Views and macros of earlier ledgers, which have the same tables: SHA-256 of their definitions, as `digest_of` makes it.
EARLIER = frozenset({"e5befa9aeae564c4786ad30f53555a36c67c3b48727fce2001de751b37a0a374"})

Catalogue = dict[tuple[str, str], str]  # definitions by kind and name

READ = f"""
SELECT 'table', CASE WHEN schema_name = 'main' THEN table_name ELSE schema_name || '.' || table_name END, sql
FROM duckdb_tables() WHERE database_name = '{FILE}'
UNION ALL
SELECT 'view', view_name, sql FROM duckdb_views() WHERE database_name = '{FILE}' AND NOT internal
UNION ALL
SELECT replace(function_type, '_', ' '), function_name, parameters::VARCHAR || coalesce(macro_definition, '')
FROM duckdb_functions() WHERE database_name = '{FILE}' AND NOT internal
UNION ALL
SELECT 'comment', name, comment FROM (
    SELECT table_name AS name, comment FROM duckdb_tables() WHERE database_name = '{FILE}'
    UNION ALL
    SELECT table_name || '.' || column_name, comment FROM duckdb_columns() WHERE database_name = '{FILE}' AND NOT internal
    UNION ALL
    SELECT view_name, comment FROM duckdb_views() WHERE database_name = '{FILE}' AND NOT internal
    UNION ALL
    SELECT function_name, comment FROM duckdb_functions() WHERE database_name = '{FILE}' AND NOT internal
) WHERE comment IS NOT NULL
UNION ALL
SELECT 'index', index_name, coalesce(sql, '') FROM duckdb_indexes() WHERE database_name = '{FILE}'
UNION ALL
SELECT 'sequence', sequence_name, coalesce(sql, '') FROM duckdb_sequences() WHERE database_name = '{FILE}'
UNION ALL
SELECT 'type', type_name, logical_type FROM duckdb_types() WHERE database_name = '{FILE}' AND NOT internal
UNION ALL
SELECT 'schema', schema_name, '' FROM duckdb_schemas() WHERE database_name = '{FILE}' AND NOT internal AND schema_name <> 'main'
"""


def read(connection: duckdb.DuckDBPyConnection) -> Catalogue:
    """Everything that the attached file defines; nothing of it is run."""
    found: Catalogue = {}
    for kind, name, text in connection.execute(READ).fetchall():
        found[kind, name] = found.get((kind, name), "") + text  # a macro may have several forms
    return found


@functools.cache
def expected() -> Catalogue:
    """What this program's ledgers define."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        attach(connection, Path(folder) / "ledger.duckdb")
        build(connection, Path(folder) / "ledger.duckdb")
        return read(connection)


def attach(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool = False) -> None:
    """Attach a file, which is made if it is missing and may be written."""
    place = str(path.resolve()).replace("'", "''")
    connection.execute(f"ATTACH '{place}' AS {FILE} (TYPE duckdb{', READ_ONLY' if read_only else ''})")


def build(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make a ledger of the attached file, which is empty."""
    connection.execute(f"USE {FILE}; {TABLES}; {VIEWS}; USE memory")
    attach_again(connection, path)


def attach_again(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """DuckDB writes definitions another way once they were read from a file; so they are."""
    connection.execute(f"DETACH {FILE}")
    attach(connection, path)


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the program's views and macros, over the tables of the attached file and under their names."""
    tables = [name for kind, name in expected() if kind == "table"]
    connection.execute("; ".join(f"CREATE VIEW {name} AS FROM {FILE}.main.{name}" for name in tables) + ";" + VIEWS)


def renew(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Put this program's views and macros into the attached file, in place of earlier ones."""
    for kind, name in reversed(list(without_tables(read(connection)))):
        connection.execute(f"DROP {'MACRO TABLE' if kind == 'table macro' else kind} {FILE}.main.{quoted(name)}")
    connection.execute(f"USE {FILE}; {VIEWS}; USE memory")
    attach_again(connection, path)


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def without_tables(catalogue: Catalogue) -> Catalogue:
    """All that a catalogue defines but the tables."""
    return {key: text for key, text in catalogue.items() if key[0] != "table"}


def digest_of(catalogue: Catalogue) -> str:
    """SHA-256 over all but the tables, in hexadecimal."""
    return digest(sorted([kind, name, text] for (kind, name), text in without_tables(catalogue).items()))


def table_fault(found: Catalogue) -> str | None:
    """The first table that a ledger must have, and that is missing or another; None if all are right."""
    for (kind, name), text in expected().items():
        if kind == "table" and found.get((kind, name)) not in (text, in_schema_6(text)):
            return f"its table {name} is {'not as this program makes it' if (kind, name) in found else 'missing'}"
    return None


def in_schema_6(table: str) -> str:
    """A table's definition in schema 6, where DuckDB kept an index of the items' rows."""
    return table.replace("row_sha256 VARCHAR NOT NULL,", "row_sha256 VARCHAR NOT NULL UNIQUE,")


def is_earlier(found: Catalogue) -> bool:
    """Whether the views and macros are those of an earlier ledger."""
    return digest_of(found) in EARLIER


def fault(found: Catalogue) -> str | None:
    """What is wrong with the first thing that a file defines, lacks, or has besides; None if all is as a ledger has it."""
    wrong = table_fault(found)
    if wrong:
        return wrong
    known = expected()
    for kind, name in found:
        if (kind, name) not in known and (kind == "table" or not is_earlier(found)):
            return f"it defines the {kind} {name!r}, which no ledger has"
    for (kind, name), text in known.items():
        if kind != "table" and found.get((kind, name)) != text and not is_earlier(found):
            return f"its {kind} {name} is {'not as this program makes it' if (kind, name) in found else 'missing'}"
    return None
