"""A diffusion model as the attribution sees it: a network, and the loss it was trained with."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution import parameterisation
from mucs.attribution.adapter import add_adapter
from mucs.attribution.addresses import address
from mucs.attribution.bounds import check_config
from mucs.attribution.checkpoint import (
    load,
    network_from_config,
    network_kind,
    network_part,
    read_json,
    read_scheduler,
    refuse_pickles,
)
from mucs.attribution.items import Items
from mucs.attribution.networks import NETWORKS, guard_group_norms
from mucs.text import first_line

BEYOND = 1.5  # pixels may leave [-1, 1] a little, as samples and the near-duplicates of `controls` do


def usable(device: str | torch.device) -> torch.device:
    """The device; InputError if this machine, or this build of torch, has none of that name."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {device!s} cannot be used here ({first_line(error)}); try cpu.") from None


class DiffusionModel:
    """A network (in eval mode, float32) with the parameterisation of its scheduler.

    `losses` is the paper's ℓ(x; ε, σ) (section 3); everything else is built on it.
    shape: (C, H, W) of the items that the network takes: pixels, or latents where the checkpoint has a VAE.
    checkpoint: the folder, if there is one; `mucs.attribution.encode` reads its VAE and text encoders.
    adapter: whether the weights include a LoRA adapter.
    """

    def __init__(
        self,
        network: nn.Module,
        scheduler: Any,
        device: str | torch.device = "cpu",
        *,
        checkpoint: Path | None = None,
        size: int | None = None,
    ) -> None:
        self.kind = NETWORKS[type(network).__name__]
        self.device = usable(device)
        placed: Any = network.to(self.device)
        self.network: Any = placed.to(memory_format=self.kind.memory_format).eval().requires_grad_(False)
        guard_group_norms(self.network)
        self.scheduler = scheduler
        self.parameterisation = parameterisation.of(scheduler)
        self.checkpoint = checkpoint
        self.adapter = any(".lora_" in name for name, _ in network.named_parameters())
        config = self.network.config
        self.conditioning = self.kind.conditioning(config)
        self.classes = self.kind.classes(config)
        if size is not None and (size < 1 or size % self.pixels_per_latent):
            raise InputError(f"The size {size} is no positive multiple of {self.pixels_per_latent} pixels; change it.")
        side = self.kind.size(config) if size is None else size // self.pixels_per_latent
        if side is None:
            raise InputError("The network's configuration does not say how large an item is; give `size` in pixels.")
        height, width = (side, side) if isinstance(side, int) else side
        self.shape = (self.kind.channels(config), int(height), int(width))

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        device: str | torch.device = "cpu",
        *,
        adapter: str | Path | None = None,
        size: int | None = None,
        digest: str | None = None,
    ) -> DiffusionModel:
        """Read `unet/` or `transformer/`, and `scheduler/`, of a diffusers folder, safetensors only.

        Args:
            checkpoint: The folder.
            device: Where the network is put. On "meta" it has shapes and names alone, and computes nothing; weights are read
                only where there is an adapter, to see that it fits, and dropped.
            adapter: Folder of a LoRA adapter, as peft or diffusers saves it; `adapter/` of the checkpoint if there is one.
            size: Side of an image in pixels; by default what the network was made for.
            digest: SHA-256 of the files of the checkpoint and of the adapter, where it is known: the model's digest is made
                of it, and weights are not hashed again.

        Raises:
            InputError: If a part is missing, is a pickle, does not fit its configuration, or is of an unknown kind.
        """
        checkpoint = Path(checkpoint)
        refuse_pickles(checkpoint)
        part = network_part(checkpoint)
        if adapter is None and (checkpoint / "adapter").is_dir():
            adapter = checkpoint / "adapter"
        if str(device) == "meta" and adapter is None:
            with torch.device("meta"):
                network = network_from_config(checkpoint)
        else:
            network = load(network_kind(part), part)
        scheduler = read_scheduler(checkpoint)
        if adapter is not None:
            refuse_pickles(Path(adapter))
            add_adapter(network, Path(adapter))
        model = cls(network, scheduler, device, checkpoint=checkpoint, size=size)
        if digest is not None:
            model.__dict__["digest"] = address(files=digest, shape=model.shape)
        return model

    @cached_property
    def pixels_per_latent(self) -> int:
        """The side, in pixels, of what one place of an item stands for: 1 without a VAE."""
        if self.checkpoint is None or not (self.checkpoint / "vae").is_dir():
            return 1
        path = self.checkpoint / "vae" / "config.json"
        config = read_json(path)
        check_config(config, path)
        blocks = config.get("block_out_channels") or [0]
        return int(2 ** (len(blocks) - 1))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the network's weights, by name, and what turns them into losses, in hexadecimal; or as it was given."""
        sha = hashlib.sha256(f"{type(self.network).__name__} {self.shape}".encode())
        for described in (self.network.config, self.scheduler.config):
            # names with an underscore say which defaults were filled in, and by what version
            values = {name: value for name, value in described.items() if not name.startswith("_")}
            sha.update(json.dumps(values, sort_keys=True, default=str).encode())
        if (power := getattr(self.parameterisation, "power", None)) is not None:
            sha.update(f"weighed by the null loss of {power}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        for name, module in self.network.named_modules():
            if isinstance(strength := getattr(module, "scaling", None), dict):  # of a LoRA layer
                sha.update(f"{name} {strength}".encode())
        return sha.hexdigest()

    def check(self, items: Items, what: str) -> None:
        """InputError unless there are items, of this model's shape and range, with the conditioning that it takes."""
        if items.images.ndim != 4 or tuple(items.images.shape[1:]) != self.shape:
            raise InputError(
                f"The {what} are of shape {tuple(items.images.shape)}, the model takes (N, {', '.join(map(str, self.shape))}); resize or encode them."
            )
        if len(items) == 0:
            raise InputError(f"There are no {what}; give at least one.")
        lowest, highest = items.extremes
        if not math.isfinite(lowest + highest):
            raise InputError(f"The {what} hold numbers that are not finite; mend them.")
        pixels = self.pixels_per_latent == 1 and self.shape[0] in (1, 3)  # latents have more channels, and any range
        if pixels and max(-lowest, highest) > BEYOND:
            raise InputError(
                f"The {what} reach from {lowest:.4g} to {highest:.4g}, the model takes -1 to 1; scale them, or give uint8."
            )
        if set(items.conditioning) != set(self.conditioning):
            raise InputError(
                f"The {what} come with {_listed(items.conditioning)}, the model takes {_listed(self.conditioning)}; make them with `mucs.attribution.encode`."
            )
        for name, values in items.conditioning.items():
            rows = items.rows_of(name)
            if (rows is None and len(values) != len(items)) or (rows is not None and len(rows) != len(items)):
                count = len(values if rows is None else rows)
                raise InputError(f"There are {len(items)} {what} and {count} rows of {name}; give one each.")
            if rows is not None and not 0 <= int(rows.min()) <= int(rows.max()) < len(values):
                raise InputError(f"The {what} point to rows of {name} that are not among its {len(values)}; mend them.")
        labels = items.conditioning.get("class_labels")
        if labels is not None and (
            labels.dtype not in (torch.int64, torch.int32)
            or labels.ndim != 1
            or labels.min() < 0
            or labels.max() >= (self.classes or 0)
        ):
            raise InputError(
                f"The labels of the {what} must be whole numbers from 0 to {(self.classes or 0) - 1}; mend them."
            )

    def losses(
        self,
        x: Tensor,
        noise: Tensor,
        levels: Tensor,
        conditioning: Mapping[str, Tensor] | None = None,
        precision: torch.dtype = torch.float32,
    ) -> Tensor:
        """ℓ(x; ε, σ) of each sample: items (B, C, H, W), unit noise of that shape, levels (B,) to (B,) float32.

        precision: of the network's matrix products; all around them stays float32.
        """
        x, noise = (
            v.to(self.device, non_blocking=True).contiguous(memory_format=self.kind.memory_format) for v in (x, noise)
        )
        given = {name: value.to(self.device) for name, value in (conditioning or {}).items()}

        def predict(noisy: Tensor, time: Tensor) -> Tensor:
            with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
                return self.kind.predict(self.network, noisy, time, given).float()

        return self.parameterisation.losses(predict, x, noise, levels.to(self.device))

    @cached_property
    def compiled(self) -> DiffusionModel:
        """The same model, weights included, run through torch.compile."""
        twin = copy.copy(self)
        twin.network = torch.compile(self.network)
        return twin

    def copy(self, names: Iterable[str] | None = None) -> DiffusionModel:
        """The same model with weights of its own.

        Args:
            names: Parameters that are copied; all others, and buffers, are shared with this model. None copies all.
        """
        twin = copy.copy(self)
        for name in ("digest", "compiled"):
            twin.__dict__.pop(name, None)
        shared: dict[int, Any] = {}
        if names is not None:
            copied = set(names)
            tensors = (*self.network.named_parameters(), *self.network.named_buffers())
            shared = {id(tensor): tensor for name, tensor in tensors if name not in copied}
        twin.network = copy.deepcopy(self.network, shared)
        return twin


def _listed(names: Mapping[str, Any] | Sequence[str]) -> str:
    return " and ".join(names) or "no conditioning"
