"""Each gate stops what it must, and says which expectation failed on which rows."""

import json
import struct
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mucs import InputError
from mucs.images import ImageSet, blocks, manifest
from tasks.pull import as_pulled, file_digests
from tasks.validate import (
    GateFailed,
    ImageSpec,
    to_json,
    validate_checkpoint,
    validate_generated,
    validate_training,
)
from tests.conftest import read_rows, write_manifest, write_shards

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


SPEC = ImageSpec(8, 8, 2, prompts=False)


def check_training(folder, licences=("CC-BY-4.0",), cache=None):
    return validate_training.fn(as_pulled(folder), "training set", SPEC, licences, cache or folder.parent / "cache")


def test_good_data_pass_and_the_result_is_the_same_twice(world, tmp_path):
    first, again = (check_training(world.train, cache=tmp_path / name) for name in "ab")
    assert all(v["success"] for v in first)
    assert to_json(first) == to_json(again)
    assert validate_checkpoint.fn(as_pulled(world.checkpoint), tmp_path)[1] == SPEC
    assert all(v["success"] for v in validate_generated.fn(as_pulled(world.generated), SPEC, tmp_path))


def test_what_passed_is_not_looked_at_again(world, tmp_path, said):
    folder, checkpoint = world.copy("train", tmp_path / "train"), world.copy("checkpoint", tmp_path / "checkpoint")
    data, model = as_pulled(folder), as_pulled(checkpoint)

    def gate(spec=SPEC, licences=("CC-BY-4.0",)):
        return validate_training.fn(data, "training set", spec, licences, tmp_path)

    first, second = gate(), validate_checkpoint.fn(model, tmp_path)
    for gone in (*folder.iterdir(), checkpoint / WEIGHTS):
        gone.unlink()
    assert (gate(), validate_checkpoint.fn(model, tmp_path)) == (first, second)
    assert said().count("validate  training set: as it was validated before") == 1
    assert said().count("validate  checkpoint: as it was validated before") == 1
    for wishes in ({"licences": ["MIT"]}, {"spec": replace(SPEC, height=16)}, {"spec": replace(SPEC, classes=1)}):
        with pytest.raises(GateFailed):  # from what is known of the images
            gate(**wishes)


def test_blocks_of_images_that_were_looked_at_are_not_again(world, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 8)
    monkeypatch.setattr(blocks, "SECONDS_ALONE", 0)
    folder = world.copy("train", tmp_path / "train")
    data, good = as_pulled(folder), (folder / "t20.png").read_bytes()
    (folder / "t20.png").write_bytes(b"")
    validate = partial(validate_training.fn, data, "training set", SPEC, ["CC-BY-4.0"], tmp_path)
    with pytest.raises(GateFailed, match="'image decodes': 1 of 24 rows: t20"):
        validate()
    kept = sorted(tmp_path.glob("inspections/*/*"))
    assert len(kept) == 3
    kept[2].unlink()
    (folder / "t20.png").write_bytes(good)
    (folder / "t00.png").unlink()  # which is known already
    assert [v["success"] for v in validate()] == [True, True]


def edit(rows, k, **values):
    return [{**row, **values} if i == k else row for i, row in enumerate(rows)]


def without(rows, column):
    return [{name: value for name, value in row.items() if name != column} for row in rows]


MANIFESTS = {
    "a missing column": (lambda rows: without(rows, "licence"), "expect_column_to_exist on column 'licence'"),
    "duplicate ids": (lambda rows: edit(rows, 0, id="t01"), "be_unique on column 'id': 2 of 24 rows: t01"),
    "a path that leaves the folder": (
        lambda rows: edit(rows, 0, file_name="../t00.png"),
        "'path stays inside': 1 of 24 rows: t00",
    ),
    "an absolute path": (
        lambda rows: edit(rows, 0, file_name="/etc/hostname"),
        "'path stays inside': 1 of 24 rows: t00",
    ),
    "a missing image": (lambda rows: edit(rows, 0, file_name="gone.png"), "'file exists': 1 of 24 rows: t00"),
    "another digest": (lambda rows: edit(rows, 0, sha256="0" * 64), "'digest matches': 1 of 24 rows: t00"),
    "no rights holder": (
        lambda rows: edit(rows, 0, rights_holder=""),
        "not_be_null on column 'rights_holder': 1 of 24",
    ),
    "another licence": (lambda rows: edit(rows, 0, licence="none"), "'licence': 1 of 24 rows: t00 (none)"),
    "a date in the future": (lambda rows: edit(rows, 0, date="2999-01-01"), "'date is sane': 1 of 24 rows: t00"),
    "no date at all": (lambda rows: edit(rows, 0, date="soon"), "'date is sane': 1 of 24 rows: t00"),
    "an unknown class": (lambda rows: edit(rows, 0, **{"class": 7}), "'class is known': 1 of 24 rows: t00"),
    "no file name": (lambda rows: edit(rows, 0, file_name=""), "not_be_null on column 'file_name': 1 of 24"),
    "no digest": (lambda rows: edit(rows, 0, sha256=""), "not_be_null on column 'sha256': 1 of 24"),
    **{
        f"a date as {date!r}": (lambda rows, date=date: edit(rows, 0, date=date), "'date is sane': 1 of 24 rows: t00")  # type: ignore[misc]
        for date in (
            "2024-W01-1",
            "20240101",
            "2024-1-1",
            "２０２４-01-01",
            "2024-01-01x",
            "2024-02-30",
            "1799-01-01",
            "",
        )
    },
    **{
        f"{name} with {value[:3]!r}": (
            lambda rows, name=name, value=value: edit(rows, 0, **{name: value}),  # type: ignore[misc]
            "'text can be shown': 1 of 24 rows: ",
        )
        for name in ("id", "file_name", "rights_holder", "licence")
        for value in ("a\x1b[2J", "a\nb", "a\u202eb", "x" * 1001, "a\0b")
    },
    "an endless note": (
        lambda rows: [{**row, "note": "x" * 20_001} for row in rows],
        "'text can be shown': 24 of 24 rows: t00",
    ),
    "no rows": (lambda rows: [dict.fromkeys(rows[0])], ""),
}


@pytest.mark.parametrize(("spoil", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_bad_manifest_is_stopped(world, tmp_path, spoil, message):
    folder = world.copy("train", tmp_path / "train")
    write_manifest(folder, spoil(read_rows(folder)))
    with pytest.raises(GateFailed) as stopped:
        check_training(folder)
    assert message in str(stopped.value)
    assert str(stopped.value).isprintable()
    assert len(str(stopped.value)) < 4000
    assert not stopped.value.validation["success"]


def test_an_empty_set_and_a_missing_or_broken_manifest_are_stopped(world, tmp_path):
    folder = world.copy("train", tmp_path / "train")
    header = (folder / "metadata.csv").read_text().splitlines()[0]
    (folder / "metadata.csv").write_text(header + "\n")
    with pytest.raises(GateFailed, match="expect_table_row_count_to_be_between: 0 rows"):
        check_training(folder)
    (folder / "metadata.csv").write_bytes(b'id,"\n\xff\xfe')
    with pytest.raises(InputError, match="cannot be read as a table"):
        check_training(folder)
    (folder / "metadata.csv").unlink()
    with pytest.raises(InputError, match=r"no metadata\.csv, \.parquet or \.jsonl, and no Parquet files"):
        check_training(folder)


HEADER = "id,file_name,sha256,rights_holder,licence,date,class"
TABLES = {
    "many columns": (HEADER + ",c" * 1_000_000, "has a first line without an end"),
    "some columns": (",".join(f"c{k}" for k in range(201)), "has 201 columns; give at most 200"),
    "a column twice": (HEADER + ",id", "has the column 'id' twice"),
    "a column without a name": (HEADER + ",", "a column '', which is no name"),
    "a column with an escape": (HEADER + ",a\x1b[2J", r"a column 'a\\\\x1b\[2J', which is no name"),
    "a column of the gate": (HEADER + ",file exists", "a column 'file exists', which the gate adds itself; rename"),
    "another column of the gate": (HEADER + ",date is sane", "a column 'date is sane', which the gate adds itself"),
    "more values than columns": (HEADER + "\n1,2,3,4,5,6,7,8\n", "has 8 values in line 2 and 7 columns"),
    "fewer values than columns": (HEADER + "\n1,2\n", "has 2 values in line 2 and 7 columns"),
    "an open quote": (HEADER + '\n"1,2', "cannot be read as a table"),
    "a large value": (HEADER + "\n" + "x" * 200_000, "cannot be read as a table"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES)
def test_a_manifest_that_is_no_plain_table_is_refused(tmp_path, text, message):
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(InputError, match=message) as stopped:
        check_training(tmp_path)
    assert str(stopped.value).isprintable()


@pytest.mark.parametrize("values", [[[1]], [{"a": 1}], [b"a"]], ids=["lists", "structs", "bytes"])
def test_a_parquet_manifest_of_other_kinds_than_text_and_numbers_is_refused(tmp_path, values):
    pq.write_table(pa.table({"id": values}), tmp_path / "metadata.parquet")
    with pytest.raises(
        InputError, match=r"The manifest of the training set has a column 'id' of .*; give text or numbers"
    ):
        check_training(tmp_path)


def test_a_small_parquet_manifest_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "MOST_BYTES", 50_000_000)
    ids = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 1000])).cast(pa.string())
    pq.write_table(pa.table({"id": ids}), tmp_path / "metadata.parquet")
    assert (tmp_path / "metadata.parquet").stat().st_size < 100_000
    with pytest.raises(InputError, match=r"unpacks to more than 50,000,000 bytes; make several"):
        ImageSet.open(tmp_path, "set")


def test_a_parquet_manifest_is_read_as_the_same_csv(world, tmp_path):
    folder = world.copy("train", tmp_path / "train")
    rows = read_rows(folder)
    columns = {name: [row[name] for row in rows] for name in rows[0]} | {"class": [int(row["class"]) for row in rows]}
    pq.write_table(pa.table(columns), folder / "metadata.parquet")
    assert ImageSet.open(folder, "set").rows.to_pylist() == rows
    pq.write_table(pa.table({"id": pa.array(["a", None]), "class": pa.array([1, None])}), folder / "metadata.parquet")
    assert ImageSet.open(folder, "set").rows.to_pylist() == [{"id": "a", "class": "1"}, {"id": None, "class": None}]


def save_16_bit_colours(path):
    """Which Pillow cannot write; it reads them as RGB of 8 bits."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


PICTURES = {
    "16 bits of grey": lambda p: Image.fromarray(np.zeros((8, 8), np.uint16)).save(p, "PNG"),
    "16 bits of colour": save_16_bit_colours,
    "CMYK": lambda p: Image.new("CMYK", (8, 8)).save(p, "JPEG"),
    "several pictures": lambda p: Image.new("RGB", (8, 8)).save(
        p, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]
    ),
}


@pytest.mark.parametrize("save", PICTURES.values(), ids=PICTURES)
def test_an_image_that_would_be_misread_is_stopped(world, tmp_path, save):
    folder = world.copy("train", tmp_path / "train")
    save(folder / "t00.png")
    write_manifest(folder, edit(read_rows(folder), 0, sha256=file_digests(folder / "t00.png")[1]))
    with pytest.raises(GateFailed, match="'image has 8 bits': 1 of 24 rows: t00"):
        check_training(folder)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_images_of_8_bits_pass(world, tmp_path, mode):
    folder = world.copy("train", tmp_path / "train")
    Image.new("RGB", (8, 8), "red").convert(mode).save(folder / "t00.png")
    write_manifest(folder, edit(read_rows(folder), 0, sha256=file_digests(folder / "t00.png")[1]))
    assert check_training(folder)[1]["success"]


def test_a_model_that_takes_prompts_needs_their_column(world, tmp_path):
    with pytest.raises(GateFailed, match="expect_column_to_exist on column 'prompt'"):
        validate_generated.fn(as_pulled(world.generated), ImageSpec(8, 8, None, prompts=True), tmp_path)


@pytest.mark.parametrize("said", ["0", "-3", "many", "12.5", "nan", "1e9"])
def test_an_original_size_that_is_none_is_stopped_where_the_model_is_told_it(world, tmp_path, said):
    folder = world.copy("train", tmp_path / "train")
    rows = [row | {"original_width": "640", "crop_top": "0"} for row in read_rows(folder)]
    write_manifest(folder, edit(rows, 3, original_width=said))
    told = partial(validate_training.fn, as_pulled(folder), "training set", licences=["CC-BY-4.0"], cache=tmp_path)
    with pytest.raises(GateFailed, match="'original_width is known': 1 of 24 rows: t03"):
        told(spec=replace(SPEC, sizes=True))
    assert all(v["success"] for v in told(spec=SPEC))
    write_manifest(folder, edit(rows, 3, original_width=""))
    again = partial(validate_training.fn, as_pulled(folder), "training set", licences=["CC-BY-4.0"], cache=tmp_path)
    assert all(v["success"] for v in again(spec=replace(SPEC, sizes=True)))


def test_at_most_ten_rows_are_shown(world, tmp_path):
    with pytest.raises(GateFailed) as stopped:
        check_training(world.train, licences=["MIT"])
    assert "24 of 24 rows" in str(stopped.value)
    assert str(stopped.value).count("(CC-BY-4.0)") == 10


def test_a_corrupt_image_in_a_shard_is_named_by_row(world, tmp_path):
    folder = world.copy("train", tmp_path / "train")
    (folder / "t13.png").write_bytes(b"not an image")
    write_manifest(folder, edit(read_rows(folder), 13, sha256=file_digests(folder / "t13.png")[1]))
    shards = write_shards(tmp_path / "shards", folder, 2)
    place = r"t13 in b/data\.parquet, row 1 \(from 0\), of the training set \(False\)"
    with pytest.raises(GateFailed, match=rf"'image decodes': 1 of 24 rows: {place}"):
        check_training(shards)
    assert check_training(write_shards(tmp_path / "good", world.train, 2))[1]["success"]


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated"])
def test_a_corrupt_image_is_stopped(world, tmp_path, content):
    folder = world.copy("train", tmp_path / "train")
    path = folder / "t00.png"
    path.write_bytes(path.read_bytes()[:50] if content == "truncated" else content)
    write_manifest(folder, edit(read_rows(folder), 0, sha256=file_digests(path)[1]))
    with pytest.raises(GateFailed, match="'image decodes': 1 of 24 rows: t00"):
        check_training(folder)


def test_a_generated_image_of_another_size_is_stopped(world, tmp_path):
    folder = world.copy("generated", tmp_path / "generated")
    Image.fromarray(np.zeros((16, 8, 3), np.uint8)).save(folder / "g1.png")
    write_manifest(folder, edit(read_rows(folder), 1, sha256=file_digests(folder / "g1.png")[1]))
    with pytest.raises(GateFailed, match=r"'height': 1 of 3 rows: g1 \(16\)"):
        validate_generated.fn(as_pulled(folder), SPEC, tmp_path)


def spoil_tensors(change):
    def spoil(folder):
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return spoil


def spoil_config(**values):
    def spoil(folder):
        path = folder / "unet" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def not_finite(tensors):
    tensors["conv_in.weight"][0, 0, 0, 0] = torch.nan


CHECKPOINTS = {
    "a pickle": (
        lambda folder: torch.save({}, folder / "unet" / "model.bin"),
        "'is safe to read': 1 of 4 rows: unet/model.bin",
    ),
    "not finite": (spoil_tensors(not_finite), "'is finite': 1 of"),
    "a tensor too few": (spoil_tensors(lambda t: t.pop("conv_in.bias")), "'is in the file': 1 of"),
    "a tensor too many": (spoil_tensors(lambda t: t.update(extra=torch.zeros(1))), "'is in the configuration': 1 of"),
    "another shape": (spoil_tensors(lambda t: t.update({"conv_in.bias": torch.zeros(3)})), "'shape fits': 1 of"),
    "a truncated file": (
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:999]),
        "not a whole safetensors",
    ),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "save_pretrained"),
    "no configuration": (lambda folder: (folder / "unet" / "config.json").unlink(), "config.json is missing"),
    "a configuration that is no JSON": (
        lambda folder: (folder / "unet" / "config.json").write_text("{"),
        "cannot be read as JSON",
    ),
    "an unknown network": (spoil_config(_class_name="Evil"), "'Evil' is not known"),
    "a size that its blocks cannot halve": (spoil_config(sample_size=9), "network cannot be run ("),
    "no scheduler": (
        lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(),
        "scheduler_config.json is missing",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_bad_checkpoint_is_stopped(world, tmp_path, spoil, message):
    folder = world.copy("checkpoint", tmp_path / "checkpoint")
    spoil(folder)
    with pytest.raises(InputError) as stopped:
        validate_checkpoint.fn(as_pulled(folder), tmp_path)
    assert message in str(stopped.value)
