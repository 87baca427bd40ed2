"""Crate: one run's evidence as a folder that can be handed over and checked without anything of ours, as RO-Crate 1.1 has it.

It follows the profile Process Run Crate 0.5: an action that made results of objects, by an instrument.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mucs import InputError, __version__
from mucs.evidence.chain import Entry
from mucs.evidence.entries import objects_by_run
from mucs.evidence.log import Log, entry_name, object_name
from mucs.evidence.thumbnails import Thumbnails
from mucs.files import file_sha256
from mucs.ledger import Ledger
from mucs.parse import load_json
from mucs.report import COUNTED, audit_page

METADATA, CHECK, PAGE, README = "ro-crate-metadata.json", "check_run.py", "page.html", "README.md"
CRATE_1_1, PROCESS = "https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/wfrun/process/0.5"
PARQUET, SAFETENSORS, JSON = "application/vnd.apache.parquet", "application/octet-stream", "application/json"
OBJECTS = {  # what an object of a run is, in words, and of which media type
    "record": ("The run's record, whose SHA-256 is the run's name", JSON),
    "edges": ("Edges: what each training image scored for each generated one", PARQUET),
    "unseen_edges": ("What images scored that the model was never trained on", PARQUET),
    "noise_bank": ("The noise under which models were compared", SAFETENSORS),
    "calibration": ("What all training images score for unseen images", SAFETENSORS),
    "validations": ("Results of the gates that the data passed", JSON),
    "training": ("The training set's manifest, with pseudonyms for rights holders", PARQUET),
    "generated": ("The generated batch's manifest", PARQUET),
    "batch": ("The picture that was sent", PARQUET),
    "envelope": ("The signed statement about the run (DSSE)", JSON),
    "index": ("The index that named the training images which were measured", SAFETENSORS),
}
INPUTS = {
    "checkpoint": "The model",
    "training_set": "Its training set",
    "held_out": "Images that it was not trained on",
}
RIGHTS = "Handed over as evidence. Pictures and names stay under the rights of those whose they are."
TOLD = """\
# Evidence of a run

What was measured by run `{run}`, and all that it takes to see that nothing of it was changed since.

    python check_run.py HEAD

needs nothing but Python 3.11. HEAD is the head of the log as you have it from another place: as it was published, signed, stamped or sent to you.
Without one, the script says only that the folder agrees with itself.

- `page.html`: the run in words and pictures, for people. It names rights holders.
- `log/`: the log up to entry {position}, one file an entry; each has the SHA-256 of the one before it. Head: `{head}`.
- `objects/`: what the run's entry commits to, each named by its SHA-256. `ro-crate-metadata.json` says which is what (RO-Crate 1.1).

Of other entries the objects are not here. Parquet files are read by any database or data-frame library.
"""


def write_crate(ledger: Ledger, log: Log, run: str, folder: Path) -> bytes:
    """Write a run's evidence; gives the metadata, which name every file by its SHA-256, but for the log's entries, of which each names the last.

    Args:
        ledger: One that has the run, and is up to its log.
        log: Its log.
        run: The run's SHA-256.
        folder: Where it goes; it must not be there yet, and is whole as soon as it is.

    Raises:
        InputError: If something is there already, cannot be written, is gone from the log, or the run is of before there was a log.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; give another place, or remove it.")
    position, head = ledger.at()
    with _made(folder) as part:
        entries = _copy_entries(log, position, part)
        objects = objects_by_run(entries).get(run)
        entry = next((each for each in entries if each.kind == "run" and each.body["run"] == run), None)
        if objects is None or entry is None or entry.version < 2:
            raise InputError(
                f"Run {run[:12]} is of before there was a log, which has no objects of it; give a later one."
            )
        record = load_json(log.object(run))
        named = {"record": run, **objects} | ({"index": record["index"]} if "index" in record else {})
        (part / "objects").mkdir()
        for sha256 in named.values():
            with log.file(sha256) as path:
                shutil.copyfile(path, part / object_name(sha256))
        with (part / PAGE).open("w") as file:
            shares = ledger.ask("shares", run=run, top=COUNTED)
            file.writelines(audit_page(ledger, Thumbnails(log), run, shares, COUNTED))
        (part / README).write_text(TOLD.format(run=run, position=position, head=head))
        (part / CHECK).write_text(importlib.resources.files("mucs.exports").joinpath(CHECK).read_text())
        said = json.dumps(_metadata(part, record, named, entry, head), indent=2, ensure_ascii=False).encode()
        (part / METADATA).write_bytes(said)
        return said


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder beside it that takes its name when the block ends, and is removed if it fails."""
    try:
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError:
        raise InputError(f"{folder} cannot be made; give another place.") from None
    try:
        yield part
        part.chmod(0o755)
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise InputError(f"{folder} cannot be written ({str(error.strerror).lower()}); give another place.") from None
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _copy_entries(log: Log, position: int, part: Path) -> list[Entry]:
    """Write the log's entries up to a position, and give them."""
    (part / "log").mkdir()
    entries = []
    for entry in log.after():
        if entry.position > position:
            break
        (part / entry_name(entry.position)).write_bytes(entry.entry.encode())
        entries.append(entry)
    return entries


def _metadata(part: Path, record: dict[str, Any], objects: dict[str, str], entry: Entry, head: str) -> dict[str, Any]:
    """What is in the folder, as JSON-LD."""
    run, at = objects["record"], entry.at.isoformat(timespec="seconds")
    inputs = [
        {
            "@id": f"#{kind}",
            "@type": "CreativeWork",
            "name": INPUTS[kind],
            "identifier": f"sha256:{given['sha256']}",
            "description": f"{given['path']} of {record['registry']}",
            "version": given["commit"],
        }
        for kind, given in record["inputs"].items()
        if given and kind in INPUTS
    ]
    kept = {
        name: _file(part, object_name(sha256), *OBJECTS.get(name, (name.replace("_", " "), SAFETENSORS)))
        for name, sha256 in objects.items()
    }
    others = [
        _file(part, PAGE, "The run in words and pictures", "text/html"),
        _file(part, README, "What is here, and how to check it", "text/markdown"),
        _file(part, CHECK, "Checks this folder with nothing but Python", "text/x-python"),
    ]
    results = [kept[name] for name in ("record", "edges", "unseen_edges") if name in kept]
    used = [each for name, each in kept.items() if each not in results and name not in ("validations", "envelope")]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": PROCESS},
        "name": f"Evidence of run {run[:16]}",
        "description": "Which training images caused the images that a diffusion model generated, as it was measured, with the log that shows when.",
        "datePublished": at,
        "license": {"@id": "#rights"},
        "hasPart": [_id(each) for each in (*kept.values(), *others)] + [{"@id": "log/"}],
        "mentions": {"@id": "#attribution"},
    }
    graph = [
        {"@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": CRATE_1_1}, "about": {"@id": "./"}},
        root,
        {"@id": PROCESS, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {"@id": "#rights", "@type": "CreativeWork", "name": "Rights", "description": RIGHTS},
        {
            "@id": "#attribution",
            "@type": "CreateAction",
            "name": f"Attribution of {len(record['results']['attributions'])} generated images",
            "description": record["method"],
            "identifier": run,
            "endTime": at,
            "instrument": {"@id": "#mucs"},
            "object": [_id(each) for each in (*inputs, *used)],
            "result": [_id(each) for each in results],
        },
        {
            "@id": "#mucs",
            "@type": "SoftwareApplication",
            "name": "mucs",
            "version": record.get("code", {}).get("version", __version__),
            "description": f"SHA-256 of the method's source: {record.get('code', {}).get('method_sha256', 'not recorded')}",
        },
        {
            "@id": "log/",
            "@type": "Dataset",
            "name": "The log",
            "description": f"Its entries in order; each has the SHA-256 of the one before it. Head: {head}",
        },
        *inputs,
        *kept.values(),
        *others,
    ]
    return {"@context": f"{CRATE_1_1}/context", "@graph": graph}


def _file(part: Path, name: str, about: str, kind: str) -> dict[str, Any]:
    path = part / name
    sizes = {"contentSize": str(path.stat().st_size), "sha256": file_sha256(path)}
    return {"@id": name, "@type": "File", "name": about, "encodingFormat": kind} | sizes


def _id(entity: dict[str, Any]) -> dict[str, str]:
    return {"@id": entity["@id"]}
