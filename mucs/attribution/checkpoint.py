"""A checkpoint's files: read and checked, as safetensors and JSON alone, before anything is built from them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution import parameterisation
from mucs.attribution.bounds import at_most, check_config
from mucs.attribution.networks import NETWORKS
from mucs.parse import load_json
from mucs.text import first_line, for_terminal

PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
PARTS = ("unet", "transformer")
WEIGHTS = "diffusion_pytorch_model"
BARE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
FLOATS = ("F64", "F32", "F16", "BF16")
MOST_BYTES = 64_000_000  # of a file of JSON


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
    return build(network_kind(part), part, sum(len(file) for file in weight_files(part).values()))


def network_kind(part: Path) -> Any:
    """The class, of diffusers, of the network in a folder of a checkpoint; InputError if it is not known."""
    config = read_json(part / "config.json")
    name = config.get("_class_name", "?")
    if (name, config.get("norm_type")) == ("Transformer2DModel", "ada_norm_zero"):
        name = "DiTTransformer2DModel"  # which had the other name before diffusers 0.28
    return _named(name, NETWORKS, "network")


def build(kind: Any, part: Path, tensors: int) -> nn.Module:
    """A network of diffusers from its config.json, with fresh weights.

    Args:
        kind: Its class, as `network_kind` gives it.
        part: The folder.
        tensors: How many its files of weights have, which bounds how large it may be.

    Raises:
        InputError: If a value is out of bounds, or no network can be built of them.
    """
    path = part / "config.json"
    config = read_json(path)
    check_config(config, path)
    try:
        with at_most(tensors):
            network: nn.Module = kind.from_config(config)
    except Exception as error:  # whatever diffusers says of values that it does not look at
        raise InputError(f"{path} describes no network that can be built ({first_line(error)}); restore it.") from None
    return network


def load(kind: Any, part: Path) -> Any:
    """A network of diffusers with the weights beside its configuration, on the CPU.

    Args:
        kind: Its class, as `network_kind` gives it.
        part: The folder.

    Raises:
        InputError: If the part is not whole, or its weights do not fit its configuration or are not finite.
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
    """What a network's safetensors files say that they hold, read from their beginnings.

    Args:
        part: The folder that they lie in.
        stem: What their names begin with.

    Returns:
        By file, the shapes of its tensors by name.

    Raises:
        InputError: If one is missing, torn, named by a path, or holds something else than floating-point numbers or than
            its index says.
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
    """All tensors of a network's safetensors file, or of its shards, by name.

    Args:
        part: The folder that they lie in.
        stem: What their names begin with.

    Raises:
        InputError: As `weight_files` does.
    """
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
        raise InputError(
            f"{path} describes no scheduler that can be built ({first_line(error)}); restore it."
        ) from None
