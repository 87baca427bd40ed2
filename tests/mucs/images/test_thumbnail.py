"""Thumbnails: small, the same bytes each time, sharp where the image is tiny, with nothing in them but the picture."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mucs import InputError
from mucs.images import ImageSet, blocks
from mucs.images import thumbnail as module
from mucs.images.thumbnail import SIDE, TINY, thumbnail, write_thumbnails
from tests.conftest import draw, read_rows, write_shards


def encoded(size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", **options: object) -> bytes:
    """A picture that goes from dark to light from left to right."""
    row = np.linspace(0, 255, size[0], dtype=np.uint8)
    body = io.BytesIO()
    Image.fromarray(np.tile(row, (size[1], 1))).convert(mode).save(body, kind, **options)
    return body.getvalue()


def decoded(webp: bytes, mode: str = "RGB") -> np.ndarray:
    with Image.open(io.BytesIO(webp), formats=("WEBP",)) as image:
        return np.asarray(image.convert(mode)).astype(int)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L"), ("PNG", "1"), ("JPEG", "RGB"), ("WEBP", "RGB")]
)
@pytest.mark.parametrize(
    ("size", "becomes"), [((1200, 600), (SIDE, SIDE // 2)), ((30, 900), (6, SIDE)), ((100, 40), (100, 40))]
)
def test_a_thumbnail_is_small_is_never_larger_than_the_image_and_keeps_its_look(kind, mode, size, becomes):
    content = encoded(size, kind, mode)
    webp = thumbnail(content)
    assert webp == thumbnail(content)
    found = decoded(webp)
    assert found.shape == (becomes[1], becomes[0], 3)
    if mode != "1":
        assert np.abs(found.mean(axis=(0, 2)) - np.linspace(0, 255, becomes[0])).max() < 24


@pytest.mark.parametrize("side", [1, 8, TINY])
def test_of_a_tiny_image_no_pixel_is_lost(side):
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 4), np.uint8)
    pixels[..., 3] |= 1  # of what cannot be seen at all, the colour may go
    for mode in ("RGB", "RGBA"):
        body = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(body, "PNG")
        assert np.array_equal(decoded(thumbnail(body.getvalue()), mode), pixels[..., : len(mode)])


def test_what_is_transparent_stays_so():
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[:, 200:] = (255, 0, 0, 255)
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    found = decoded(thumbnail(body.getvalue()), "RGBA")
    assert (found[96, 10, 3], found[96, 180, 3]) == (0, 255)
    palette = Image.fromarray(pixels[..., 3]).convert("P")
    body = io.BytesIO()
    palette.save(body, "PNG", transparency=palette.getpixel((0, 0)))
    assert set(decoded(thumbnail(body.getvalue()), "RGBA")[96, [10, 180], 3]) == {0, 255}


def test_nothing_but_the_picture_is_in_it():
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    more = {"exif": exif, "icc_profile": b"a profile", "xmp": b"<x:xmpmeta>by Ada</x:xmpmeta>"}
    plain, told = (thumbnail(encoded((300, 300), "JPEG", **options)) for options in ({}, more))
    assert told == plain
    with Image.open(io.BytesIO(told)) as image:
        assert not image.info.keys() & {"exif", "icc_profile", "xmp"}


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="cannot identify"):
        thumbnail(b"no image")
    with pytest.raises(ValueError, match=r"truncated|broken|incomplete"):
        thumbnail(encoded((300, 300), "JPEG")[:-400])


@pytest.fixture
def filed(monkeypatch):
    """Files of 7 thumbnails."""
    monkeypatch.setattr(module, "FILED", 7)


def read(paths) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in paths:
        table = pq.read_table(path)
        assert table["image_sha256"].to_pylist() == sorted(table["image_sha256"].to_pylist())
        assert len(table) <= 7
        found |= dict(zip(*table.to_pydict().values(), strict=True))
    return found


@pytest.mark.usefixtures("filed")
@pytest.mark.parametrize("sharded", [False, True])
def test_those_of_a_set_are_the_same_bytes_in_processes_and_in_one(world, tmp_path, monkeypatch, sharded):
    folder = write_shards(tmp_path / "train", world.train, 2, row_group_size=5) if sharded else world.train
    images = ImageSet.open(folder, "set")
    alone = write_thumbnails(images, tmp_path / "alone")
    monkeypatch.setattr(blocks, "SECONDS_ALONE", 0)
    together = write_thumbnails(images, tmp_path / "together")
    assert len(alone) == 4
    assert [path.read_bytes() for path in alone] == [path.read_bytes() for path in together]
    found = read(alone)
    assert set(found) == {row["sha256"] for row in read_rows(world.train)}
    assert np.array_equal(decoded(found[images.column("sha256")[5]]), draw(5, 1))


@pytest.mark.usefixtures("filed")
def test_some_images_of_a_set_alone(world, tmp_path):
    sharded = write_shards(tmp_path / "train", world.train, 3, row_group_size=4)
    places = [0, 3, 4, 11, 12, 22, 23]
    for name, folder in (("files", world.train), ("shards", sharded)):
        images = ImageSet.open(folder, "set")
        some = images.take(places)
        assert [some.content(k) for k in range(7)] == [images.content(k) for k in places]
        again = some.take([1, 6]).part(1, 9)
        assert (len(again), again.row(0), again.content(0)) == (1, images.row(23), images.content(23))
        found = read(write_thumbnails(some, tmp_path / name))
        assert found == {
            row["sha256"]: thumbnail(images.content(k)) for k, row in zip(places, some.to_rows(), strict=True)
        }
    assert write_thumbnails(images.take([]), tmp_path / "none") == []


@pytest.mark.usefixtures("filed")
def test_it_goes_on_where_it_was_stopped_and_names_what_it_cannot_take(world, tmp_path):
    folder = world.copy("train", tmp_path / "train")
    (folder / "t23.png").write_bytes(b"none")
    images = ImageSet.open(folder, "set")
    with pytest.raises(InputError, match=r"^t23\.png of the set is not a PNG, JPEG or WebP image"):
        write_thumbnails(images, tmp_path / "made")
    (folder / "t23.png").write_bytes((world.train / "t23.png").read_bytes())
    (folder / "t20.png").write_bytes(b"")  # whose block is made already
    whole = write_thumbnails(ImageSet.open(world.train, "set"), tmp_path / "whole")
    assert [p.read_bytes() for p in write_thumbnails(images, tmp_path / "made")] == [p.read_bytes() for p in whole]
