"""Prompts as the network is conditioned on them: the embeddings that the pipeline of diffusers makes."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from mucs import InputError
from mucs.attribution.bounds import at_most, check_config
from mucs.attribution.checkpoint import read_json, read_weights, weight_files
from mucs.attribution.mapped import mapped
from mucs.attribution.model import DiffusionModel
from mucs.files import replacing
from mucs.parse import load_json
from mucs.text import first_line

MARKED = 64  # prompts that are embedded anew at most after a kill
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


def text_folders(model: DiffusionModel) -> list[Path]:
    """The folders of the checkpoint's tokenizers and text encoders; InputError as `conditioning`."""
    return [_checkpoint(model) / part for part in _text_parts(_checkpoint(model), _pipeline(model))]


def conditioning(
    model: DiffusionModel,
    prompts: list[str],
    path: Path | None,
    batch_size: int,
    done: Callable[[int, int], None] | None,
) -> dict[str, Tensor]:
    """What the network is conditioned on for prompts.

    Args:
        model: The model, of a checkpoint with text encoders.
        prompts: U different ones.
        path: The file to map the embeddings from, None for memory; their shapes are kept beside it.
        batch_size: Prompts that are embedded at once.
        done: Told how many prompts are embedded, and of how many.

    Returns:
        Tensors (U, …) float32 by the name of the network's argument.

    Raises:
        InputError: If a tokenizer or text encoder is missing, broken or of an unknown kind.
    """
    pipeline = _pipeline(model)
    embed = Embedder(model, pipeline, _text_parts(_checkpoint(model), pipeline))
    shapes = _shapes(embed, prompts, path, batch_size)
    widths = [math.prod(shape) for shape in shapes.values()]

    def fill(which: slice) -> Tensor:
        found = embed(prompts[which], batch_size)
        return torch.cat([found[name].flatten(1) for name in shapes], dim=1)

    block = batch_size * max(1, MARKED // batch_size)
    rows = mapped(path, (len(prompts), sum(widths)), torch.float32, fill, block, done)
    columns = torch.split(rows, widths, dim=1)
    return {
        name: torch.unflatten(column, 1, shape) for (name, shape), column in zip(shapes.items(), columns, strict=True)
    }


def _shapes(embed: Embedder, prompts: list[str], path: Path | None, batch_size: int) -> dict[str, list[int]]:
    """The shape of one prompt's embeddings by name, kept beside `path`."""
    beside = path and path.with_suffix(".json")
    if beside and beside.exists():
        kept: dict[str, list[int]] = load_json(beside.read_bytes())
        return kept
    shapes = {name: list(values.shape[1:]) for name, values in embed(prompts[:1], batch_size).items()}
    if beside:
        with replacing(beside) as partial:
            partial.write_text(json.dumps(shapes))
    return shapes


def _checkpoint(model: DiffusionModel) -> Path:
    if model.checkpoint is None:
        raise InputError(
            "The model has no checkpoint to read text encoders from; use `DiffusionModel.from_pretrained`."
        )
    return model.checkpoint


def _pipeline(model: DiffusionModel) -> TextPipeline:
    return STABLE_DIFFUSION_XL if "text_embeds" in model.conditioning else PIPELINES[type(model.network).__name__]


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


class Embedder:
    """The checkpoint's text encoders, read when the first prompt is to be embedded."""

    def __init__(self, model: DiffusionModel, pipeline: TextPipeline, parts: dict[str, str]) -> None:
        self.model, self.pipeline, self.parts = model, pipeline, parts
        self.made: Any = None

    def _read(self) -> Any:
        import diffusers

        assert self.model.checkpoint is not None
        read = {part: _read_text_part(self.model.checkpoint / part, name) for part, name in self.parts.items()}
        kind = getattr(diffusers, self.pipeline.name)
        given = dict.fromkeys(inspect.signature(kind).parameters) | read
        if "transformer" in given:
            given["transformer"] = self.model.network  # tells Stable Diffusion 3 how wide a missing T5's embedding is
        return kind(**given).to(self.model.device)

    @torch.no_grad()
    def __call__(self, prompts: list[str], batch_size: int) -> dict[str, Tensor]:
        """Embeddings (U, …) float32 of U prompts, in batches that are always full, padded with their last prompt."""
        self.made = self.made or self._read()
        rows: dict[str, list[Tensor]] = {}
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            full = batch + batch[-1:] * (batch_size - len(batch))
            encoded = self.made.encode_prompt(prompt=full, device=self.model.device, **self.pipeline.options)
            named = {"encoder_hidden_states": encoded[0]}
            if self.pipeline.pooled is not None:
                name, place = self.pipeline.pooled
                named[name] = encoded[place]
            for name, values in named.items():
                rows.setdefault(name, []).append(values[: len(batch)].float().cpu())
        return {name: torch.cat(values) for name, values in rows.items()}


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """What goes wrong in reading a part is an InputError."""
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{folder} cannot be read ({first_line(error)}); restore the checkpoint.") from None


def _whole(part: Any, report: Mapping[str, Any]) -> Any:
    """The part in eval mode; ValueError if a tensor of it was not in its file, which the readers only warn of."""
    if report["missing_keys"]:
        raise ValueError(f"it lacks the tensor {min(report['missing_keys'])}")
    return part.eval()


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
