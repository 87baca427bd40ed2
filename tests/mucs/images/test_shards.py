"""Parquet files with the images in them."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mucs import InputError
from mucs.canonical import digest
from mucs.images import ImageSet, manifest, shards
from tests.conftest import read_rows, write_shards


@pytest.fixture
def sharded(world, tmp_path):
    return write_shards(tmp_path / "train", world.train, 3, row_group_size=3)


def test_shards_are_the_same_set_as_their_files(world, sharded):
    files, images = ImageSet.open(world.train, "set"), ImageSet.open(sharded, "set")
    rows = [{name: value for name, value in row.items() if name != "file_name"} for row in read_rows(world.train)]
    assert images.to_rows() == rows
    assert images.row_sha256.to_pylist() == [digest(row) for row in rows]
    assert [images.content(k) for k in range(24)] == [files.content(k) for k in range(24)]
    assert np.array_equal(images[:], files[:])
    assert images.source.place(17) == "c/data.parquet, row 1 (from 0), of the set"
    part = pickle.loads(pickle.dumps(images.part(9, 12)))
    assert (part.row(0), part.content(2)) == (images.row(9), images.content(11))
    assert len(pickle.dumps(part)) < 5000  # its own rows, and nothing of the images


def test_a_row_group_is_read_once_for_its_images(sharded, monkeypatch):
    read = []
    whole = shards.Shards._read_group
    monkeypatch.setattr(shards.Shards, "_read_group", lambda self, group: read.append(group) or whole(self, group))  # type: ignore[func-returns-value]
    images = ImageSet.open(sharded, "set")
    for k in (0, 2, 1, 3, 0, 5):
        images.content(k)
    assert len(read) == 2
    for k in range(24):
        images.content(k)
    assert len(read) <= 2 + 9


def image(contents, **more):
    struct = pa.array(
        [{"bytes": c, "path": None} for c in contents], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    return pa.table({"id": [f"i{k}" for k in range(len(contents))], "image": struct, **more})  # fmt: skip


SHARDS = {
    "no Parquet": (b"PAR1 or not", r"b\.parquet of the set cannot be read as Parquet \(.*\); write it again"),
    "no image": (pa.table({"id": ["a"]}), r"b\.parquet of the set has no column image of bytes and path"),
    "bytes alone": (pa.table({"id": ["a"], "image": [b"a"]}), r"b\.parquet of the set has no column image of bytes"),
    "text for bytes": (
        pa.table({"image": [{"bytes": "a", "path": "b"}]}),
        r"b\.parquet of the set has no column image of",
    ),
    "lists": (image([b""], tags=[["a"]]), r"b\.parquet of the set has a column 'tags' of list<"),
    "a column of the gate": (
        image([b""], width=[1]),
        r"b\.parquet of the set has a column 'width', which the gate adds",
    ),
}


@pytest.mark.parametrize(("content", "words"), SHARDS.values(), ids=SHARDS)
def test_a_bad_shard_is_named(tmp_path, content, words):
    pq.write_table(image([b""]), tmp_path / "a.parquet")
    if isinstance(content, bytes):
        (tmp_path / "b.parquet").write_bytes(content)
    else:
        pq.write_table(content, tmp_path / "b.parquet")
    with pytest.raises(InputError, match=words):
        ImageSet.open(tmp_path, "set")


def test_a_bad_image_is_named_by_shard_and_row(tmp_path):
    pq.write_table(image([None, b"no image"]), tmp_path / "a.parquet")
    images = ImageSet.open(tmp_path, "set")
    with pytest.raises(InputError, match=r"^a\.parquet, row 1 \(from 0\), of the set is not a PNG"):
        images.pixels(1)
    with pytest.raises(InputError, match=r"^a\.parquet, row 0 \(from 0\), of the set has no image in it"):
        images.content(0)
    whole = (tmp_path / "a.parquet").read_bytes()
    at = whole.index(b"no image")
    (tmp_path / "a.parquet").write_bytes(whole[: at - 40] + b"\xff" * 40 + whole[at:])
    with pytest.raises(InputError, match=r"^a\.parquet of the set cannot be read as Parquet"):
        ImageSet.open(tmp_path, "set").content(1)


def test_small_shards_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array([b"x" * 10_000]))
    struct = pa.StructArray.from_arrays([same.cast(pa.binary())], ["bytes"])
    pq.write_table(pa.table({"id": [str(k) for k in range(10_000)], "image": struct}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 500_000
    images = ImageSet.open(tmp_path, "set")
    monkeypatch.setattr(shards, "MOST_GROUP", 10_000_000)
    with pytest.raises(InputError, match=r"more than 10,000,000 bytes of images in row group 0; write it with smaller"):
        images.content(0)
    monkeypatch.setattr(shards, "MOST_BYTES", 10_000)
    assert manifest.MOST_BYTES > 10_000
    with pytest.raises(InputError, match=r"a\.parquet of the set unpacks to more than 10,000 bytes"):
        ImageSet.open(tmp_path, "set")
