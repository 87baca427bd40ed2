"""Summaries of a training set that laws ask for: what the ledger knows of it, and beside it what only its provider can say.

`eu-summary` follows the template of the European Commission for Article 53(1)(d) of the AI Act, C(2025) 8311; `ab2013` follows California's
Civil Code § 3111. Titles are ours, in short; the texts themselves are what counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mucs import InputError
from mucs.canonical import canonical
from mucs.files import read_at_most
from mucs.ledger import Ledger
from mucs.ledger.names import only_called
from mucs.parse import compose_yaml
from mucs.text import is_fit
from mucs.written import nearest

MOST_BYTES, MOST_ANSWER = 1_000_000, 100_000
NULL = "tag:yaml.org,2002:null"
SHOWN = 20  # licences that are named
SETS = """SELECT DISTINCT a.sha256, min(r.run_id) OVER (PARTITION BY a.sha256) AS first FROM runs r
JOIN artifacts a ON a.artifact_id = r.training_set_id WHERE r.loaded_at <= $as_of::TIMESTAMPTZ ORDER BY first"""
FACTS = """
WITH theirs AS MATERIALIZED (
    SELECT t.sha256, t.date, h.rights_holder, h.licence, h.standing
    FROM members m JOIN training_items t USING (training_id) JOIN artifacts a ON a.artifact_id = m.training_set_id
    JOIN rights_on($day, $as_of) h ON h.sha256 = t.sha256 WHERE a.sha256 = $set AND a.kind = 'training_set'
)
SELECT count(DISTINCT sha256) AS images, count(DISTINCT rights_holder) AS holders, min(date) AS first, max(date) AS last,
    (SELECT list([licence, images::VARCHAR] ORDER BY images DESC, licence) FROM (SELECT licence, count(DISTINCT sha256) AS images FROM theirs GROUP BY licence)) AS licences,
    (SELECT list([standing, images::VARCHAR] ORDER BY standing) FROM (SELECT standing, count(DISTINCT sha256) AS images FROM theirs GROUP BY standing)) AS standings
FROM theirs
"""
MADE = """SELECT a.bytes, a.files, min(r.loaded_at)::DATE AS first_used, count(DISTINCT r.checkpoint_id) AS models, count(DISTINCT r.run_id) AS runs
FROM runs r JOIN artifacts a ON a.artifact_id = r.training_set_id WHERE a.sha256 = $set AND r.loaded_at <= $as_of::TIMESTAMPTZ GROUP BY ALL"""


@dataclass(frozen=True)
class Point:
    """A point of a summary.

    Attributes:
        key: What answers call it.
        title: What it asks for.
        section: Under which heading it stands.
        known: Which fact of the ledger answers it, or a part of it; none without one.
        is_answered: Whether that is all that is asked for.
    """

    key: str
    title: str
    section: str
    known: str = ""
    is_answered: bool = False


def _points(section: str, *points: tuple[Any, ...]) -> list[Point]:
    return [Point(key, title, section, *rest) for key, title, *rest in points]


FORMS: dict[str, tuple[str, list[Point]]] = {
    "eu-summary": (
        "Public summary of training content (AI Act, Article 53(1)(d))",
        [
            *_points(
                "1. General information",
                ("provider", "Provider: name and contact, and those of an authorised representative"),
                ("model", "Model: name, versions, what it was made from, and when it was placed on the market"),
                ("modalities", "Kinds of training data, and how much of each", "amount"),
                ("collected_until", "When the latest data were acquired, and whether more is being acquired", "dates"),
                ("characteristics", "Other characteristics: languages, regions, groups of people"),
            ),
            *_points(
                "2. List of data sources",
                (
                    "public",
                    "Publicly available data sets: names and addresses of the large ones, a description of the others",
                ),
                ("licensed", "Data that rights holders have licensed", "licences"),
                ("private", "Other data that were got from third parties and are not public"),
                (
                    "crawled",
                    "Data that were crawled: crawlers, their behaviour, period, and the domains that gave most",
                ),
                ("users", "Data of users of the provider's services and products"),
                ("synthetic", "Data that models made: which models, and for what"),
                ("other", "Data from other sources"),
            ),
            *_points(
                "3. Data processing aspects",
                (
                    "reservations",
                    "How reservations of rights (text and data mining) are found and kept to",
                    "reservations",
                ),
                ("illegal", "How illegal content is kept out or removed"),
                ("further", "What else is of interest to those who have rights to enforce", "evidence"),
            ),
        ],
    ),
    "ab2013": (
        "Training data documentation (California Civil Code § 3111)",
        [
            *_points(
                "The twelve points",
                ("sources", "1. Sources or owners of the data sets", "holders"),
                ("purpose", "2. How the data sets further the purpose of the system"),
                ("amount", "3. Number of data points", "amount", True),
                ("types", "4. Types of data points, or of labels", "labels"),
                (
                    "protected",
                    "5. Whether they are protected by copyright, trade mark or patent, or in the public domain",
                    "licences",
                ),
                ("acquired", "6. Whether they were purchased or licensed", "licences"),
                ("personal", "7. Whether they include personal information"),
                ("consumers", "8. Whether they include aggregate consumer information"),
                ("processing", "9. How they were cleaned, processed or changed, and for what"),
                ("collected", "10. When they were collected, and whether that goes on", "dates"),
                ("first_used", "11. When they were first used in development", "first_used"),
                ("synthetic", "12. Whether synthetic data were used"),
            )
        ],
    ),
}


def training_set_called(ledger: Ledger, name: str | None, as_of: str = "infinity") -> str:
    """The SHA-256 of the training set that it begins so; of the only one without a name.

    Raises:
        InputError: If there is no such one, or several.
    """
    known = [str(row["sha256"]) for row in ledger.rows(SETS, {"as_of": as_of})]
    return only_called(known, name, "training set")


def facts(ledger: Ledger, training_set: str | None, day: str, as_of: str = "infinity") -> dict[str, Any]:
    """What the ledger knows of a training set, in sentences.

    Args:
        ledger: Open.
        training_set: Its SHA-256, or the start of it; the only one without it.
        day: On which rights are looked at, as 2026-11-30.
        as_of: What the ledger knew then.

    Returns:
        `training_set`, its SHA-256, and a sentence for each fact that points name.

    Raises:
        InputError: If there is no such one, or several.
    """
    sha256 = training_set_called(ledger, training_set, as_of)
    given = {"set": sha256, "as_of": as_of}
    (of,), (made,) = ledger.rows(FACTS, given | {"day": day}), ledger.rows(MADE, given)
    standing = {name: int(images) for name, images in of["standings"]}
    licences = [f"{name}: {images}" for name, images in of["licences"][:SHOWN]]
    more = len(of["licences"]) - SHOWN
    return {
        "training_set": sha256,
        "amount": f"{of['images']} images, {made['files']} files of {made['bytes'] / 1e6:.1f} MB; no other modality.",
        "dates": f"By the manifest, images are dated from {of['first']} to {of['last']}.",
        "holders": f"{of['holders']} rights holders are named, each with the works, in the manifest.",
        "licences": f"By licence, as it stands on {day}: {'; '.join(licences)}{f'; and {more} more' if more > 0 else ''}.",
        "reservations": (
            f"On {day}, of {of['images']} images, {standing.get('granted', 0)} were granted, {standing.get('opted out', 0)} opted out, and"
            f" of {standing.get('lapsed', 0) + standing.get('not yet', 0)} what is recorded holds on other days alone. Opt-outs are kept with the day from"
            " which they hold."
        ),
        "labels": "Images, each with its rights holder, licence and date; classes or prompts where the model takes them.",
        "first_used": f"The first attribution on record is of {made['first_used']}; training was before that.",
        "evidence": (
            f"Which training images are behind which generated ones was measured in {made['runs']} audits of {made['models']} model versions, and can be asked for"
            " with proofs. Such scores are estimates with errors that are stated."
        ),
    }


def summary(
    kind: str, known: Mapping[str, Any], answers: Mapping[str, str], day: str, at: tuple[int, str]
) -> dict[str, Any]:
    """A summary as JSON; the same facts and answers give the same.

    Args:
        kind: One of FORMS.
        known: By `facts`.
        answers: What the provider says, by the points' keys.
        day: Of the facts.
        at: Position and head of the log that the ledger was at.
    """
    title, points = FORMS[kind]
    return {
        "title": title,
        "training_set": known["training_set"],
        "day": day,
        "log": {"position": at[0], "head": at[1]},
        "points": [
            {
                "key": point.key,
                "section": point.section,
                "title": point.title,
                "ledger": known[point.known] if point.known else None,
                "provider": answers.get(point.key) or None,
                "missing": not (answers.get(point.key) or point.is_answered),
            }
            for point in points
        ],
    }


def missing(said: Mapping[str, Any]) -> list[str]:
    """The keys of points that the provider still has to answer."""
    return [point["key"] for point in said["points"] if point["missing"]]


def as_json(said: Mapping[str, Any]) -> bytes:
    """A summary as a file for programs."""
    return canonical(dict(said))


def as_markdown(said: Mapping[str, Any]) -> str:
    """A summary as a file for people."""
    lines = [f"# {said['title']}", ""]
    lines += [
        f"Training set {said['training_set']}, as of {said['day']}; of a ledger at entry {said['log']['position']}, {said['log']['head']}.",
        "",
    ]
    section = None
    for point in said["points"]:
        if point["section"] != section:
            section = point["section"]
            lines += [f"## {section}", ""]
        lines += [f"### {point['title']}", ""]
        lines += [_quoted(point["provider"]), ""] if point["provider"] else []
        lines += [f"From the ledger: {_quoted(point['ledger'])}", ""] if point["ledger"] else []
        lines += [f"**Missing: the provider's answer (`{point['key']}`).**", ""] if point["missing"] else []
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Text as Markdown shows it, whatever it has in it."""
    return "\n".join("".join(f"\\{c}" if c in r"\`*_{}[]<>#|" else c for c in line) for line in text.split("\n"))


def blank(kind: str) -> str:
    """A file of answers to be filled in."""
    title, points = FORMS[kind]
    lines = [f"# {title}: what the provider says, by point; leave empty what is not known yet."]
    for point in points:
        lines += ["", f"# {point.title}", f"{point.key}:"]
    return "\n".join(lines) + "\n"


def read_answers(path: Path, kind: str) -> dict[str, str]:
    """What the provider says.

    Args:
        path: A YAML file of texts by the points' keys.
        kind: Of which form.

    Raises:
        InputError: If it cannot be read, names no point of the form, or has something else than text.
    """
    try:
        node = compose_yaml(read_at_most(path, MOST_BYTES).decode())
    except OSError:
        raise InputError(f"{path} cannot be read; give the file of answers, or leave --answers out.") from None
    except (ValueError, yaml.YAMLError):
        raise InputError(f"{path} cannot be read as YAML; write `point: text` on lines of their own.") from None
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path} is no list of answers; write `point: text` on lines of their own.")
    keys = [point.key for point in FORMS[kind][1]]
    answers: dict[str, str] = {}
    for name, value in node.value if node else ():
        key, line = str(name.value), name.start_mark.line + 1
        if key not in keys:
            raise InputError(
                f"{path}, line {line}: {key!r} is no point of {kind}{nearest(key, keys)}; they are {', '.join(keys)}."
            )
        if key in answers:
            raise InputError(f"{path}, line {line}: {key} is answered twice; leave one out.")
        text = value.value.strip() if isinstance(value, yaml.ScalarNode) else None
        if text is None or not all(is_fit(each, MOST_ANSWER) for each in text.split("\n")):
            raise InputError(
                f"{path}, line {line}: the answer to {key} is no text, or has characters that cannot be shown; write it in words."
            )
        answers[key] = "" if value.tag == NULL else text
    return {key: text for key, text in answers.items() if text}
