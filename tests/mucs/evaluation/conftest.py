"""A case that several tests evaluate."""

import numpy as np
import pytest
import torch
from PIL import Image

from mucs.attribution import DiffusionModel, NoiseBank, Unlearning, encode
from mucs.evaluation.case import Case
from tests.conftest import read_rows


@pytest.fixture(scope="session")
def evaluated(world):
    """The world's case with held-out items and decoys, a bank and settings."""
    model = DiffusionModel.from_pretrained(world.checkpoint)

    def items(folder):
        rows = read_rows(folder)
        pixels = np.stack([np.asarray(Image.open(folder / row["file_name"])) for row in rows])
        labels = torch.tensor([int(row["class"]) for row in rows])
        return encode(model, torch.from_numpy(pixels).permute(0, 3, 1, 2), labels=labels)

    held_out = items(world.held_out)
    case = Case(model, items(world.train), items(world.generated)[:], held_out[:4], held_out[4:])
    return case, NoiseBank.draw(model, 8), Unlearning(learning_rate=3e-4, batch_size=8, max_steps=16)
