"""Checkpoint: the gate of a checkpoint, which also says which images it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.text import first_line
from tasks.pull import Pulled
from tasks.validate.image_spec import ImageSpec
from tasks.validate.kept import as_state, kept_result
from tasks.validate.suite import Validation, holds, run_suite, some_rows

if TYPE_CHECKING:
    from mucs.attribution import DiffusionModel


@task(task_run_name="validate checkpoint", cache_policy=NO_CACHE)
def validate_checkpoint(pulled: Pulled, cache: Path) -> tuple[list[Validation], ImageSpec]:
    """Gate a checkpoint, unless the cache has what came of that with the same bytes and code.

    Args:
        pulled: The checkpoint.
        cache: Where results are kept.

    Returns:
        The results, and which images it takes.

    Raises:
        GateFailed: If it does not pass.
        InputError: If it cannot be read or run.
    """
    from mucs.attribution.version import METHOD_SHA256

    def gate() -> dict[str, Any]:
        validations, spec = _gate(pulled.folder)
        return {"validations": validations, "images": dataclasses.asdict(spec)}

    found, reused = kept_result(cache, "checkpoint", {"data": pulled.digest, "method": METHOD_SHA256}, gate)
    return as_state((found["validations"], ImageSpec(**found["images"])), reused)


def _gate(folder: Path) -> tuple[list[Validation], ImageSpec]:
    import pandas as pd
    import torch

    from mucs.attribution import DiffusionModel
    from mucs.attribution.checkpoint import network_from_config, network_part, read_scheduler, read_weights

    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    files = pd.DataFrame(
        {
            "file": names,
            "is safe to read": [
                Path(name).suffix in (".safetensors", ".json", ".md", ".txt", ".model") for name in names
            ],
        }
    )
    first = run_suite("checkpoint files", files, [*some_rows(), *holds("is safe to read")], names.__getitem__)
    read_scheduler(folder)
    with torch.device("meta"):
        network = network_from_config(folder)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    tensors = read_weights(network_part(folder))
    every = sorted(expected.keys() | tensors.keys())
    frame = pd.DataFrame(
        {
            "tensor": every,
            "is in the configuration": [name in expected for name in every],
            "is in the file": [name in tensors for name in every],
            "shape fits": [
                name in tensors and name in expected and tuple(tensors[name].shape) == expected[name] for name in every
            ],
            "is finite": [name in tensors and bool(tensors[name].isfinite().all()) for name in every],
        }
    )
    expectations = holds("is in the configuration", "is in the file", "shape fits", "is finite")
    second = run_suite("checkpoint", frame, [*some_rows(), *expectations], every.__getitem__)
    model = DiffusionModel.from_pretrained(folder)
    try_out(model)
    height, width = (side * model.pixels_per_latent for side in model.shape[1:])
    takes = ("encoder_hidden_states" in model.conditioning, "time_ids" in model.conditioning)
    return [first, second], ImageSpec(height, width, model.classes, *takes)


def try_out(model: DiffusionModel) -> None:
    """One loss, where no prompt is needed for it: many values of a configuration are looked at only then."""
    import torch

    if set(model.conditioning) - {"class_labels"}:
        return
    conditioning = {"class_labels": torch.zeros(1, dtype=torch.int64)} if model.conditioning else {}
    level = model.parameterisation.schedule(1, model.shape)
    try:
        loss = model.losses(torch.zeros(1, *model.shape), torch.ones(1, *model.shape), level, conditioning)
    except Exception as error:
        said = first_line(error)
        raise InputError(f"The checkpoint's network cannot be run ({said}); restore its config.json.") from None
    if not loss.isfinite().all():
        raise InputError("The checkpoint's network gives numbers that are not finite; restore its weights.")
