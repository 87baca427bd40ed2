"""Pixels in one file, decoded block by block."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mucs import InputError
from mucs.images import ImageSet, blocks
from mucs.images.pixels import mapped_pixels
from tests.conftest import write_shards

KILLED = """
import sys
from pathlib import Path
from mucs.images import ImageSet, blocks, pixels
if __name__ == "__main__":
    blocks.BLOCK, blocks.SECONDS_ALONE = 4, 0
    images = ImageSet.open(Path(sys.argv[1]), "set")
    print("ready", flush=True)
    pixels.mapped_pixels(images, Path(sys.argv[2]))
    sys.stdin.read()
"""


@pytest.mark.parametrize("sharded", [False, True])
def test_images_are_decoded_in_processes_as_in_one(world, tmp_path, monkeypatch, sharded):
    folder = write_shards(tmp_path / "train", world.train, 2, row_group_size=5) if sharded else world.train
    images = ImageSet.open(folder, "set")
    monkeypatch.setattr(blocks, "BLOCK", 7)
    monkeypatch.setattr(blocks, "SECONDS_ALONE", 0)
    found = mapped_pixels(images, tmp_path / "pixels.u8")
    assert np.array_equal(found, images[:])
    assert {path.name for path in tmp_path.iterdir()} - {"train"} == {"pixels.u8"}
    found[0] = 0  # a copy of the reader's own
    assert np.array_equal(mapped_pixels(images, tmp_path / "pixels.u8"), images[:])


def test_decoding_goes_on_where_it_was_killed(world, tmp_path, monkeypatch):
    folder = world.copy("train", tmp_path / "train")
    monkeypatch.setattr(blocks, "BLOCK", 8)
    (folder / "t23.png").unlink()
    whole = ImageSet.open(world.train, "set")[:]
    images = ImageSet.open(folder, "set")
    with pytest.raises(InputError, match=r"^t23\.png of the set is not there"):
        mapped_pixels(images, tmp_path / "pixels.u8")
    (folder / "t23.png").write_bytes((world.train / "t23.png").read_bytes())
    (folder / "t15.png").write_bytes(b"")  # which is decoded already
    assert np.array_equal(mapped_pixels(images, tmp_path / "pixels.u8"), whole)


def test_processes_end_with_the_one_that_started_them(world, tmp_path):
    folder = world.copy("train", tmp_path / "train")
    (folder / "t09.png").unlink()
    os.mkfifo(folder / "t09.png")  # nobody writes to it: whoever reads it waits for good
    words = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "pixels.u8")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as main:
        assert main.stdout.readline() == b"ready\n"
        others = wait_for(lambda: len(found := children(main.pid)) > 1 and found)
        main.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others))


def children(pid):
    """The processes that one has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def wait_for(attempt, seconds=30):
    end = time.monotonic() + seconds
    while not (found := attempt()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_images_of_several_sizes_are_refused(world, tmp_path):
    from PIL import Image

    folder = world.copy("train", tmp_path / "train")
    Image.new("RGB", (1, 1)).save(folder / "t05.png")
    with pytest.raises(InputError, match="of the set are of several sizes"):
        mapped_pixels(ImageSet.open(folder, "set"), tmp_path / "pixels.u8")
