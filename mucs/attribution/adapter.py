"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685), as peft or diffusers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution.model import read_json

PEFT, DIFFUSERS = "adapter_model.safetensors", "pytorch_lora_weights.safetensors"
ADAPTER = "default"
WRONG = (ValueError, TypeError, KeyError, RuntimeError, OSError)  # of an adapter for another network
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


def _misfit(folder: Path, error: Exception | str) -> InputError:
    reason = str(error).strip().partition("\n")[0].rstrip(".:")
    return InputError(f"The adapter in {folder} does not fit the network ({reason}); give the one trained on it.")


def _add_from_peft(network: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Add it, and give the file's tensors under the names that peft has for them in this network."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    kind = read_json(folder / "adapter_config.json").get("peft_type")
    if kind != "LORA":
        raise InputError(f"The adapter {kind!r} is not known; use one of: LORA.")
    # the prefix is there if peft wrapped the network
    given = {name.removeprefix("base_model.model."): tensor for name, tensor in _read(folder / PEFT)[0].items()}
    try:
        inject_adapter_in_model(LoraConfig.from_pretrained(str(folder)), network, ADAPTER)
        set_peft_model_state_dict(network, given, ADAPTER)
    except WRONG as error:
        raise _misfit(folder, error) from None
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
        described = json.loads(metadata.get("lora_adapter_metadata", "null"))
        network.load_lora_adapter(given, prefix=prefix, adapter_name=ADAPTER, metadata=described)
    except WRONG as error:
        raise _misfit(folder, error) from None
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in given.items()}


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
