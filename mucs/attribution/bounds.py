"""Bounds: which values a configuration may hold, looked at before anything is built from it."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from mucs import InputError
from mucs.text import for_terminal

MOST = 1_000_000  # of any whole number
MOST_LISTED = 100_000  # numbers in a list: betas
MOST_BLOCKS = 16
MOST_WIDTH = 16_384  # of a transformer
MANY = 100  # tensors that a network may have beyond twice those of its file, which another version may have named otherwise
# whole numbers, or lists of them, with the least and the most
WHOLE = {
    "sample_size": (1, 4096),
    "pos_embed_max_size": (1, 512),
    "patch_size": (1, 64),
    "num_train_timesteps": (1, 100_000),
    **dict.fromkeys(("in_channels", "out_channels", "latent_channels", "block_out_channels"), (1, 65_536)),
    **dict.fromkeys(("cross_attention_dim", "joint_attention_dim", "hidden_size", "d_model"), (1, 65_536)),
    **dict.fromkeys(("attention_head_dim", "num_attention_heads", "norm_num_groups"), (1, 65_536)),
    **dict.fromkeys(("layers_per_block", "num_layers", "num_single_layers", "transformer_layers_per_block"), (0, 1000)),
    **dict.fromkeys(("num_class_embeds", "num_embeds_ada_norm", "vocab_size"), (1, MOST)),
}
PAIRS = ("sample_size",)  # or one number
BLOCKS = ("block_out_channels", "down_block_types", "up_block_types")
# finite numbers above zero
POSITIVE = ("sigma_data", "P_std", "sigma_min", "sigma_max", "rho", "shift", "scaling_factor")
INFINITE = ("lambda_min_clipped",)


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """InputError for a value that no configuration of a diffusers model has; names that begin with _ say nothing."""
    for name, value in config.items():
        if not name.startswith("_"):
            try:
                _check(name, value, config)
            except ValueError as error:
                shown = for_terminal(repr(value), 60)
                raise InputError(
                    f"{path} has {for_terminal(name, 60)} = {shown}, which must be {error}; restore it."
                ) from None


def _check(name: str, value: Any, config: Mapping[str, Any]) -> None:
    """ValueError that says what it must be."""
    if value is None:
        return
    listed = leaves(value)
    if len(listed) > MOST_LISTED:
        raise ValueError(f"of at most {MOST_LISTED} values")
    for each in listed:
        if isinstance(each, str) and len(each) > 1000:
            raise ValueError("of at most 1000 characters")
        if isinstance(each, float) and not math.isfinite(each) and name not in INFINITE:
            raise ValueError("finite")
        if isinstance(each, int) and abs(each) > MOST:
            raise ValueError(f"at most {MOST}")
    if name in BLOCKS and not (isinstance(value, list | tuple) and 1 <= len(value) <= MOST_BLOCKS):
        raise ValueError(f"a list of 1 to {MOST_BLOCKS}")
    if name in PAIRS and isinstance(value, list | tuple) and len(value) != 2:
        raise ValueError("one number or two")
    if name in POSITIVE and not (_is_number(value) and 0 < value < math.inf):
        raise ValueError("a number above 0")
    if name == "P_mean" and not _is_number(value):
        raise ValueError("a number")
    if name in WHOLE:
        least, most = WHOLE[name]
        if not all(type(each) is int and least <= each <= most for each in listed if each is not None):
            raise ValueError(f"a whole number from {least} to {most}")
    if name == "num_attention_heads" and type(value) is int and type(config.get("attention_head_dim")) is int:
        if value * config["attention_head_dim"] > MOST_WIDTH:
            raise ValueError(f"at most {MOST_WIDTH} with attention_head_dim")
        # the places of a transformer's patches are computed when it is built
        if max((each for each in leaves(config.get("sample_size")) if type(each) is int), default=0) > 1024:
            raise ValueError("of a transformer whose sample_size is at most 1024")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def leaves(value: Any) -> list[Any]:
    """What lists and objects hold in the end; nesting is bounded by whoever read them."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list | tuple) else [value]


@contextlib.contextmanager
def at_most(tensors: int) -> Iterator[None]:
    """Building a network with many more parameters than its file has tensors ends in a ValueError."""
    thread, left = threading.get_ident(), 2 * tensors + MANY

    def count(module: nn.Module, name: str, parameter: Tensor) -> None:
        nonlocal left
        if threading.get_ident() == thread:
            left -= 1
            if left < 0:
                raise ValueError("it has many more tensors than its file")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
