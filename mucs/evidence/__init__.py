"""Evidence: what a run publishes, so that it can be checked years later by someone who has no ledger."""

from mucs.evidence.edges import EDGE_SCHEMA, edges_root, write_edges
from mucs.evidence.proof import holds

__all__ = ["EDGE_SCHEMA", "edges_root", "holds", "write_edges"]
