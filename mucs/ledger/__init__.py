"""The ledger: a DuckDB file that keeps runs, edges and validations, and a chain that commits to them."""

from mucs.ledger.chain import Entry, first_fault, link
from mucs.ledger.edges import EDGE_SCHEMA, edges_digest, write_edges
from mucs.ledger.ledger import Ledger, Run

__all__ = ["EDGE_SCHEMA", "Entry", "Ledger", "Run", "edges_digest", "first_fault", "link", "write_edges"]
