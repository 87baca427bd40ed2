"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685), as peft or diffusers saves them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution.bounds import check_config, leaves
from mucs.attribution.checkpoint import read_json
from mucs.parse import load_json
from mucs.text import first_line, for_terminal

PEFT, DIFFUSERS = "adapter_model.safetensors", "pytorch_lora_weights.safetensors"
ADAPTER = "default"
WRONG = (ValueError, TypeError, KeyError, RuntimeError, OSError)  # of an adapter for another network
OPTIONS = (
    *("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias"),
    *("fan_in_fan_out", "lora_dropout"),
)
# of the training, or of where it came from: they change nothing in an adapter whose tensors are read from its file
SAID = (
    *("peft_type", "peft_version", "task_type", "inference_mode", "base_model_name_or_path", "revision", "bias"),
    *("auto_mapping", "megatron_core", "qalora_group_size", "init_lora_weights"),
)
MOST_RANK = 65_536
PLAIN = re.compile(r"[\w.-]{1,300}")
PREFIXES = ("unet", "transformer")  # of the network's tensors among those of a pipeline


def add_adapter(network: nn.Module, folder: Path) -> None:
    """Put the folder's adapter into the network: peft's format into any, diffusers' where the network knows it.

    Raises InputError if a tensor of the file has no place in the network, if a parameter of the adapter is not in the
    file, if the adapter was never trained, or if it is not LoRA.
    """
    try:
        import peft  # noqa: F401
    except ImportError:
        raise InputError("An adapter needs the package peft; run: pip install 'mucs[families]'.") from None
    if (folder / PEFT).exists():
        given = _add_from_peft(network, folder)
    elif (folder / DIFFUSERS).exists():
        given = _add_from_diffusers(network, folder)
    else:
        raise InputError(f"{folder} holds neither {PEFT} nor {DIFFUSERS}; save the adapter with peft or diffusers.")
    _check_whole(network, given, folder)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    try:
        with safe_open(path, "pt") as f:
            return {name: f.get_tensor(name) for name in f.keys()}, f.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError):
        raise InputError(f"{path} is not a whole safetensors file; fetch it again.") from None


def _misfit(folder: Path, reason: str) -> InputError:
    return InputError(f"The adapter in {folder} does not fit the network ({reason}); give the one trained on it.")


def _add_from_peft(network: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Add it, and give the file's tensors under the names that peft has for them in this network."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    described = read_json(folder / "adapter_config.json")
    kind = described.get("peft_type")
    if kind != "LORA":
        raise InputError(f"The adapter {kind!r} is not known; use one of: LORA.")
    # the prefix is there if peft wrapped the network
    given = {name.removeprefix("base_model.model."): tensor for name, tensor in _read(folder / PEFT)[0].items()}
    try:
        inject_adapter_in_model(LoraConfig(**_options(described, given, folder)), network, ADAPTER)
        set_peft_model_state_dict(network, given, ADAPTER)
    except InputError:
        raise
    except WRONG as error:
        raise _misfit(folder, first_line(error)) from None
    return given


def _add_from_diffusers(network: Any, folder: Path) -> dict[str, Tensor]:
    """Add it, and give the file's tensors under the names that peft has for them in this network."""
    from diffusers.utils import state_dict_utils

    if not hasattr(network, "load_lora_adapter"):
        raise InputError(f"{type(network).__name__} takes adapters in the format of peft alone; save {folder} so.")
    read, metadata = _read(folder / DIFFUSERS)
    names: Any = state_dict_utils
    # diffusers looks at the first name alone to tell if any are those of older versions
    given = names.convert_unet_state_dict_to_peft(read)
    prefix = next((p for p in PREFIXES if any(name.startswith(f"{p}.") for name in given)), None)
    try:
        # the metadata says how strong the adapter is
        described = load_json(metadata.get("lora_adapter_metadata", "null"))
        if described is not None:
            before = f"{prefix}." if prefix else ""
            mine = {name.removeprefix(before): value for name, value in described.items() if name.startswith(before)}
            options = _options(mine, {name.removeprefix(before): given[name] for name in given}, folder)
            described = {f"{before}{name}": value for name, value in options.items()}
        network.load_lora_adapter(given, prefix=prefix, adapter_name=ADAPTER, metadata=described)
    except InputError:
        raise
    except (*WRONG, AttributeError) as error:
        raise _misfit(folder, first_line(error)) from None
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in given.items()}


def _options(described: Mapping[str, Any], given: Mapping[str, Tensor], folder: Path) -> dict[str, Any]:
    """The known options of LoRA in a configuration. Raises InputError for one that would do something else.

    Others of peft read files, import modules by name, change the network itself, or match patterns that may never end.
    """
    check_config(described, folder)
    options = {name: value for name, value in described.items() if name in OPTIONS}
    for name, value in described.items():
        if name not in OPTIONS and name not in SAID and any(leaf not in (None, False) for leaf in leaves(value)):
            raise _misfit(folder, f"its {for_terminal(name, 60)} is none of the options that are known")
    if not isinstance(described.get("init_lora_weights", True), bool) and described["init_lora_weights"] != "gaussian":
        raise _misfit(folder, "its init_lora_weights changes the network below it")
    if not isinstance(options.get("r", 8), int) or not 1 <= options.get("r", 8) <= MOST_RANK:
        raise _misfit(folder, f"its rank is none from 1 to {MOST_RANK}")
    # where the adapter sits is what it has tensors for, whatever pattern it was made with
    modules = {name.partition(".lora_")[0] for name in given if ".lora_" in name}
    targets = options.get("target_modules")
    plain = isinstance(targets, list) and all(isinstance(each, str) and PLAIN.fullmatch(each) for each in targets)
    options["target_modules"] = targets if plain else sorted(modules)
    for name in ("rank_pattern", "alpha_pattern"):
        if not all(PLAIN.fullmatch(key) for key in options.get(name) or {}):
            raise _misfit(folder, f"its {name} names no modules")
    return options


def _check_whole(network: Any, given: dict[str, Tensor], folder: Path) -> None:
    """InputError unless the file's tensors are what peft would save of the network, and do something."""
    from peft import get_peft_model_state_dict

    if not hasattr(network, "peft_config"):
        raise _misfit(folder, "it has no tensor for it")
    landed = get_peft_model_state_dict(network, adapter_name=ADAPTER, save_embedding_layers=False)
    for names, what in ((given.keys() - landed.keys(), "has no place for"), (landed.keys() - given.keys(), "lacks")):
        if names:
            raise _misfit(folder, f"it {what} {min(names)}")
    for name, tensor in landed.items():
        if not torch.equal(tensor, given[name].to(tensor)):
            raise _misfit(folder, f"{name} was not read")
    if not any(tensor.any() for name, tensor in landed.items() if "lora_B" in name or "lora_embedding_B" in name):
        raise InputError(f"The adapter in {folder} was never trained: it changes nothing; give the trained one.")
