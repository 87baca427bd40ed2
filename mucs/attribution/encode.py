"""Items from pixels: latents and prompt embeddings, computed once and kept by content address."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mucs import InputError
from mucs.attribution.bounds import at_most, check_config
from mucs.attribution.items import Items, as_items, kept
from mucs.attribution.model import DiffusionModel, load, read_json, read_weights, weight_files
from mucs.attribution.version import METHOD_SHA256
from mucs.files import replacing
from mucs.parse import load_json

BATCH = 8  # images through the VAE at once
UNREADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, SafetensorError)  # of what is broken

Kinds = Mapping[str, tuple[str, ...]]  # known classes, by folder
CLIP: Kinds = {
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection"),
}
T5: Kinds = {"tokenizer": ("T5Tokenizer", "T5TokenizerFast"), "text_encoder": ("T5EncoderModel",)}
# transformers makes an empty tokenizer, without a word, where all of these are missing
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))


@dataclass(frozen=True)
class TextPipeline:
    """A pipeline of diffusers whose `encode_prompt` turns a prompt into conditioning.

    encoders: known classes of each tokenizer and text encoder. optional: how many of them, at the end, may be missing.
    pooled: name of the pooled embedding and its place in what `encode_prompt` returns. options: of `encode_prompt`.
    """

    name: str
    encoders: tuple[Kinds, ...]
    optional: int = 0
    pooled: tuple[str, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


UNGUIDED = {"num_images_per_prompt": 1, "do_classifier_free_guidance": False}
STABLE_DIFFUSION = TextPipeline("StableDiffusionPipeline", (CLIP,), options=UNGUIDED)
STABLE_DIFFUSION_XL = TextPipeline(
    "StableDiffusionXLPipeline", (CLIP, CLIP), pooled=("text_embeds", 2), options=UNGUIDED
)
STABLE_DIFFUSION_3 = TextPipeline(
    "StableDiffusion3Pipeline",
    (CLIP, CLIP, T5),
    optional=1,
    pooled=("pooled_projections", 2),
    options={**UNGUIDED, "prompt_2": None, "prompt_3": None},
)
FLUX = TextPipeline("FluxPipeline", (CLIP, T5), pooled=("pooled_projections", 1))
PIPELINES = {
    "UNet2DConditionModel": STABLE_DIFFUSION,
    "SD3Transformer2DModel": STABLE_DIFFUSION_3,
    "FluxTransformer2DModel": FLUX,
}


def encode(
    model: DiffusionModel, images: Tensor, labels: Tensor | None, prompts: Sequence[str] | None, cache: Path | None
) -> Items:
    """Items that the model takes, from images (N, 3, H, W), float in [-1, 1] or uint8, and a label (N,) or prompt each.

    With `vae/` in the checkpoint, images become latents float32, the mode of the VAE's posterior, shifted and scaled as
    its configuration says (Rombach et al. 2022, arXiv 2112.10752, appendix G); without, they stay as they are.
    Prompts become the embeddings that the pipeline of diffusers makes of them, one row for each different prompt.
    Raises InputError for what is missing, broken, of an unknown kind, or does not fit the model.
    """
    images = as_items(images).images
    if len(images) == 0:
        raise InputError("There are no images; give at least one.")
    _one_each("class_labels" in model.conditioning, labels, "label", len(images))
    _one_each("encoder_hidden_states" in model.conditioning, prompts, "prompt", len(images))
    conditioning: dict[str, Tensor] = {}
    condition_of = None
    if prompts is not None:
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError('A prompt is not text; give a string for each image, "" where there is none.')
        different = sorted(set(prompts))
        conditioning = _prompt_conditioning(model, different, cache)
        place = {prompt: row for row, prompt in enumerate(different)}
        condition_of = torch.tensor([place[prompt] for prompt in prompts])
    if labels is not None:
        if condition_of is not None:  # labels are not shared as prompts are
            conditioning = {name: rows[condition_of] for name, rows in conditioning.items()}
            condition_of = None
        given = torch.as_tensor(labels)
        conditioning["class_labels"] = given if given.is_floating_point() else given.long()  # floats are refused below
    items = Items(_latents(model, images, cache), conditioning, condition_of)
    model.check(items, "images")
    return items


def _one_each(needed: bool, given: Sized | None, what: str, count: int) -> None:
    """InputError unless there is one for each image where they are needed, and none where they are not."""
    if needed and given is None:
        raise InputError(f"The model takes a {what} for each image; give them as `{what}s`.")
    if given is not None and not needed:
        raise InputError(f"The model takes no {what}s; leave `{what}s` out.")
    if given is not None and len(given) != count:
        raise InputError(f"There are {count} images and {len(given)} {what}s; give one each.")


def _address(folders: Iterable[Path], *words: Any) -> str:
    """SHA-256 over the bytes of all files in the folders, the words and the code of the method, in hexadecimal."""
    sha = hashlib.sha256(json.dumps([*words, METHOD_SHA256]).encode())
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            with path.open("rb") as f:
                content = hashlib.file_digest(f, "sha256").hexdigest()
            sha.update(f"\n{path.relative_to(folder.parent).as_posix()} {content}".encode())
    return sha.hexdigest()


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """What goes wrong in reading a part is an InputError."""
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"{folder} cannot be read ({reason}); restore the checkpoint.") from None


def _whole(part: Any, report: Mapping[str, Any]) -> Any:
    """The part in eval mode; ValueError if a tensor of it was not in its file, which the readers only warn of."""
    if report["missing_keys"]:
        raise ValueError(f"it lacks the tensor {min(report['missing_keys'])}")
    return part.eval()


def _vae_folder(model: DiffusionModel) -> Path | None:
    """`vae/` of the checkpoint; InputError if its pipeline names a VAE that is not there."""
    if model.checkpoint is None:
        return None
    folder, index = model.checkpoint / "vae", model.checkpoint / "model_index.json"
    if folder.is_dir():
        return folder
    if index.exists() and (read_json(index).get("vae") or [None])[0] is not None:
        raise InputError(f"{folder} is missing, and model_index.json names it; restore the checkpoint.")
    return None


def _latents(model: DiffusionModel, images: Tensor, cache: Path | None) -> Tensor:
    """Latents (N, C, h, w) float32 of the images, mapped from a file if there is a cache; the images without a VAE."""
    folder = _vae_folder(model)
    if folder is None:
        return images
    config = read_json(folder / "config.json")
    if config.get("_class_name") != "AutoencoderKL":
        raise InputError(
            f"The VAE {config.get('_class_name')!r} is not known; use a checkpoint with one of: AutoencoderKL."
        )
    if config.get("latent_channels", 4) != model.shape[0]:
        raise InputError(
            f"The VAE makes {config.get('latent_channels', 4)} channels and the network takes {model.shape[0]}; use a checkpoint that generates from text or labels alone."
        )
    side = model.pixels_per_latent
    takes = (3, model.shape[1] * side, model.shape[2] * side)
    if tuple(images.shape[1:]) != takes:
        raise InputError(
            f"The images are of shape {tuple(images.shape)}, the model takes (N, {', '.join(map(str, takes))}); resize them."
        )
    items = Items(images)

    def fill(latents: Tensor) -> None:
        vae = _read_vae(folder).to(model.device)
        for start in range(0, len(items), BATCH):
            block = items[start : start + BATCH].images
            # the last block is filled up, so that no value depends on how many images there are
            full = torch.cat([block, block[-1:].expand(BATCH - len(block), -1, -1, -1)])
            latents[start : start + BATCH] = _encode_images(vae, full.to(model.device))[: len(block)].cpu()

    path = None if cache is None else cache / "latents" / f"{_address([folder], items.digest)}.f32"
    return kept(path, (len(items), *model.shape), fill)


def _read_vae(folder: Path) -> Any:
    """The VAE in eval mode, float32; InputError if it is not whole."""
    import diffusers

    return load(diffusers.AutoencoderKL, folder).eval().float()


@torch.no_grad()
def _encode_images(vae: Any, images: Tensor) -> Tensor:
    """Latents (B, C, h, w) of images (B, 3, H, W)."""
    config = vae.config
    latents: Tensor = vae.encode(images).latent_dist.mode()
    if config.latents_mean is not None and config.latents_std is not None:
        mean, std = (latents.new_tensor(v).view(1, -1, 1, 1) for v in (config.latents_mean, config.latents_std))
        return (latents - mean) / std * float(config.scaling_factor)
    return (latents - float(config.shift_factor or 0)) * float(config.scaling_factor)


def _prompt_conditioning(model: DiffusionModel, prompts: list[str], cache: Path | None) -> dict[str, Tensor]:
    """Conditioning (U, …) float32 of U different prompts, by the name of the network's argument."""
    if model.checkpoint is None:
        raise InputError(
            "The model has no checkpoint to read text encoders from; use `DiffusionModel.from_pretrained`."
        )
    pipeline = STABLE_DIFFUSION_XL if "text_embeds" in model.conditioning else PIPELINES[type(model.network).__name__]
    parts = _text_parts(model.checkpoint, pipeline)
    path = None
    if cache is not None:
        width = model.network.config.get("joint_attention_dim")  # of the zeros that stand for a missing T5
        address = _address([model.checkpoint / part for part in parts], pipeline.name, width, prompts)
        path = cache / "prompts" / f"{address}.safetensors"
    if path is not None and path.exists():
        embeddings = load_file(path)
    else:
        embeddings = _embed(model, pipeline, parts, prompts)
        if path is not None:
            with replacing(path) as partial:
                save_file(embeddings, partial)
    if "time_ids" in model.conditioning:
        height, width = (side * model.pixels_per_latent for side in model.shape[1:])
        # original size, crop and target size (Podell et al. 2023, arXiv 2307.01952, section 2.2)
        sizes = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
        embeddings["time_ids"] = sizes.repeat(len(prompts), 1)
    return embeddings


def _text_parts(checkpoint: Path, pipeline: TextPipeline) -> dict[str, str]:
    """Classes, from transformers, of the pipeline's tokenizers and text encoders, by folder.

    InputError if one is not listed in model_index.json, of another class than those known, or not there.
    """
    index = read_json(checkpoint / "model_index.json")
    parts = {}
    for place, kinds in enumerate(pipeline.encoders):
        for what, known in kinds.items():
            part = f"{what}_{place + 1}" if place else what
            listed = index.get(part)
            library, name = listed if isinstance(listed, list) and len(listed) == 2 else (None, None)
            if name is None and place >= len(pipeline.encoders) - pipeline.optional:
                continue
            if library != "transformers" or name not in known:
                found = "missing" if name is None else f"{library}.{name}"
                raise InputError(
                    f"The {part} of {checkpoint} is {found}; use a checkpoint with one of: {', '.join(known)} of transformers."
                )
            if not (checkpoint / part).is_dir():
                raise InputError(
                    f"{checkpoint / part} is missing, and model_index.json names it; restore the checkpoint."
                )
            parts[part] = name
    return parts


@torch.no_grad()
def _embed(
    model: DiffusionModel, pipeline: TextPipeline, parts: dict[str, str], prompts: list[str]
) -> dict[str, Tensor]:
    """Embeddings (U, …) float32 of U prompts, each encoded alone, so that none depends on the others."""
    import diffusers

    assert model.checkpoint is not None
    read = {part: _read_text_part(model.checkpoint / part, name) for part, name in parts.items()}
    kind = getattr(diffusers, pipeline.name)
    given = dict.fromkeys(inspect.signature(kind).parameters) | read
    if "transformer" in given:
        given["transformer"] = model.network  # tells Stable Diffusion 3 how wide a missing T5's embedding is
    made = kind(**given).to(model.device)
    rows: dict[str, list[Tensor]] = {}
    for prompt in prompts:
        encoded = made.encode_prompt(prompt=[prompt], device=model.device, **pipeline.options)
        named = {"encoder_hidden_states": encoded[0]}
        if pipeline.pooled is not None:
            name, place = pipeline.pooled
            named[name] = encoded[place]
        for name, row in named.items():
            rows.setdefault(name, []).append(row.float().cpu())
    return {name: torch.cat(values) for name, values in rows.items()}


def _read_text_part(folder: Path, name: str) -> Any:
    """A tokenizer, or a text encoder in eval mode, float32; InputError if it is not whole."""
    try:
        import transformers
    except ImportError:
        raise InputError("Prompts need the package transformers; run: pip install 'mucs[families]'.") from None
    kind = getattr(transformers, name)
    with _reading(folder), _without_bars(transformers.utils.logging):
        if "Tokenizer" in name:
            for path in folder.glob("*.json"):
                given = load_json(path.read_bytes())
                # none may point to a file that is not among those that were looked at; what is listed here is never opened
                for key in set(given if path.name == "tokenizer_config.json" else ()) - {"special_tokens_map_file"}:
                    if (key.endswith("_file") and given[key]) or key == "auto_map":
                        raise ValueError(f"its tokenizer_config.json names {key}")
            if not any(all((folder / file).is_file() for file in files) for files in VOCABULARIES):
                raise ValueError("it has no vocabulary")
            return kind.from_pretrained(folder, local_files_only=True)
        config = read_json(folder / "config.json")
        for key in ("quantization_config", "auto_map", "configuration_files"):
            if config.get(key):
                raise ValueError(f"its config.json has {key}")
        given = {key: value for key, value in config.items() if "attn_implementation" not in key}
        check_config(given, folder / "config.json")
        described = kind.config_class.from_dict(given)
        shapes = [shape for file in weight_files(folder, "model").values() for shape in file.values()]
        with torch.device("meta"), at_most(len(shapes)):  # takes no memory, whatever sizes the configuration has
            skeleton = kind(described)
        if sum(value.numel() for value in skeleton.state_dict().values()) > 2 * sum(map(math.prod, shapes)):
            raise ValueError("its config.json describes a larger one than its weights are")
        weights = read_weights(folder, "model")
        return _whole(
            *kind.from_pretrained(
                None, config=described, state_dict=weights, dtype=torch.float32, output_loading_info=True
            )
        )


@contextlib.contextmanager
def _without_bars(logging: Any) -> Iterator[None]:
    """Without the bars that transformers draws."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
