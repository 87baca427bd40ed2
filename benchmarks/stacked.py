"""Does stacking the weights of several unlearned copies pay? `python benchmarks/stacked.py`.

Convolutions take most of a step of unlearning. Each one of the demo's network, forward and backward at batches of 8
training items and 8 copies: for several copies in turn, against one grouped convolution over the stacked weights of
all of them. One thread, as the audit gives each item.
"""

from __future__ import annotations

import torch
from attribution import DATA, interleaved
from torch import Tensor, nn

from mucs.attribution import DiffusionModel

BATCH = 16


def convolutions(model: DiffusionModel) -> list[tuple[nn.Conv2d, Tensor]]:
    """Every convolution of the network, with an input of the shape that it sees."""
    seen: list[tuple[nn.Conv2d, Tensor]] = []
    layers = [layer for layer in model.network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: seen.append((layer, torch.randn_like(given[0]))))  # type: ignore[func-returns-value]
        for layer in layers
    ]
    with torch.no_grad():
        labels = {"class_labels": torch.zeros(BATCH, dtype=torch.long)} if model.classes else {}
        model.losses(
            torch.randn(BATCH, *model.shape), torch.randn(BATCH, *model.shape), torch.full((BATCH,), 500.0), labels
        )
    for hook in hooks:
        hook.remove()
    return seen


def seconds(layer: nn.Conv2d, x: Tensor, copies: int) -> tuple[float, float]:
    """(in turn, stacked) for one convolution of `copies` networks."""
    assert layer.bias is not None
    options = {"stride": layer.stride, "padding": layer.padding}
    weights = [layer.weight.detach().clone().requires_grad_() for _ in range(copies)]
    stacked = torch.cat([layer.weight.detach()] * copies).requires_grad_()
    bias, wide = layer.bias.detach(), x.repeat(1, copies, 1, 1).contiguous(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)

    def in_turn() -> None:
        for weight in weights:
            torch.conv2d(x, weight, bias, **options).sum().backward()

    def at_once() -> None:
        torch.conv2d(wide, stacked, bias.repeat(copies), groups=copies, **options).sum().backward()

    in_turn(), at_once()  # the first of each prepares
    return interleaved(in_turn, at_once, 5)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    seen = convolutions(DiffusionModel.from_pretrained(DATA / "checkpoint"))
    for copies in (2, 4, 8):
        turns, stacked = map(sum, zip(*(seconds(layer, x, copies) for layer, x in seen), strict=True))
        print(
            f"{copies} copies, {len(seen)} convolutions: {turns:.3f} s in turn, {stacked:.3f} s stacked: {turns / stacked:.2f} times the speed"
        )


if __name__ == "__main__":
    main()
