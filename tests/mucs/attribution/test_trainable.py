"""Whatever parameters are trained, the process lives, and their gradients are right."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy

# Every single parameter of both UNets, and a network's norms all at once: the gradient in channels-last on a CPU, where
# torch's group norm has died, and in the default layout at double precision.
EVERY_CHOICE = """
import json
import torch
from dataclasses import replace
from diffusers import DDIMScheduler, UNet2DConditionModel, UNet2DModel
from mucs.attribution import DiffusionModel

torch.set_num_threads(1)
torch.manual_seed(0)
SHARED = dict(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4)
NETWORKS = [
    (UNet2DModel(**SHARED, down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"), num_class_embeds=2), {"class_labels": torch.tensor([0, 1])}),
    (UNet2DConditionModel(**SHARED, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=8), {"encoder_hidden_states": torch.randn(2, 3, 8)}),
]
x, noise, levels = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([100.0, 700.0])


def gradients(model, names, given):
    parameters = [model.network.get_parameter(name).requires_grad_() for name in names]
    found = torch.autograd.grad(model.losses(x, noise, levels, given).sum(), parameters)
    model.network.requires_grad_(False)
    return found


found = {}
for network, given in NETWORKS:
    model = DiffusionModel(network, DDIMScheduler())
    exact = model.copy()
    exact.network = exact.network.to(memory_format=torch.contiguous_format).double()
    exact.kind = replace(exact.kind, memory_format=torch.contiguous_format, predict=lambda network, x, time, given: model.kind.predict(network, x.double(), time, {n: v.double() if v.is_floating_point() else v for n, v in given.items()}))
    names = [name for name, _ in model.network.named_parameters()]
    expected = dict(zip(names, gradients(exact, names, given)))
    norms = [name for name in names if "norm" in name]
    for chosen in ([[name] for name in names] + [norms, ["conv_norm_out.weight", "conv_in.weight"]]):
        for name, gradient in zip(chosen, gradients(model, chosen, given)):
            scale = expected[name].abs().max().clamp(min=1e-3)
            found[f"{type(network).__name__} {name} of {len(chosen)}"] = float((gradient - expected[name]).abs().max() / scale)
print(json.dumps(found))
"""

UNLEARNED = """
import sys, torch
from mucs.attribution import DiffusionModel, Items, Unlearning, mirrored_unlearning
model = DiffusionModel.from_pretrained(sys.argv[1])
images = Items(torch.rand(4, 3, 8, 8), {"class_labels": torch.zeros(4, dtype=torch.long)})
settings = Unlearning(learning_rate=1e-2, null_loss=10.0, max_steps=3, batch_size=2, trainable=["conv_norm_out.*"])
done = mirrored_unlearning(model, images[:1], images, settings)
changed = [name for name, value in done.model.network.named_parameters() if not torch.equal(value, model.network.get_parameter(name))]
print(*changed)
"""


def run(code, *words):
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, f"it ended with {done.returncode}: {done.stderr[-1000:]}"
    return done.stdout


@pytest.mark.slow
def test_every_choice_of_parameters_has_the_right_gradients():
    off = json.loads(run(EVERY_CHOICE))
    assert len(off) > 400
    assert {name: error for name, error in off.items() if not error < 1e-4} == {}


@pytest.mark.slow
def test_norms_alone_are_unlearned(world):
    assert run(UNLEARNED, world.checkpoint).split() == ["conv_norm_out.weight", "conv_norm_out.bias"]
