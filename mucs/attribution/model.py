"""A diffusion model as the attribution sees it: a network, and the loss it was trained with."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution import parameterisation
from mucs.attribution.bounds import at_most, check_config
from mucs.attribution.items import Items
from mucs.attribution.networks import NETWORKS, guard_group_norms
from mucs.parse import load_json
from mucs.text import for_terminal

PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
PARTS = ("unet", "transformer")
WEIGHTS = "diffusion_pytorch_model"
BARE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
FLOATS = ("F64", "F32", "F16", "BF16")
MOST_BYTES = 64_000_000  # of a file of JSON
INITIALISING = threading.Lock()  # fresh weights are drawn from torch's one global stream
BEYOND = 1.5  # pixels may leave [-1, 1] a little, as samples and the near-duplicates of `controls` do


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; InputError if the file is missing, is not one, is large, or nests deep."""
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > MOST_BYTES):
            raise ValueError("no file of JSON")
        value = load_json(path.read_bytes(), infinite=True)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; give the folder of a diffusers checkpoint.") from None
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read as JSON; restore the checkpoint.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold a JSON object; restore the checkpoint.")
    return value


def refuse_pickles(folder: Path) -> None:
    """InputError if a folder holds a file that could run code when read."""
    pickles = sorted(p.name for p in folder.rglob("*") if p.suffix in PICKLES)
    if pickles:
        raise InputError(
            f"{folder} holds {pickles[0]}, a pickle, which can run code when read; convert the weights to safetensors."
        )


def _named(name: Any, known: Mapping[str, Any], what: str) -> Any:
    import diffusers

    if not isinstance(name, str) or name not in known:
        raise InputError(f"The {what} {name!r} is not known; use a checkpoint with one of: {', '.join(known)}.")
    return getattr(diffusers, name)


def network_part(checkpoint: Path) -> Path:
    """The folder of the checkpoint's network: `unet/` or `transformer/`."""
    parts = [checkpoint / part for part in PARTS if (checkpoint / part).is_dir()]
    if not parts:
        raise InputError(f"{checkpoint} has neither unet/ nor transformer/; give the folder of a diffusers checkpoint.")
    return parts[0]


def network_from_config(checkpoint: Path) -> nn.Module:
    """The checkpoint's network with fresh weights, in the current default device and random state."""
    part = network_part(checkpoint)
    return build(_network_kind(part), part, sum(len(file) for file in weight_files(part).values()))


def _network_kind(part: Path) -> Any:
    config = read_json(part / "config.json")
    name = config.get("_class_name", "?")
    if (name, config.get("norm_type")) == ("Transformer2DModel", "ada_norm_zero"):
        name = "DiTTransformer2DModel"  # which had the other name before diffusers 0.28
    return _named(name, NETWORKS, "network")


def build(kind: Any, part: Path, tensors: int) -> nn.Module:
    """A network of diffusers from its config.json, with fresh weights; tensors: how many its file has.

    Raises InputError for what is out of bounds or cannot be built.
    """
    path = part / "config.json"
    config = read_json(path)
    check_config(config, path)
    try:
        with at_most(tensors):
            network: nn.Module = kind.from_config(config)
    except Exception as error:  # whatever diffusers says of values that it does not look at
        raise InputError(f"{path} describes no network that can be built ({_reason(error)}); restore it.") from None
    return network


def load(kind: Any, part: Path) -> Any:
    """A network of diffusers with the weights beside its configuration.

    Raises InputError for a part that is not whole, or whose weights do not fit its configuration or are not finite.
    """
    files = weight_files(part)
    shapes = [shape for file in files.values() for shape in file.values()]
    misfit = InputError(
        f"The tensors in {part} do not fit the network that its config.json describes; restore the pair."
    )
    with torch.device("meta"):  # takes no memory, whatever sizes the configuration has
        skeleton = build(kind, part, len(shapes))
    if sum(value.numel() for value in skeleton.state_dict().values()) != sum(map(math.prod, shapes)):
        raise misfit
    network: Any = build(kind, part, len(shapes))
    weights = read_weights(part)
    network._fix_state_dict_keys_on_load(weights)  # attention had other names before diffusers 0.12
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise misfit from None
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise InputError(f"The tensor {name} in {part} holds numbers that are not finite; restore the checkpoint.")
    return network


def weight_files(part: Path, stem: str = WEIGHTS) -> dict[Path, dict[str, tuple[int, ...]]]:
    """Shapes by name of what each of a network's safetensors files says that it holds, read from its beginning.

    Files lie in the folder itself. Raises InputError if one is missing, torn, named by a path, or holds something else
    than floating-point numbers or than its index says.
    """
    index = part / f"{stem}.safetensors.index.json"
    listed: dict[str, set[str]] = {f"{stem}.safetensors": set()}
    if index.exists():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise InputError(f"{index} does not say which file holds which tensor; restore it.")
        listed = {}
        for tensor, name in places.items():
            if not BARE.fullmatch(name):
                raise InputError(f"{index} names {for_terminal(name, 200)!r}, which is no file beside it; restore it.")
            listed.setdefault(name, set()).add(tensor)
    found: dict[Path, dict[str, tuple[int, ...]]] = {}
    for name, tensors in sorted(listed.items()):
        found[part / name] = _shapes(part / name)
        if index.exists() and found[part / name].keys() != tensors:
            raise InputError(f"{part / name} does not hold the tensors that {index.name} says; restore the pair.")
    return found


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    torn = InputError(f"{path} is not a whole safetensors file; fetch it again.")
    if not path.exists():
        raise InputError(f"{path} is missing; save the network with `save_pretrained`.")
    if not path.is_file():  # to open a pipe waits for good
        raise torn
    try:
        with safe_open(path, "pt") as f:
            slices = {name: f.get_slice(name) for name in f.keys()}  # noqa: SIM118
            kinds = {name: str(given.get_dtype()) for name, given in slices.items()}
            shapes = {name: tuple(given.get_shape()) for name, given in slices.items()}
    except (SafetensorError, OSError):
        raise torn from None
    for name, kind in kinds.items():
        if kind not in FLOATS and not name.endswith("position_ids"):
            raise InputError(
                f"The tensor {for_terminal(name, 200)} in {path} is of {kind}, which is none of {', '.join(FLOATS)}; convert it."
            )
    return shapes


def read_weights(part: Path, stem: str = WEIGHTS) -> dict[str, Tensor]:
    """All tensors of a network's safetensors file, or of its shards. Raises InputError as `weight_files`."""
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for path in weight_files(part, stem):
        weights |= load_file(path)
    return weights


def read_scheduler(checkpoint: Path) -> Any:
    """The checkpoint's scheduler; InputError if it is missing, of an unknown kind, or cannot be built."""
    path = checkpoint / "scheduler" / "scheduler_config.json"
    config = read_json(path)
    kind = _named(config.get("_class_name", "?"), parameterisation.FAMILIES, "scheduler")
    check_config(config, path)
    try:
        return kind.from_config(config)
    except Exception as error:  # whatever diffusers says of values that it does not look at
        raise InputError(f"{path} describes no scheduler that can be built ({_reason(error)}); restore it.") from None


def _reason(error: Exception) -> str:
    """The first line of what another package says."""
    return for_terminal(str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__, 300)


def usable(device: str | torch.device) -> torch.device:
    """The device; InputError if this machine, or this build of torch, has none of that name."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {device!s} cannot be used here ({_reason(error)}); try cpu.") from None


class DiffusionModel:
    """A network (in eval mode, float32) with the parameterisation of its scheduler.

    `losses` is the paper's ℓ(x; ε, σ) (section 3); everything else is built on it.
    shape: (C, H, W) of the items that the network takes: pixels, or latents where the checkpoint has a VAE.
    checkpoint: the folder, if there is one; `encode` reads its VAE and text encoders.
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
    ) -> DiffusionModel:
        """Read `unet/` or `transformer/`, and `scheduler/`, of a diffusers folder, safetensors only.

        adapter: folder of a LoRA adapter, as peft or diffusers saves it; `adapter/` of the checkpoint if there is one.
        size: side of an image in pixels; by default what the network was made for.
        Raises InputError if a part is missing, is a pickle, does not fit its configuration, or is of an unknown kind.
        """
        checkpoint = Path(checkpoint)
        refuse_pickles(checkpoint)
        part = network_part(checkpoint)
        network = load(_network_kind(part), part)
        scheduler = read_scheduler(checkpoint)
        if adapter is None and (checkpoint / "adapter").is_dir():
            adapter = checkpoint / "adapter"
        if adapter is not None:
            from mucs.attribution.adapter import add_adapter

            refuse_pickles(Path(adapter))
            add_adapter(network, Path(adapter))
        return cls(network, scheduler, device, checkpoint=checkpoint, size=size)

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
        """SHA-256 over the network's weights, by name, and what turns them into losses, in hexadecimal."""
        sha = hashlib.sha256(f"{type(self.network).__name__} {self.shape}".encode())
        for described in (self.network.config, self.scheduler.config):
            # names with an underscore say which defaults were filled in, and by what version
            values = {name: value for name, value in described.items() if not name.startswith("_")}
            sha.update(json.dumps(values, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        for name, module in self.network.named_modules():
            if isinstance(strength := getattr(module, "scaling", None), dict):  # of a LoRA layer
                sha.update(f"{name} {strength}".encode())
        return sha.hexdigest()

    def encode(
        self,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        prompts: Sequence[str] | None = None,
        cache: Path | None = None,
    ) -> Items:
        """Items of this model: images (N, 3, H, W) in [-1, 1], or uint8, with a class label (N,) or a prompt each.

        Latents and prompt embeddings are computed where the checkpoint has a VAE and text encoders, and kept in the
        folder `cache` by content address, if one is given. Raises InputError for what does not fit the model.
        """
        from mucs.attribution.encode import encode

        return encode(self, images, labels, prompts, cache)

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
                f"The {what} come with {_listed(items.conditioning)}, the model takes {_listed(self.conditioning)}; make them with `model.encode`."
            )
        for name, values in items.conditioning.items():
            rows = items.condition_of
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

    def fresh(self, seed: int) -> DiffusionModel:
        """An untrained model of the same configuration, with weights that the seed chooses."""
        with INITIALISING, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = type(self.network).from_config(self.network.config)
        size = self.shape[1] * self.pixels_per_latent
        twin = DiffusionModel(network, self.scheduler, self.device, checkpoint=self.checkpoint, size=size)
        twin.shape = self.shape
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
