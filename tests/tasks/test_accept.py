"""What is sent is refused by the gate of generated batches before anything of it is kept."""

import io

import numpy as np
import pytest
from PIL import Image

from mucs import InputError
from mucs.attribution import Settings
from mucs.evidence.log import Log
from mucs.evidence.store import Folder
from mucs.images import ImageSet
from mucs.images.request import Request
from tasks.accept import accept
from tasks.plan import Plan
from tasks.prepared import here
from tasks.pull import Altered, as_pulled, pull
from tasks.validate import ImageSpec
from tests.conftest import draw

pytestmark = pytest.mark.heavy

SPEC = ImageSpec(8, 8, 2, prompts=False)


def picture(pixels: np.ndarray, **options) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", **options)
    return content.getvalue()


GOOD = picture(draw(0, 1))
BOMB = picture(np.zeros((9000, 9000), np.uint8))
ANIMATED = picture(draw(0, 1), save_all=True, append_images=[Image.fromarray(draw(1, 1))])


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(b"GIF89a no picture", label="1"), "is no picture that can be used"),
        (Request(GOOD[:-30], label="1"), "is no picture that can be used"),
        (Request(BOMB, label="1"), "is no picture that can be used"),
        (Request(ANIMATED, label="1"), "of 8 bits a channel"),
        (Request(picture(np.zeros((8, 8), np.uint16)), label="1"), "of 8 bits a channel"),
        (
            Request(picture(np.zeros((9, 8, 3), np.uint8)), label="1"),
            "has 8 × 9 pixels, and the model takes 8 × 8 pixels",
        ),
        (Request(GOOD, label="2"), "a class that the model does not have"),
        (Request(GOOD), "comes without its class"),
        (Request(GOOD, label="1", prompt="a cat"), "makes no pictures from words"),
        (Request(GOOD, label="1", seed="\u202e1"), "seed must be one line"),
        (Request(GOOD, label="1", seed="1" * 1001), "at most 1,000 characters"),
    ],
)
def test_a_hostile_request_is_refused_with_nothing_kept(tmp_path, request_, says):
    with pytest.raises(InputError, match=says):
        accept(request_, SPEC, str(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(GOOD, prompt="x" * 20_001), "at most 20,000 characters"),
        (Request(GOOD), "send those of this one as prompt"),
        (Request(GOOD, label="1", prompt="a cat"), "has no classes"),
    ],
)
def test_so_is_one_to_a_model_of_prompts(tmp_path, request_, says):
    with pytest.raises(InputError, match=says):
        accept(request_, ImageSpec(8, 8, None, prompts=True), str(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


def test_what_is_accepted_is_pulled_from_the_log_once_and_held_to_its_digest(tmp_path):
    request = Request(GOOD, label="1")
    log = tmp_path / "log"
    path = accept(request, SPEC, str(log))
    assert path == accept(request, SPEC, str(log))
    pulled = pull.fn("", "", path, tmp_path / "cache", str(log))
    assert (pulled.path, pulled.commit, pulled.fetched) == (path, "", 1)
    assert ImageSet.open(pulled.folder, "batch").row(0) == request.row
    assert pull.fn("", "", path, tmp_path / "cache", str(log)).fetched == 0

    kept = log / "objects" / path.partition(":")[2]
    assert Log(Folder(log)).object(path.partition(":")[2]) == request.to_shard()
    kept.write_bytes(b"another")
    with pytest.raises(Altered, match="was altered"):
        pull.fn("", "", path, tmp_path / "another cache", str(log))


def test_a_worker_of_a_fleet_has_what_was_sent_from_the_log_into_its_own_cache(tmp_path, world, monkeypatch):
    path = accept(Request(GOOD, label="1"), SPEC, str(tmp_path / "log"))
    pulled = pull.fn("", "", path, tmp_path / "cache", str(tmp_path / "log"))
    folders = as_pulled(world.checkpoint), as_pulled(world.train), None
    plan = Plan("nowhere", *folders, pulled, Settings(), "cpu", None, str(tmp_path / "work"), str(tmp_path / "log"))
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "another"))
    there = here(plan, pulled)
    assert there.folder.is_relative_to(tmp_path / "another")
    assert there.sent.read_bytes() == pulled.sent.read_bytes()
