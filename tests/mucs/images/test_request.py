"""A picture that somebody sends, and the batch that it becomes."""

import hashlib

import pytest

from mucs import InputError
from mucs.images import ImageSet
from mucs.images.request import MOST_BYTES, Request

PICTURE = b"any bytes"


def test_a_request_becomes_a_batch_whose_row_it_is_found_by(tmp_path):
    request = Request(PICTURE, label="3", seed="7")
    (tmp_path / "batch.parquet").write_bytes(request.to_shard())
    batch = ImageSet.open(tmp_path, "batch")
    assert batch.to_rows() == [request.row]
    assert batch.row_sha256.to_pylist() == [request.address]
    assert batch.content(0) == PICTURE
    assert request.row["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (request.row["class"], request.row["seed"]) == ("3", "7")


def test_the_same_request_gives_the_same_bytes_and_any_other_another_name():
    asked = [Request(PICTURE), Request(PICTURE, label="1"), Request(PICTURE, prompt="1"), Request(PICTURE, seed="1")]
    assert len({request.row["id"] for request in asked}) == len({request.address for request in asked}) == 4
    assert Request(PICTURE, prompt="a cat").to_shard() == Request(PICTURE, prompt="a cat").to_shard()


@pytest.mark.parametrize(("picture", "says"), [(b"", "no picture"), (bytes(MOST_BYTES + 1), "at most 20,000,000")])
def test_no_picture_and_too_large_a_file_are_refused(picture, says):
    with pytest.raises(InputError, match=says):
        Request(picture)
