"""Evidence: what a run publishes, so that it can be checked years later by someone who has no ledger."""

from mucs.evidence.edges import EDGE_SCHEMA, item_edges, write_edges
from mucs.evidence.leaves import edges_root
from mucs.evidence.proof import holds

__all__ = ["EDGE_SCHEMA", "edges_root", "holds", "item_edges", "write_edges"]
