"""Kept: what came of a gate, used again for the same data and the same code."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from prefect.context import TaskRunContext
from prefect.states import Completed

from mucs.canonical import canonical, digest
from mucs.digests import source_sha256
from mucs.files import replacing
from mucs.images.version import IMAGES_SHA256

Result = TypeVar("Result")

log = logging.getLogger("mucs.validate")

CODE = source_sha256(Path(__file__).parent, IMAGES_SHA256, f"great_expectations {version('great_expectations')}")


def kept_result(cache: Path, name: str, about: Mapping[str, Any], gate: Callable[[], Any]) -> tuple[Any, bool]:
    """What a gate gives, from the cache where it has passed before.

    Args:
        cache: Where results are kept.
        name: Of what is validated.
        about: All that the result depends on but the code, as JSON.
        gate: Gives the result as JSON; what it raises is not kept.

    Returns:
        The result, the same whether it was kept or not; and whether it was.
    """
    path = cache / "gates" / f"{digest({'of': name, 'code': CODE, **about})}.json"
    reused = path.exists()
    if reused:
        log.info("validate  %s: as it was validated before", name)
    else:
        result = canonical(gate())
        with replacing(path) as partial:
            partial.write_bytes(result)
    return json.loads(path.read_bytes()), reused


def as_state(result: Result, reused: bool) -> Result:
    """What a gate's task returns, so that its task run ends as Reused where the result was kept.

    Prefect hands a state that a task returns on as it is; who wants the result asks for it: `gate(…, return_state=True).result()`.
    """
    if reused and TaskRunContext.get():
        state: Any = Completed(name="Reused", message="As it was validated before.", data=result)
        return state  # type: ignore[no-any-return]
    return result
