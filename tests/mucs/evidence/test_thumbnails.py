"""Thumbnails of a log: the picture of an image, from the object that has it, which is whole."""

import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mucs.evidence import thumbnails as module
from mucs.evidence.log import Broken, Log, object_name
from mucs.evidence.store import Folder
from mucs.evidence.thumbnails import Thumbnails, thumbnail_images
from mucs.images.thumbnail import PARQUET, SCHEMA
from tests.factories import thumbnails_file

IMAGES = [f"{k:064d}" for k in range(9)]


@pytest.fixture
def log(tmp_path) -> Log:
    return Log(Folder(tmp_path / "log"))


@pytest.fixture
def kept(log, tmp_path) -> list[str]:
    """Three objects of three thumbnails."""
    return [log.keep(thumbnails_file(tmp_path / "file", IMAGES[k : k + 3])) for k in (0, 3, 6)]


def as_object(log: Log, table: pa.Table) -> str:
    body = io.BytesIO()
    pq.write_table(table, body, **PARQUET)
    return log.keep(body.getvalue())


def test_each_image_has_its_picture_and_objects_are_read_once_while_there_is_room(log, kept, monkeypatch):
    read = []
    whole = Log.object
    monkeypatch.setattr(Log, "object", lambda self, sha256: read.append(sha256) or whole(self, sha256))  # type: ignore[func-returns-value]
    thumbnails = Thumbnails(log)
    assert [thumbnail_images(log, sha256).to_pylist() for sha256 in kept] == [IMAGES[:3], IMAGES[3:6], IMAGES[6:]]
    for k, image in enumerate(IMAGES):
        webp = thumbnails.webp(kept[k // 3], image)
        assert webp[:4] == b"RIFF"
        assert webp == thumbnails.webp(kept[k // 3], image)
    assert read == kept
    monkeypatch.setattr(module, "KEPT_BYTES", 1)
    thumbnails, read[:] = Thumbnails(log), []
    for sha256, image in ((kept[0], IMAGES[0]), (kept[0], IMAGES[1]), (kept[1], IMAGES[3]), (kept[0], IMAGES[0])):
        thumbnails.webp(sha256, image)
    assert read == [kept[0], kept[1], kept[0]]


def test_many_threads_may_ask(log, kept, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 1)
    thumbnails, alone = Thumbnails(log), Thumbnails(log)
    expected = [alone.webp(kept[k // 3], image) for k, image in enumerate(IMAGES)]
    found: list[bool] = []

    def ask() -> None:
        for _ in range(20):
            found.append([thumbnails.webp(kept[k // 3], image) for k, image in enumerate(IMAGES)] == expected)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_an_object_that_is_missing_altered_or_does_not_have_the_image_is_named(log, kept):
    path = log.store.folder / object_name(kept[0])
    body = path.read_bytes()
    with pytest.raises(Broken, match=f"{kept[1]} .* has no thumbnail of the image {IMAGES[0]}"):
        Thumbnails(log).webp(kept[1], IMAGES[0])
    path.write_bytes(body[:-1] + b"x")
    for ask in (lambda: Thumbnails(log).webp(kept[0], IMAGES[0]), lambda: thumbnail_images(log, kept[0])):
        with pytest.raises(Broken, match=f"The object {kept[0]} .* was altered"):
            ask()
    path.unlink()
    with pytest.raises(Broken, match=f"The object {kept[0]} .* is missing"):
        Thumbnails(log).webp(kept[0], IMAGES[0])


ROW = {"image_sha256": IMAGES[0], "webp": b"RIFF"}
FORGED = {
    "other columns": pa.table({"image_sha256": [IMAGES[0]]}),
    "no digest": pa.Table.from_pylist([ROW | {"image_sha256": "00"}], SCHEMA),
    "an empty one": pa.Table.from_pylist([ROW | {"image_sha256": None}], SCHEMA),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_somebody_put_there_and_is_none_of_thumbnails_is_named(log, name):
    sha256 = as_object(log, FORGED[name])
    with pytest.raises(Broken, match=f"The object {sha256} .* is not one of thumbnails"):
        thumbnail_images(log, sha256)


def test_few_bytes_that_unpack_to_many_are_refused(log, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    same = pa.Table.from_pylist([ROW | {"webp": b"x" * 10_000}] * 20, SCHEMA)
    body = io.BytesIO()
    pq.write_table(same, body, compression="zstd", store_schema=False)
    assert body.tell() < 10_000
    sha256 = log.keep(body.getvalue())
    with pytest.raises(Broken, match="is not one of thumbnails"):
        Thumbnails(log).webp(sha256, IMAGES[0])
    sha256 = log.keep(b"PAR1 or not")
    with pytest.raises(Broken, match="is not one of thumbnails"):
        Thumbnails(log).webp(sha256, IMAGES[0])
