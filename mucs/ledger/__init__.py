"""The ledger: a DuckDB file that keeps runs, edges, rights and statements, and a chain that commits to them."""

from mucs.ledger.chain import Entry, link
from mucs.ledger.edges import EDGE_SCHEMA, edges_root, write_edges
from mucs.ledger.ledger import Altered, Ledger
from mucs.ledger.load import Run, load
from mucs.ledger.proof import holds, prove
from mucs.ledger.verify import first_fault

__all__ = [
    "EDGE_SCHEMA",
    "Altered",
    "Entry",
    "Ledger",
    "Run",
    "edges_root",
    "first_fault",
    "holds",
    "link",
    "load",
    "prove",
    "write_edges",
]
