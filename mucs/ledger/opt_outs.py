"""Opt-outs: lists of domains and works whose rights holders do not want them trained on, as rights of the training images that they name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mucs import InputError
from mucs.files import read_at_most
from mucs.ledger.ledger import Ledger
from mucs.ledger.rights import MOST_BYTES, Right
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
    """A row of a list. line: in the file. name: a domain, or what a work is called by. source: where it was said. seen: the day."""

    line: int
    name: str
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
    try:
        text = read_at_most(path, MOST_BYTES).decode("utf-8-sig")
        with io.StringIO(text, newline="") as f:
            reader = csv.DictReader(f)
            if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
                raise InputError(f"{path} has other columns than a list of opt-outs; give {', '.join(COLUMNS)}.")
            domains, works = _read(path, reader)
    except InputError:
        raise
    except (OSError, ValueError, csv.Error):  # also too many bytes, or none of UTF-8
        raise InputError(
            f"{path} cannot be read as CSV; give a text file with the columns {', '.join(COLUMNS)}."
        ) from None
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


def _read(path: Path, reader: csv.DictReader[str]) -> tuple[dict[str, OptOut], dict[str, OptOut]]:
    """The rows that name domains, and those that name works, each by what it names."""
    domains: dict[str, OptOut] = {}
    works: dict[str, OptOut] = {}
    for row in reader:
        here = f"{path}, line {reader.line_num}:"
        if None in row:
            raise InputError(f"{here} there are more values than columns; quote those that have a comma in them.")
        values = {name: (row[name] or "").strip() for name in COLUMNS}
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
        told = (reader.line_num, values["domain"] or values["work"], values["source"], seen)
        if values["work"]:
            works[values["work"]] = OptOut(*told)
            continue
        domain = _ascii(values["domain"].removeprefix("*.").rstrip("."))
        if domain is None or "." not in domain:
            raise InputError(f"{here} domain cannot be {values['domain']!r}; write one as example.org.")
        domains[domain] = OptOut(*told)
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
