"""What is kept belongs to the code that made it: other code finds none of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mucs.attribution import Calibration
from mucs.attribution.version import METHOD_SHA256

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[3]
KEEP = """
import json, sys, torch
from pathlib import Path
from mucs import InputError
from mucs.attribution import *
from mucs.attribution.version import METHOD_SHA256
from mucs.evaluation.case import Case
from mucs.evaluation.methods import Mucs
from mucs.evaluation.retraining import Job, Retraining
from mucs.evaluation.training import Recipe

checkpoint, folder = sys.argv[1], Path(sys.argv[2])
model = DiffusionModel.from_pretrained(checkpoint)
pixels = torch.rand((6, 3, 8, 8), generator=torch.Generator().manual_seed(0))
items = Items(pixels, {"class_labels": torch.zeros(6, dtype=torch.long)})
images, held_out = items[:4], items[4:]
bank, settings = NoiseBank.draw(model, 2), Unlearning(max_steps=1, batch_size=2, null_loss=10.0)
made = calibrate(model, images, held_out, bank, settings, 1, store=LossStore(folder))
Mucs(Case(model, images, held_out[:1]), bank, settings, folder=folder).scores()
other = folder / "calibration"
refused = ""
if other.exists():
    try:
        attribute(model, images, held_out[:1], bank, settings, held_out=held_out, calibration=Calibration.read(other))
    except InputError as error:
        refused = str(error)
other.write_bytes(made.to_bytes())
trained = Retraining(model, images, Recipe(steps=1, batch_size=1, learning_rate=1e-3), folder).path(Job()).name
print(json.dumps([METHOD_SHA256, made.code, made.address, trained, refused]))
"""


@pytest.fixture
def other_code(tmp_path):
    """The package with another remark in the method's source."""
    shutil.copytree(ROOT / "mucs", tmp_path / "code" / "mucs", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "code" / "mucs" / "attribution" / "skew.py").open("a") as f:
        f.write("# another\n")
    return tmp_path / "code"


@pytest.mark.slow
def test_other_code_finds_nothing_of_what_this_code_kept(world, other_code, tmp_path):
    def keep(code):
        words = [sys.executable, "-c", KEEP, world.checkpoint, tmp_path / "kept"]
        environment = os.environ | {"PYTHONPATH": str(code)}
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        files = {str(p.relative_to(tmp_path)) for p in (tmp_path / "kept").rglob("*.f??")}
        return json.loads(done.stdout), files

    (first, once), (again, twice), (other, thrice) = keep(ROOT), keep(ROOT), keep(other_code)
    assert first == [METHOD_SHA256, METHOD_SHA256, *again[2:4], ""]
    assert again[-1] == ""
    assert once == twice
    assert len(once) == 5  # losses of training items, of held-out ones, of all together, a decoy, an unlearned item
    assert len(thrice) == 10
    assert other[0] == other[1] != METHOD_SHA256
    assert not {*other[2:4]} & {*first[2:4]}
    assert "by another version of the code; make it anew" in other[-1]


def test_the_calibration_of_the_demo_belongs_to_this_code_data_and_settings():
    """Where the method's code, the demo's data or its settings have changed, `python data/calibrate.py` makes it anew."""
    sys.path.insert(0, str(ROOT / "data"))
    from calibrate import plan_of_demo

    from flows.demo import CALIBRATION, SETTINGS
    from tasks.collect import calibration_address

    found = Calibration.read(CALIBRATION)
    assert found.address == calibration_address(plan_of_demo(), METHOD_SHA256)
    assert found.code == METHOD_SHA256
    assert (len(found.decoys), found.entries) == (SETTINGS.decoys, SETTINGS.calibration_noises)
