"""JSON and YAML from outside, within bounds: what is too deep, doubled or no number is refused before anything is made of it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import yaml

DEPTH = 64


def load_json(text: str | bytes, *, infinite: bool = False) -> Any:
    """A JSON value (RFC 8259), from text or UTF-8.

    Args:
        text: JSON, at most as long as its reader allows.
        infinite: Take Infinity and -Infinity as well, which JSON lacks and diffusers writes.

    Raises:
        ValueError: For what is no JSON, nests deeper than 64, has a key twice, a number that is not finite, or text
            that cannot be encoded.
    """

    def number(written: str) -> float:
        value = float(written)
        if not math.isfinite(value):
            raise ValueError(f"{written[:20]} is too large")
        return value

    def constant(written: str) -> float:
        if written == "NaN" or not infinite:
            raise ValueError(f"{written} is no number of JSON")
        return float(written)

    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value = json.loads(decoded, object_pairs_hook=_once, parse_float=number, parse_constant=constant)
    except RecursionError:
        _too_deep()
    _check(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check(value: Any) -> None:
    """ValueError for what nests too deep, or holds half a character."""
    level = [value]
    for _ in range(DEPTH):
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                each.encode()
            elif isinstance(each, dict):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list):
                below += each
        if not below:
            return
        level = below
    _too_deep()


def _too_deep() -> NoReturn:
    raise ValueError(f"it nests deeper than {DEPTH}")


def compose_yaml(text: str) -> yaml.Node | None:
    """The nodes of a YAML document, with their lines; None for an empty one.

    Raises yaml.YAMLError for what is no YAML, ValueError for what nests deeper than 64, refers to itself (`&a`, `*a`), or
    gives a value another kind (`!!a`).
    """
    import yaml

    depth = 0
    # before nodes are made of them, one event after another, however deep they nest
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it refers to another place of its own (`*`)")
        if getattr(event, "tag", None) not in (None, "!"):  # `!` says that a text is one
            raise ValueError("it says of what kind a value is (`!`)")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            _too_deep()
    return yaml.compose(text, Loader=yaml.SafeLoader)
