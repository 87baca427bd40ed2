"""Prepared items come with what their manifest says of them."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from mucs.attribution import DiffusionModel, Encoding
from tasks.prepare import content_sha256, opened, read_items
from tasks.pull import as_pulled
from tasks.validate import validate_checkpoint
from tests.conftest import write_manifest
from tests.mucs.attribution.test_families import stable_diffusion_xl

pytestmark = pytest.mark.heavy


def test_original_sizes_and_crops_reach_the_network(tmp_path):
    torch.manual_seed(0)
    stable_diffusion_xl(tmp_path / "checkpoint")
    folder = tmp_path / "images"
    folder.mkdir()
    sizes = [("480", "640", "0", "107"), ("", "", "", ""), ("20", "", "", "2.0")]
    names = ("original_height", "original_width", "crop_top", "crop_left")
    rows = []
    for k, said in enumerate(sizes):
        Image.new("RGB", (16, 16), (60 * k, 0, 0)).save(folder / f"{k}.png")
        row = {"id": str(k), "file_name": f"{k}.png", "sha256": str(k), "prompt": "a box"}
        rows.append(row | dict(zip(names, said, strict=True)))
    write_manifest(folder, rows)
    pulled = as_pulled(folder)
    model = DiffusionModel.from_pretrained(tmp_path / "checkpoint")
    items = read_items(model, pulled, "training set", Encoding(), tmp_path / "cache")
    assert items[:].conditioning["time_ids"].tolist() == [
        [480, 640, 0, 107, 16, 16],
        [16, 16, 0, 0, 16, 16],
        [20, 16, 0, 2, 16, 16],
    ]
    write_manifest(folder, [{**row, "crop_left": ""} for row in rows])
    other = as_pulled(folder)
    assert content_sha256(opened(other, "training set")) != content_sha256(opened(pulled, "training set"))
    again = read_items(model, other, "training set", Encoding(), tmp_path / "cache")
    assert again[:].conditioning["time_ids"][0].tolist() == [480, 640, 0, 0, 16, 16]
    assert validate_checkpoint.fn(as_pulled(tmp_path / "checkpoint"), tmp_path / "cache")[1].sizes
