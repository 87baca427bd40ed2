"""How each kind of network is called: the items it takes, its conditioning, and its raw prediction.

A `predict` function takes the network, noisy items (B, C, H, W), the time input (B,) of the parameterisation and
the conditioning (B, …) by name, and gives the raw output, of the items' shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mucs import InputError

Conditioning = Mapping[str, Tensor]

GUIDANCE = 3.5  # what diffusers' fine-tuning gives to networks that take their guidance scale as an input


@dataclass(frozen=True)
class Kind:
    """One class of network; all but the first and the last are told from its configuration.

    Attributes:
        predict: Its raw output.
        conditioning: Names of the tensors that go with an item; InputError for what is not known.
        classes: How many class labels there are, None if it takes none.
        channels: C, of an item.
        size: H and W of an item, as one number or two; None where the configuration does not say.
        memory_format: In which it computes fastest.
    """

    predict: Callable[[Any, Tensor, Tensor, Conditioning], Tensor]
    conditioning: Callable[[Any], tuple[str, ...]]
    classes: Callable[[Any], int | None] = lambda config: None
    channels: Callable[[Any], int] = lambda config: int(config.in_channels)
    size: Callable[[Any], Any] = lambda config: config.sample_size
    memory_format: torch.memory_format = torch.contiguous_format


def guard_group_norms(network: nn.Module) -> None:
    """Have group norms that are trained after nothing else is take their input in torch's default layout.

    In channels-last on a CPU, torch 2.13 writes the gradient by the input without asking whether there is a place for it.
    """

    def in_default_layout(norm: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if given[0].requires_grad or not torch.is_grad_enabled() or not any(p.requires_grad for p in norm.parameters()):
            return None
        return (given[0].contiguous(),)

    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(in_default_layout)


def unet(network: Any, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
    """Of a UNet without prompts."""
    output: Tensor = network(x, time, **conditioning).sample
    return output


def unet_conditioning(config: Any) -> tuple[str, ...]:
    """Class labels, where it has an embedding of them; InputError if that is of another kind."""
    if config.class_embed_type is not None:
        raise InputError(
            f"The network embeds classes as {config.class_embed_type!r}; use a checkpoint with plain class labels."
        )
    return () if config.num_class_embeds is None else ("class_labels",)


def unet_classes(config: Any) -> int | None:
    """How many class labels a UNet takes."""
    return None if config.num_class_embeds is None else int(config.num_class_embeds)


def text_unet(network: Any, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
    """Of a UNet with prompts: Stable Diffusion 1, 2 and XL."""
    added = {name: conditioning[name] for name in ("text_embeds", "time_ids") if name in conditioning}
    rest = {name: value for name, value in conditioning.items() if name not in added}
    output: Tensor = network(x, time, added_cond_kwargs=added or None, **rest).sample
    return output


def text_unet_conditioning(config: Any) -> tuple[str, ...]:
    """Prompts, with class labels, and what XL adds; InputError if a network adds anything else."""
    if config.addition_embed_type not in (None, "text_time") or config.encoder_hid_dim_type is not None:
        what = config.addition_embed_type if config.encoder_hid_dim_type is None else config.encoder_hid_dim_type
        raise InputError(f"The network adds {what!r} to its prompts; use a Stable Diffusion 1, 2 or XL checkpoint.")
    added = ("text_embeds", "time_ids") if config.addition_embed_type == "text_time" else ()
    return (*unet_conditioning(config), "encoder_hidden_states", *added)


def dit(network: Any, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
    """Of a class-conditional DiT."""
    # the other half of the channels, if there is one, is the learned variance
    return unet(network, x, time, conditioning)[:, : x.shape[1]]


def stable_diffusion_3(network: Any, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
    """Of a transformer of Stable Diffusion 3."""
    output: Tensor = network(x, timestep=time, **conditioning).sample
    return output


def flux(network: Any, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
    """Of a transformer of Flux, whose H and W are even."""
    batch, channels, height, width = x.shape
    h, w = height // 2, width // 2
    # patches of 2×2 become tokens
    tokens = x.view(batch, channels, h, 2, w, 2).permute(0, 2, 4, 1, 3, 5).reshape(batch, h * w, channels * 4)
    places = torch.zeros(h, w, 3, device=x.device)
    places[..., 1], places[..., 2] = torch.arange(h, device=x.device)[:, None], torch.arange(w, device=x.device)
    output: Tensor = network(
        tokens,
        timestep=time / 1000,
        img_ids=places.view(h * w, 3),
        txt_ids=torch.zeros(conditioning["encoder_hidden_states"].shape[1], 3, device=x.device),
        guidance=torch.full((batch,), GUIDANCE, device=x.device) if network.config.guidance_embeds else None,
        **conditioning,
    ).sample
    return output.view(batch, h, w, channels, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


NETWORKS: dict[str, Kind] = {
    "UNet2DModel": Kind(unet, unet_conditioning, unet_classes, memory_format=torch.channels_last),
    "UNet2DConditionModel": Kind(text_unet, text_unet_conditioning, unet_classes, memory_format=torch.channels_last),
    "DiTTransformer2DModel": Kind(
        dit, lambda config: ("class_labels",), lambda config: int(config.num_embeds_ada_norm)
    ),
    "SD3Transformer2DModel": Kind(stable_diffusion_3, lambda config: ("encoder_hidden_states", "pooled_projections")),
    "FluxTransformer2DModel": Kind(
        flux,
        lambda config: ("encoder_hidden_states", "pooled_projections"),
        channels=lambda config: int(config.in_channels) // 4,
        size=lambda config: 128,  # not in its configuration: the pipeline's default, 1024 pixels
    ),
}
