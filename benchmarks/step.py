"""Where a step of unlearning goes, and what would make it cheaper: `python benchmarks/step.py --size 32 --batch 8`.

On fresh weights of the demo's network (16) or of the one of benchmarks/checkpoint32.py (32), in one thread. CPU seconds
are counted, so that other work on the machine matters little; the variants take turns. `--compile` adds a compiled
step, after a minute or more of compiling.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch
import yaml
from attribution import DATA
from checkpoint32 import PARAMS
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mucs.attribution import DiffusionModel
from mucs.attribution.trainable import trainable_names
from mucs.evaluation.training import small_unet

CLASSES = 8
KINDS = {"convolution": "convolutions", "attention": "attention", "group_norm": "group norm", "mm": "matrix products"}
UP = ["up_blocks.*.conv1.weight", "up_blocks.*.conv2.weight"]


def fresh(size: int) -> DiffusionModel:
    torch.manual_seed(0)
    params = PARAMS if size == 32 else yaml.safe_load((DATA / "params.yaml").read_text())["train"]
    return DiffusionModel(*small_unet(size, CLASSES, params["block_out_channels"], prediction_type="v_prediction"))


class Step:
    """One step's losses and gradients, for a batch of training items and as many copies of a generated one."""

    def __init__(self, model: DiffusionModel, batch: int, trainable: str | list[str] = "feedforward") -> None:
        self.model, self.batch = model.copy(), batch
        names = trainable_names(self.model.network, trainable)
        self.parameters = [self.model.network.get_parameter(name).requires_grad_() for name in names]
        random, size = torch.Generator().manual_seed(0), 2 * batch
        self.x = torch.rand((size, *model.shape), generator=random) * 2 - 1
        self.noise = torch.randn(self.x.shape, generator=random)
        self.levels = torch.randint(1000, (size,), generator=random).float()
        self.labels = torch.randint(CLASSES, (size,), generator=random)

    def losses(self, part: slice) -> Tensor:
        given = {"class_labels": self.labels[part]}
        return self.model.losses(self.x[part], self.noise[part], self.levels[part], given)

    def __call__(self, pairs: int | None = None) -> None:
        """`pairs` samples a forward pass; all at once by default."""
        pairs = pairs or len(self.x)
        losses = torch.cat([self.losses(slice(k, k + pairs)) for k in range(0, len(self.x), pairs)])
        (losses[: self.batch].mean() - 0.2 * losses[self.batch :].mean()).backward()
        for parameter in self.parameters:
            parameter.grad = None


def default_layout(model: DiffusionModel) -> DiffusionModel:
    twin = model.copy()
    twin.network = twin.network.to(memory_format=torch.contiguous_format)
    twin.kind = replace(twin.kind, memory_format=torch.contiguous_format)
    return twin


def compiled(step: Step) -> Step:
    twin = copy.copy(step)
    twin.model = step.model.compiled
    return twin


def shares(step: Step) -> dict[str, float]:
    """Share of the CPU time by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        step()
    took: Counter[str] = Counter()
    for event in seen.key_averages():
        kind = next((name for part, name in KINDS.items() if part in event.key), "the rest")
        took[kind] += event.self_cpu_time_total
    return {kind: took[kind] / took.total() for kind in (*KINDS.values(), "the rest")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, choices=(16, 32), default=32)
    parser.add_argument("--batch", type=int, default=8, help="training items a step")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = fresh(given.size)
    step, plain, up = Step(model, given.batch), Step(default_layout(model), given.batch), Step(model, given.batch, UP)
    ways: dict[str, Callable[[], None]] = {
        "a step": step,
        "torch's default layout, two passes": lambda: plain(given.batch),
        "16 samples a pass": lambda: step(16),
        "the up blocks alone": up,
    }
    if given.compile:
        ways["compiled"] = compiled(step)
        began = time.monotonic()
        ways["compiled"]()
        print(f"compiled in {time.monotonic() - began:.0f} s")
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            took[name].append(time.process_time() - began)
    print(", ".join(f"{kind} {share:.0%}" for kind, share in shares(step).items()))
    medians = {name: sorted(seconds[1:])[given.rounds // 2] for name, seconds in took.items()}
    for name, seconds in medians.items():
        print(f"{name}: {1000 * seconds:.0f} ms, {seconds / medians['a step']:.2f}")


if __name__ == "__main__":
    main()
