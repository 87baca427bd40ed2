"""Trainable: which of a network's parameters unlearning trains."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from torch import nn

from mucs import InputError

POLICIES = {
    # the matching choice for UNets of a transformer's feed-forward matrices: the residual blocks' convolutions
    "feedforward": re.compile(
        r"\.resnets\.\d+\.conv[12]\.weight$|\.ff(_context)?\.net\..*weight$|single_transformer_blocks\.\d+\.proj_(mlp|out)\.weight$"
    ),
    "attention": re.compile(r"\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)\.weight$"),
    "all": re.compile(""),
    "adapter": re.compile(r"\.lora_"),
}


def trainable_names(network: nn.Module, trainable: str | Sequence[str]) -> list[str]:
    """The parameters that a setting chooses.

    Args:
        network: Of a model; on any device.
        trainable: A policy, or names and patterns (`*`, `?`).

    Returns:
        Their names, in the network's order.

    Raises:
        InputError: If a policy or pattern chooses none, if patterns choose all, or if there is an adapter and more is
            chosen.
    """
    names = [name for name, _ in network.named_parameters()]
    if isinstance(trainable, str) or trainable is None:
        chosen = _by_policy(names, trainable)
    else:
        chosen = _by_patterns(names, trainable)
    if not chosen:
        raise InputError(f"No parameter is chosen by {trainable!r}; name at least one.")
    adapter = {name for name in names if POLICIES["adapter"].search(name)}
    if adapter and set(chosen) - adapter:
        raise InputError('The checkpoint has an adapter, and only that is unlearned; set trainable to "adapter".')
    return chosen


def _by_policy(names: list[str], policy: str) -> list[str]:
    if policy not in POLICIES:
        raise InputError(
            f"The policy {policy!r} is not known; use one of {', '.join(POLICIES)}, or a list of parameter names."
        )
    return [name for name in names if POLICIES[policy].search(name)]


def _by_patterns(names: list[str], patterns: Sequence[str]) -> list[str]:
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise InputError(f"{patterns!r} chooses no parameters; give a policy, or a list of names and patterns.")
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InputError(f"The network has no parameter {pattern!r}; name parameters as the checkpoint does.")
    chosen = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    if len(chosen) == len(names):
        raise InputError('The patterns choose every parameter; if that is meant, set trainable to "all".')
    return chosen
