"""Original losses are kept by content address: never stale, shared by processes, whole after a kill, and on disk."""

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mucs import InputError
from mucs.attribution import DiffusionModel, Items, LossStore, NoiseBank, Scoring, denoising_losses
from mucs.attribution.losses import machine

pytestmark = pytest.mark.heavy

ITEMS = 40
SCORING = Scoring(batch_size=4)
PROCESS = """
import sys, torch
from mucs.attribution import DiffusionModel, Items, LossStore, NoiseBank, Scoring
torch.set_num_threads(1)
model = DiffusionModel.from_pretrained(sys.argv[1])
items = Items(torch.rand((40, 3, 8, 8), generator=torch.Generator().manual_seed(0)), {"class_labels": torch.zeros(40, dtype=torch.long)})
table = LossStore(sys.argv[2]).table(model, items, NoiseBank.draw(model, 16), Scoring(batch_size=4))
print("ready", flush=True)
for j in range(16):
    table.rows(torch.arange(40), range(j, j + 1))
"""


@pytest.fixture(scope="module")
def model(world):
    return DiffusionModel.from_pretrained(world.checkpoint)


@pytest.fixture(scope="module")
def items():
    pixels = torch.rand((ITEMS, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return Items(pixels, {"class_labels": torch.zeros(ITEMS, dtype=torch.long)})


@pytest.fixture
def expected(model, items):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield denoising_losses(model, items, NoiseBank.draw(model, 16), batch_size=4)
    torch.set_num_threads(threads)


def start(world, store):
    command = [sys.executable, "-c", PROCESS, world.checkpoint, store]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read(store):
    (path,) = store.glob("*.f32")
    return torch.from_numpy(np.fromfile(path, np.float32)).view(16, ITEMS).T


@pytest.mark.slow
def test_two_processes_fill_one_table(world, expected, tmp_path):
    with start(world, tmp_path) as one, start(world, tmp_path) as other:
        for process in (one, other):
            process.communicate()
    assert (one.returncode, other.returncode) == (0, 0)
    assert torch.equal(read(tmp_path), expected)
    assert [path.suffix for path in tmp_path.iterdir()] == [".f32"]


def test_a_killed_process_leaves_what_it_measured(world, model, items, expected, tmp_path):
    with start(world, tmp_path) as process:
        assert process.stdout.readline() == "ready\n"
        while read(tmp_path).isnan().all():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    left = read(tmp_path)
    known = ~left.isnan()
    assert known.any()
    assert torch.equal(left[known], expected[known])
    table = LossStore(tmp_path).table(model, items, NoiseBank.draw(model, 16), SCORING)
    assert torch.equal(table.rows(torch.arange(ITEMS), range(16)), expected)
    assert torch.equal(read(tmp_path), expected)


def test_what_is_known_is_not_measured_again(model, items, tmp_path):
    bank = NoiseBank.draw(model, 16)
    LossStore(tmp_path).table(model, items, bank, SCORING).rows(torch.arange(10), range(3))
    table = LossStore(tmp_path).table(model, items, bank, SCORING)
    del table.model  # nothing left to measure with
    assert table.rows(torch.tensor([9, 0, 5]), range(1, 3)).isfinite().all()
    with pytest.raises(AttributeError):
        table.rows(torch.tensor([10]), range(1))


def test_nothing_in_the_store_can_be_stale(model, items, tmp_path):
    bank = NoiseBank.draw(model, 4)
    store = LossStore(tmp_path)
    other = model.copy()
    with torch.no_grad():
        other.network.conv_in.bias[0] += 1e-3
    pixels = items.images.clone()
    pixels[7, 0, 0, 0] += 1e-6
    labels = items.conditioning["class_labels"].clone()
    labels[3] = 1
    cases = [
        (model, items, bank, SCORING),
        (other, items, bank, SCORING),
        (model, Items(pixels, items.conditioning), bank, SCORING),
        (model, Items(items.images, {"class_labels": labels}), bank, SCORING),
        (model, items, NoiseBank.draw(model, 4, seed=1), SCORING),
        (model, items, bank, Scoring(batch_size=8)),
        (model, items, bank, Scoring(batch_size=4, precision="bfloat16")),
    ]
    tables = [store.table(*case) for case in cases]
    assert len({id(table) for table in tables}) == len(cases) == len(list(tmp_path.glob("*.f32")))
    assert store.table(*cases[0]) is tables[0]


def test_losses_of_a_shard_are_taken_from_where_they_were_measured(model, items, expected, tmp_path):
    bank = NoiseBank.draw(model, 16)
    elsewhere = LossStore(tmp_path / "elsewhere").table(model, items, bank, SCORING)
    shards = [range(0, 15), range(15, ITEMS)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measured = [elsewhere.rows(torch.arange(shard.start, shard.stop), range(16)) for shard in shards]
    torch.set_num_threads(threads)
    table = LossStore(tmp_path / "here").table(model, items, bank, SCORING)
    del table.model  # nothing to measure with
    assert table.missing(range(16), range(ITEMS)) == 16 * ITEMS
    table.fill(range(16), shards[0], measured[0])
    assert [table.missing(range(16), shard) for shard in shards] == [0, 16 * 25]
    table.fill(range(16), shards[1], measured[1])
    assert torch.equal(table.rows(torch.arange(ITEMS), range(16)), expected)
    with pytest.raises(InputError, match=r"the table takes finite float32 of \(15, 16\); measure them anew"):
        table.fill(range(16), shards[0], measured[1])


def test_several_threads_measure_at_once(model, items):
    """Both are in the network at the same time: neither waits for the other's pairs."""
    both = threading.Barrier(2, timeout=60)

    def meet(*_):
        both.wait()

    twin = model.copy()
    twin.network.register_forward_pre_hook(meet)
    table = LossStore().table(twin, items, NoiseBank.draw(model, 1), Scoring(batch_size=20))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda k: table.rows(torch.arange(20 * k, 20 * k + 20), range(1)), range(2)))
    assert torch.cat(found).isfinite().all()
    assert table.missing(range(1), range(ITEMS)) == 0


def test_a_machine_is_named_without_its_threads_where_each_item_has_one():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert machine(torch.device("cpu"))["name"] == torch.backends.cpu.get_cpu_capability()
        torch.set_num_threads(2)
        assert machine(torch.device("cpu"))["name"].endswith(", 2 threads")
    finally:
        torch.set_num_threads(threads)


MILLION = """
import json, resource, sys, torch
from diffusers import DDIMScheduler, UNet2DModel
from mucs.attribution import *
torch.manual_seed(0)
network = UNet2DModel(sample_size=2, in_channels=1, out_channels=1, block_out_channels=(2,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1, norm_num_groups=1, mid_block_type=None)
model = DiffusionModel(network, DDIMScheduler(prediction_type="v_prediction"))
count = int(sys.argv[1])
items = Items(torch.randint(256, (count, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
(found,) = attribute(model, items, items[:1], NoiseBank.draw(model, 100), Unlearning(max_steps=2, batch_size=64, null_loss=10.0), screening=Screening([(1, 0.001)]), scoring=Scoring(batch_size=8192), store=LossStore(sys.argv[2]))
print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, len(found.items)]))
"""


@pytest.mark.slow
def test_a_million_items_take_little_memory(tmp_path):
    def peak(count):
        done = subprocess.run(
            [sys.executable, "-c", MILLION, str(count), tmp_path / str(count)],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    (few, _), (many, survivors) = peak(10_000), peak(1_000_000)
    assert survivors == 1000
    print(f"a million items take {(many - few) / 1e9:.2f} GB more than ten thousand")
    assert many - few < 2e9
