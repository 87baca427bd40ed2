"""Opt-outs: lists of domains and works whose rights holders do not want them trained on, as rights of the training images that they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from mucs import InputError
from mucs.csvfile import read_csv
from mucs.ledger.ledger import Ledger
from mucs.ledger.rights import Right
from mucs.text import is_fit
from mucs.written import read_day

COLUMNS = ("domain", "work", "source", "seen")
# of each training image: what it is called by, and the addresses in its manifest's row
IMAGES = """
SELECT sha256, list(DISTINCT id) AS ids,
    list_distinct(flatten(list(list_filter(json_extract_string(manifest_row, '$.*'), lambda value: value ^@ 'http://' OR value ^@ 'https://')))) AS urls
FROM training_items GROUP BY sha256 ORDER BY sha256
"""
HELD = "SELECT sha256, rights_holder, licence, standing FROM rights_on($day, 'infinity')"


@dataclass(frozen=True)
class OptOut:
    """What a row of a list says of what it names. line: in the file. source: where it was said. seen: the day."""

    line: int
    source: str
    seen: str


@dataclass(frozen=True)
class Found:
    """What a list comes to.

    Attributes:
        rights: That images are opted out from the day that it was seen, which they were not before.
        rows: How many the list has.
        unknown: Lines of those that name no training image.
    """

    rights: list[Right]
    rows: int
    unknown: list[int]


def read_opt_outs(ledger: Ledger, path: Path) -> Found:
    """The training images that a CSV file with COLUMNS names, to be said by `say_rights`.

    A row has either a domain, of which an image is if an address in its manifest's row is of it or of a domain below it; or a work: an
    item's id, the SHA-256 of its image, or such an address. Of several rows that name an image, the last counts.

    Args:
        ledger: What images there are, and how they stand, is read of it.
        path: The file.

    Raises:
        InputError: With the line, for what cannot be read.
    """
    domains, works = _read(path)
    named: dict[str, OptOut] = {}  # by image
    lines = set()
    for image in ledger.rows(IMAGES):
        urls = image["urls"]
        hits = [works[name] for name in (image["sha256"], *image["ids"], *urls) if name in works]
        hits += [domains[domain] for url in urls for domain in _domains(url) if domain in domains]
        lines |= {hit.line for hit in hits}
        if hits:
            named[image["sha256"]] = max(hits, key=lambda hit: hit.line)
    rows = [*domains.values(), *works.values()]
    unknown = sorted(row.line for row in rows if row.line not in lines)
    return Found(sorted(_rights(ledger, named), key=lambda right: (right.line, right.sha256)), len(rows), unknown)


def _rights(ledger: Ledger, named: dict[str, OptOut]) -> Iterator[Right]:
    """What is new of images by what was said of them."""
    for day in sorted({row.seen for row in named.values()}):
        for held in ledger.rows(HELD, {"day": day}):
            row = named.get(held["sha256"])
            if row and row.seen == day and held["standing"] != "opted out":
                of_image = (held["sha256"], held["rights_holder"], held["licence"])
                yield Right(row.line, *of_image, "opted out", None, day, None, source=row.source)


def _check(path: Path, found: Sequence[str]) -> None:
    if sorted(found) != sorted(COLUMNS):
        raise InputError(f"{path} has other columns than a list of opt-outs; give {', '.join(COLUMNS)}.")


def _read(path: Path) -> tuple[dict[str, OptOut], dict[str, OptOut]]:
    """What is said of domains, and of works, each by what it names."""
    domains: dict[str, OptOut] = {}
    works: dict[str, OptOut] = {}
    for line, values in read_csv(path, COLUMNS, partial(_check, path)):
        here = f"{path}, line {line}:"
        for name, value in values.items():
            if not is_fit(value):
                raise InputError(f"{here} {name} has characters that cannot be printed, or too many; leave them out.")
        if bool(values["domain"]) == bool(values["work"]):
            raise InputError(f"{here} it must name a domain or a work, and not both; fill in one of the two.")
        if not values["source"]:
            raise InputError(f"{here} source is empty; say where the opt-out was seen, such as robots.txt or a letter.")
        try:
            seen = read_day(values["seen"]).isoformat()
        except ValueError:
            raise InputError(f"{here} seen cannot be {values['seen']!r}; write a day as 2026-10-31.") from None
        said = OptOut(line, values["source"], seen)
        if values["work"]:
            works[values["work"]] = said
            continue
        domain = _ascii(values["domain"].removeprefix("*.").rstrip("."))
        if domain is None or "." not in domain:
            raise InputError(f"{here} domain cannot be {values['domain']!r}; write one as example.org.")
        domains[domain] = said
    return domains, works


def _domains(url: str) -> list[str]:
    """The domain of an address, and those above it."""
    try:
        host = _ascii((urlsplit(url).hostname or "").rstrip("."))
    except ValueError:
        return []
    parts = (host or "").split(".")
    return [".".join(parts[k:]) for k in range(len(parts) - 1)]


def _ascii(domain: str) -> str | None:
    """A domain as the net has it, in small letters; None if it is none."""
    try:
        found = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return found if found and not set(found) & set("/:@ ?#") else None
