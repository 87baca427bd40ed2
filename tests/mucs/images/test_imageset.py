"""A set of images with its manifest: rows, digests and pixels."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.images import ImageSet
from mucs.images.rows import canonical_rows
from tests.conftest import draw, read_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", "\0\x1f\x7f", "𐀀", "ﬀ"]
)


@given(st.data())
def test_rows_have_the_digest_of_their_canonical_json(data):
    names = data.draw(st.lists(TEXT.filter(bool), min_size=1, max_size=5, unique=True))
    rows = data.draw(st.lists(st.fixed_dictionaries({name: st.none() | TEXT for name in names}), max_size=4))
    table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))
    found = canonical_rows(table).to_pylist()
    plain = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert [(each["row_sha256"], each["said"].encode()) for each in found] == [(digest(r), canonical(r)) for r in plain]


def as_parquet(folder, rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]} | {"class": [int(row["class"]) for row in rows]}
    pq.write_table(pa.table(columns), folder / "metadata.parquet")


def as_lines(folder, rows):
    (folder / "metadata.csv").unlink()
    lines = [json.dumps(row | {"class": int(row["class"])}) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")


@pytest.mark.parametrize("write", [as_parquet, as_lines])
def test_a_manifest_is_the_same_in_every_form(world, tmp_path, write):
    before = ImageSet.open(world.train, "set")
    folder = world.copy("train", tmp_path / "train")
    write(folder, read_rows(folder))
    images = ImageSet.open(folder, "set")
    assert images.to_rows() == before.to_rows() == read_rows(world.train)
    assert images.row_sha256.to_pylist() == [digest(row) for row in read_rows(world.train)]
    assert (len(images), images.row(3)["id"]) == (24, "t03")


def test_values_of_parquet_are_text_as_python_writes_them(tmp_path):
    when = pa.array([1_700_000_000_123_456], pa.timestamp("us"))
    values = {
        "whole": pa.array([7, None]), "real": pa.array([0.1, float("nan")]), "single": pa.array([0.5, None], pa.float32()),
        "yes": pa.array([True, None]), "empty": pa.array(["", None]), "word": pa.array(["a", None]).dictionary_encode(),
        "day": pa.array([19_000, None], pa.date32()), "time": pa.concat_arrays([when, pa.nulls(1, when.type)]),
    }  # fmt: skip
    pq.write_table(pa.table(values), tmp_path / "metadata.parquet")
    assert ImageSet.open(tmp_path, "set").to_rows() == [
        {"whole": "7", "real": "0.1", "single": "0.5", "yes": "True", "empty": "", "word": "a", "day": "2022-01-08"}
        | {"time": "2023-11-14 22:13:20.123456"},
        {},
    ]


def test_pixels_are_those_of_the_files(world):
    images = ImageSet.open(world.train, "set")
    assert images.content(3) == (world.train / "t03.png").read_bytes()
    assert np.array_equal(images.pixels(5), draw(5, 1))
    assert np.array_equal(images[4:6][1].transpose(1, 2, 0), draw(5, 1))
    assert (images[20:99].shape, images[0:0].shape[0]) == ((4, 3, 8, 8), 0)
    assert images[:0].dtype == np.uint8


def test_what_is_no_image_is_named(world, tmp_path):
    folder = world.copy("train", tmp_path / "train")
    (folder / "t00.png").write_bytes(b"none")
    (folder / "t01.png").unlink()
    Image.new("RGB", (4, 4)).save(folder / "t03.png")
    images = ImageSet.open(folder, "set")
    for attempt, words in (
        (lambda: images.pixels(0), r"^t00\.png of the set is not a PNG, JPEG or WebP image"),
        (lambda: images.content(1), r"^t01\.png of the set is not there"),
        (lambda: images[2:4], r"of the set are of several sizes"),
    ):
        with pytest.raises(InputError, match=words):
            attempt()


LINES = {
    "no JSON": ('{"id": ', "cannot be read as a table"),
    "no object": ("[1]", "has no JSON object in line 1"),
    "a key twice": ('{"id": 1, "id": 2}', "a key is there twice"),
    "a list": ('{"id": ["a"]}', "has a column 'id' of lists"),
    "an object": ('{"id": {"a": 1}}', "has a column 'id' of objects"),
    "many columns": (json.dumps({f"c{k}": k for k in range(201)}), "has 201 columns; give at most 200"),
    "a column of the gate": ('{"file exists": 1}', "which the gate adds itself"),
    "an endless line": ("x" * 1_000_001, "has more than 1,000,000 characters in line 1"),
}


@pytest.mark.parametrize(("text", "words"), LINES.values(), ids=LINES)
def test_lines_that_are_no_plain_table_are_refused(tmp_path, text, words):
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(InputError, match=words) as refused:
        ImageSet.open(tmp_path, "set")
    assert str(refused.value).startswith("The manifest of the set ")


def test_lines_may_have_values_of_their_own(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"a": 1, "b": null}\n{"c": 0.5, "a": true}')
    assert ImageSet.open(tmp_path, "set").to_rows() == [{"a": "1"}, {"a": "True", "c": "0.5"}]
