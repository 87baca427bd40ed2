"""The ledger: a DuckDB file that keeps runs, edges and validations, and a chain that commits to them."""

from mucs.ledger.chain import Entry, first_fault, link
from mucs.ledger.edges import EDGE_SCHEMA, edges_root, write_edges
from mucs.ledger.ledger import Ledger, Run
from mucs.ledger.proof import holds

__all__ = ["EDGE_SCHEMA", "Entry", "Ledger", "Run", "edges_root", "first_fault", "holds", "link", "write_edges"]
