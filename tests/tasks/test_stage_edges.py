"""What is said of training items is held once, however many edges name them and however large the set is."""

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.evidence import item_edges
from mucs.images import ImageSet
from mucs.images.rows import BLOCK
from tasks.stage_edges import edge_ends
from tests.factories import attribution

ITEMS = BLOCK + 1  # more than lie in one block of a manifest


def test_the_edges_of_all_items_share_what_they_say_of_a_large_training_set(tmp_path):
    names = pa.array([f"t{k}" for k in range(ITEMS)])
    pq.write_table(pa.table({"id": names, "sha256": names}), tmp_path / "metadata.parquet")
    images = ImageSet.open(tmp_path, "training set")
    ends, before = edge_ends(images, images.row_sha256), pa.total_allocated_bytes()
    given = {"row_sha256": "g", "id": "g", "sha256": "g"}
    edges = [item_edges(given, attribution(ITEMS, 10, k), ends) for k in range(20)]
    assert edges[3]["training"].to_pylist() == [f"t{k}" for k in attribution(ITEMS, 10, 3).items.tolist()]
    assert pa.total_allocated_bytes() - before < ends.nbytes / 10
