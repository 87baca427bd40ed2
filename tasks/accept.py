"""Accept: see whether a picture that somebody sent can be attributed, and keep it in the log as a batch of one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mucs import InputError
from mucs.images.decode import open_image
from mucs.images.inspection import MOST_TEXT
from mucs.images.request import Request
from mucs.text import MOST, is_fit
from tasks.ledgers import open_log
from tasks.pull import SHARD, as_pulled
from tasks.validate import ImageSpec, validate_generated


def accept(request: Request, spec: ImageSpec, log: str) -> str:
    """Keep a request's batch in the log, as an object that a run's entry will commit to.

    Args:
        request: What was sent.
        spec: The images that the checkpoint takes.
        log: The log's place.

    Returns:
        Where it is, as `audit` takes a batch: `object:<SHA-256>`.

    Raises:
        InputError: If it is no picture that the checkpoint takes, with nothing kept of it; or if the log cannot be written.
    """
    look(request, spec)
    shard = request.to_shard()
    with tempfile.TemporaryDirectory(prefix="mucs-request-") as folder:
        batch = Path(folder) / "batch"
        batch.mkdir()
        (batch / SHARD).write_bytes(shard)
        validate_generated.fn(as_pulled(batch), spec, Path(folder))
    return f"object:{open_log(log).keep(shard)}"


def look(request: Request, spec: ImageSpec) -> None:
    """See whether a request is what the checkpoint takes, as far as that can be told in a sentence to whoever sent it.

    Raises:
        InputError: If it is not.
    """
    wanted = (spec.width, spec.height)
    size = f"{spec.width} × {spec.height} pixels"
    try:
        with open_image(request.picture) as image:
            found = image.size
            if found == wanted:  # no other one is decoded
                image.load()
    except ValueError:
        raise InputError(
            f"The file is no picture that can be used; send a whole PNG, JPEG or WebP file of 8 bits a channel and {size}."
        ) from None
    if found != wanted:
        raise InputError(
            f"The picture has {found[0]} × {found[1]} pixels, and the model takes {size}; send it in that size."
        )
    _look_at_class(request.label, spec.classes)
    if spec.prompts and not request.prompt:
        raise InputError("The model makes pictures from words; send those of this one as prompt.")
    if request.prompt and not spec.prompts:
        raise InputError("The model makes no pictures from words; send this one without prompt.")
    for name, text in (("prompt", request.prompt), ("seed", request.seed)):
        most = MOST_TEXT if name == "prompt" else MOST
        if not is_fit(text or "", most):
            raise InputError(f"The {name} must be one line of at most {most:,} characters that can be seen; mend it.")


def _look_at_class(label: str | None, classes: int | None) -> None:
    if classes is None and label is not None:
        raise InputError("The model has no classes; send the picture without class.")
    if classes is not None and label not in [str(known) for known in range(classes)]:
        given = "comes without its class" if label is None else "has a class that the model does not have"
        raise InputError(f"The picture {given}; send the one that it was made for as class, from 0 to {classes - 1}.")
