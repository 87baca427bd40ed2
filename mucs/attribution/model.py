"""A diffusion model as the attribution sees it: a network, and the loss it was trained with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution import parameterisation

PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
NETWORKS = ("UNet2DModel",)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; InputError if the file is missing or is not one."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is missing; give the folder of a diffusers checkpoint.") from None
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read as JSON; restore the checkpoint.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold a JSON object; restore the checkpoint.")
    return value


def _named(module: Any, name: str, known: tuple[str, ...] | dict[str, Any], what: str) -> Any:
    if name not in known:
        raise InputError(f"The {what} {name!r} is not known; use a checkpoint with one of: {', '.join(known)}.")
    return getattr(module, name)


def network_from_config(checkpoint: Path) -> nn.Module:
    """The checkpoint's network with fresh weights, in the current default device and random state."""
    import diffusers

    config = read_json(checkpoint / "unet" / "config.json")
    network: nn.Module = _named(diffusers, config.get("_class_name", "?"), NETWORKS, "network").from_config(config)
    return network


class DiffusionModel:
    """A network (in eval mode, float32) with the parameterisation of its scheduler.

    `losses` is the paper's ℓ(x; ε, σ) (section 3); everything else is built on it.
    """

    def __init__(self, network: nn.Module, scheduler: Any, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.to(device=self.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.scheduler = scheduler
        self.parameterisation = parameterisation.of(scheduler)

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path, device: str | torch.device = "cpu") -> DiffusionModel:
        """Read `unet/` and `scheduler/` of a diffusers folder, safetensors only.

        Raises InputError if a part is missing, is a pickle, does not fit its configuration, or is of an unknown kind.
        """
        import diffusers
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        checkpoint = Path(checkpoint)
        pickles = sorted(p.name for p in checkpoint.rglob("*") if p.suffix in PICKLES)
        if pickles:
            raise InputError(
                f"{checkpoint} holds {pickles[0]}, a pickle, which can run code when read; convert the weights to safetensors."
            )
        network = network_from_config(checkpoint)
        weights = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
        try:
            network.load_state_dict(load_file(weights))
        except FileNotFoundError:
            raise InputError(f"{weights} is missing; save the network with `save_pretrained`.") from None
        except SafetensorError:
            raise InputError(f"{weights} is not a whole safetensors file; fetch it again.") from None
        except RuntimeError:
            raise InputError(
                f"The tensors in {weights} do not fit the network that config.json describes; restore the pair."
            ) from None
        config = read_json(checkpoint / "scheduler" / "scheduler_config.json")
        scheduler = _named(
            diffusers, config.get("_class_name", "?"), parameterisation.FAMILIES, "scheduler"
        ).from_config(config)
        return cls(network, scheduler, device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the items that the network takes."""
        config = self.network.config
        size = config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(config.in_channels), int(height), int(width)

    @property
    def classes(self) -> int | None:
        """How many class labels the network knows; None if it takes none."""
        count = self.network.config.num_class_embeds
        return None if count is None else int(count)

    def check(self, images: Tensor, labels: Tensor | None, what: str) -> None:
        """InputError unless images are (N, C, H, W) of this model's size, N ≥ 1, with a label each where it takes labels."""
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"The {what} are of shape {tuple(images.shape)}, the model takes (N, {', '.join(map(str, self.shape))}); resize them."
            )
        if len(images) == 0:
            raise InputError(f"There are no {what}; give at least one.")
        if (labels is None) != (self.classes is None):
            raise InputError(
                f"The model takes {'no class labels' if self.classes is None else 'class labels'}; {'leave out' if self.classes is None else 'give'} those of the {what}."
            )
        if labels is not None and (
            labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= (self.classes or 0)
        ):
            raise InputError(
                f"The labels of the {what} must be {len(images)} whole numbers from 0 to {(self.classes or 0) - 1}; mend them."
            )

    def losses(self, x: Tensor, noise: Tensor, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        """ℓ(x; ε, σ) of each sample: images (B, C, H, W) in [-1, 1], unit noise of that shape, levels (B,), labels (B,) to (B,)."""
        x, noise, levels = (value.to(self.device) for value in (x, noise, levels))
        x, noise = (value.contiguous(memory_format=torch.channels_last) for value in (x, noise))
        return self.parameterisation.losses(
            self.network, x, noise, levels, None if labels is None else labels.to(self.device)
        )

    def copy(self) -> DiffusionModel:
        """The same model with weights of its own."""
        return DiffusionModel(copy.deepcopy(self.network), self.scheduler, self.device)
