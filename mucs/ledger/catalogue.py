"""The catalogue: what a ledger defines, held against what this program's ledgers define.

A lake can bring views and macros along, also under the names of DuckDB's own functions. So it is only ever attached, as data, to a
database in memory, where the program makes its own views and macros over its tables.
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from mucs.canonical import canonical, digest
from mucs.evidence.chain import GENESIS
from mucs.ledger.lake import FILE, META, OPTIONS, Lake, literal

HERE = Path(__file__).parent
TABLES, VIEWS = (HERE / "schema.sql").read_text(), (HERE / "views.sql").read_text()
NAMES = tuple(re.findall(r"CREATE TABLE (\w+)", TABLES))
# Whatever changes in those two files makes another schema, and ledgers of the one before are made anew from their logs.
SCHEMA = 17
DEFINITIONS = "91f97c1b0bc74da63bc9f5afa9a2290e733aa9b1377ed38606f1a7b4dc843210"  # SHA-256 of what they define, as `digest_of` makes it

Catalogue = dict[tuple[str, str], str]  # definitions by kind and name

# by the table that has them, what has a name: its kind, schema, name and number, and what it says
THINGS = {
    "table": "'table', schema_id, table_name, table_id",
    "view": "'view', schema_id, view_name, view_id, dialect, \"sql\", column_aliases",
    f"macro JOIN {META}.ducklake_macro_impl USING (macro_id)": "CASE type WHEN 'table' THEN 'table macro' ELSE 'macro' END,"
    ' schema_id, macro_name, macro_id, impl_id, dialect, "sql"',
}
# and what belongs to them: the number of its owner, and what it says
PARTS = {
    "column": "table_id, column_order, column_id, parent_column, column_name, column_type, nulls_allowed::BOOLEAN,"
    " initial_default, default_value, default_value_type, default_value_dialect",
    "column_tag": "table_id, column_id, key, value",
    "partition_info": "table_id, 'partitioned'",
    "sort_info": "table_id, 'sorted'",
    "tag": "object_id, key, value",
    f"macro_parameters JOIN {META}.ducklake_macro USING (macro_id)": "macro_id, impl_id, column_id, parameter_name,"
    " parameter_type, default_value, default_value_type",
}
MANY = 32  # files of a size, of one table
SIZES = (0, 2**22, 2**27)  # bytes between which files are of a size; larger ones stay as they are
CROWDED = f"""
SELECT table_name FROM {META}.ducklake_data_file f JOIN {META}.ducklake_table t USING (table_id)
WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL AND file_size_bytes >= $least AND file_size_bytes < $most
GROUP BY table_name HAVING count(*) >= $many ORDER BY table_name
"""


def read(connection: duckdb.DuckDBPyConnection) -> Catalogue:
    """Everything that the attached ledger defines; nothing of it is run.

    It is read from the lake's catalogue: to ask DuckDB what it made of that takes ten times as long.
    """
    ((now,),) = connection.execute(f"SELECT max(snapshot_id) FROM {META}.ducklake_snapshot").fetchall()

    def live(table: str, columns: str) -> list[tuple[Any, ...]]:
        return connection.execute(
            f"SELECT {columns} FROM {META}.ducklake_{table} WHERE begin_snapshot <= {now}"
            f" AND coalesce(end_snapshot > {now}, true) ORDER BY ALL"
        ).fetchall()

    parts: dict[int, list[Any]] = defaultdict(list)
    for table, columns in PARTS.items():
        for number, *said in live(table, columns):
            parts[number].append(said)
    schemas = dict(live("schema", "schema_id, schema_name"))
    found: Catalogue = {("schema", name): "" for name in schemas.values() if name != "main"}
    for table, columns in THINGS.items():
        for kind, schema, name, number, *said in live(table, columns):
            place = name if schemas.get(schema) == "main" else f"{schemas.get(schema)}.{name}"
            # one name may have several forms
            found[kind, place] = found.get((kind, place), "") + canonical([said, parts[number]]).decode()
    return found


@functools.cache
def expected() -> Catalogue:
    """What this program's ledgers define."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        with lake.connect() as connection:
            lake.attach(connection, read_only=False)
            build(connection, "")
            return read(connection)


def build(connection: duckdb.DuckDBPyConnection, log: str) -> None:
    """Make a ledger of the attached lake, which is empty, as it is before the first entry of a log."""
    for name, value in OPTIONS.items():
        connection.execute(f"CALL {FILE}.set_option('{name}', '{value}')")
    make_tables(connection, log)
    connection.execute(f"USE {FILE}; {VIEWS}; USE memory")


def make_tables(connection: duckdb.DuckDBPyConnection, log: str) -> None:
    """Make the tables of a ledger in the attached lake or database, as they are before the first entry of a log."""
    connection.execute(f"USE {FILE}; {TABLES}; USE memory")
    connection.execute(f"INSERT INTO {FILE}.ledger VALUES ({SCHEMA}, '{literal(log)}', 0, '{GENESIS}')")


def drop(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop everything that the attached lake defines."""
    found = list(read(connection))
    for kind in ("view", "table macro", "macro", "table"):
        for each, name in found:
            if each == kind:
                where = name if "." in name else f"main.{name}"
                schema, _, bare = where.partition(".")
                verb = "MACRO TABLE" if kind == "table macro" else kind
                connection.execute(f"DROP {verb} {FILE}.{quoted(schema)}.{quoted(bare)}")
    for each, name in found:
        if each == "schema":
            connection.execute(f"DROP SCHEMA {FILE}.{quoted(name)}")


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the program's views and macros in memory, over the tables of the attached ledger and under their names."""
    connection.execute("; ".join(f"CREATE VIEW {name} AS FROM {FILE}.main.{name}" for name in NAMES) + ";" + VIEWS)


def merge(connection: duckdb.DuckDBPyConnection) -> None:
    """Merge the files of tables that have many of a size, in their order, so that a question opens few after years of loads.

    A row is written anew once for each of SIZES at the most. What was merged stays for a day, for whoever reads it.
    """
    merged = 0
    for least, most in pairwise(SIZES):
        for (table,) in connection.execute(CROWDED, {"least": least, "most": most, "many": MANY}).fetchall():
            connection.execute(
                f"CALL ducklake_merge_adjacent_files('{FILE}', '{table}', min_file_size => {least}, max_file_size => {most})"
            )
            merged += 1
    if merged:
        connection.execute(f"CALL ducklake_cleanup_old_files('{FILE}', older_than => now() - INTERVAL 1 DAY)")


def tidy(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the files of tables that are no more, and those that killed writers left a day ago."""
    connection.execute(f"CALL ducklake_expire_snapshots('{FILE}', older_than => now())")
    connection.execute(f"CALL ducklake_cleanup_old_files('{FILE}', cleanup_all => true)")
    connection.execute(f"CALL ducklake_delete_orphaned_files('{FILE}', older_than => now() - INTERVAL 1 DAY)")


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def digest_of(catalogue: Catalogue) -> str:
    """SHA-256 over all definitions, in hexadecimal."""
    return digest(sorted([kind, name, text] for (kind, name), text in catalogue.items()))


def fault(found: Catalogue) -> str | None:
    """What is wrong with the first thing that a ledger defines, lacks, or has besides; None if all is as this program has it."""
    if digest_of(found) == DEFINITIONS:
        return None
    known = expected()
    for kind, name in found:
        if (kind, name) not in known:
            return f"it defines the {kind} {name!r}, which no ledger has"
    for (kind, name), text in known.items():
        if found.get((kind, name)) != text:
            return f"its {kind} {name} is {'not as this program makes it' if (kind, name) in found else 'missing'}"
    return None
