"""Runs without a model: made-up attributions, staged as an audit stages them."""

import dataclasses
import hashlib
import io
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from mucs.attribution import Attribution
from mucs.attribution.ranking import Ranking
from mucs.canonical import canonical, digest
from mucs.evidence.log import Log
from mucs.evidence.record import Attributed, Failed, run_record, stage_items
from mucs.evidence.store import Folder
from mucs.files import file_sha256
from mucs.images.request import Request
from mucs.images.rows import canonical_rows, rows_and_holders
from mucs.images.thumbnail import PARQUET, SCHEMA
from mucs.ledger import Ledger, Run, Said, say_run
from mucs.ledger.verify import verify

CPU = {"type": "cpu", "name": "a processor", "torch": "2.13.0"}


def item_row(prefix: str, number: int, **more: str) -> dict[str, str]:
    """A manifest row of an item, such as t7."""
    name = f"{prefix}{number}"
    return {"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "file_name": f"{name}.png", **more}


def training_row(number: int) -> dict[str, str]:
    """A training item of one of three rights holders."""
    holder = ["Ada", "Ben", "Cleo"][number % 3]
    return item_row("t", number, rights_holder=holder, licence="CC0", date="2024-01-01", annotation=f"drawing {number}")


def training_ends(rows: list[dict[str, str]]) -> pa.Table:
    """What edges say of training items."""
    columns = {name: [row[name] for row in rows] for name in ("id", "sha256")}
    return pa.table({"row_sha256": [row_digest(row) for row in rows], **columns})


def row_digest(row: dict[str, str]) -> str:
    """The SHA-256 of a training item's row, which does not cover its rights holder."""
    return digest({name: value for name, value in row.items() if name != "rights_holder"})


def attribution(training: int, edges: int, seed: int = 0, **changed: object) -> Attribution:
    """One that was not screened for so many of the training items, with random numbers."""
    random = torch.Generator().manual_seed(seed)
    unknown = torch.full((edges,), float("nan"))
    made = Attribution(
        items=torch.randperm(training, generator=random)[:edges],
        scores=(torch.rand(edges, generator=random) * 1.8 - 0.9).sort(descending=True).values,
        standard_errors=torch.rand(edges, generator=random) / 10,
        seed_spread=unknown,
        prefix_scores=unknown,
        p_values=(torch.randint(1, 21, (edges,), generator=random) / 20).double(),
        decoy_p_values=unknown.double(),
        decoy_z=unknown,
        held_out_scores=torch.zeros(0),
        prefix=0,
        survivors=(edges,),
        recall=None,
        missed=None,
        held_out_ks=float("nan"),
        tie_p_value=None,
        steps=20 + seed,
        converged=True,
        null_loss=1.0,
        forget_loss=0.96,
        retain_loss=0.1,
        probe_before=0.2,
        probe_after=0.9,
    )
    return dataclasses.replace(made, **changed)


def unseen_ranking(held_out: int, seed: int = 0) -> Ranking:
    """What `attribution` makes up, of so many held-out items."""
    made = attribution(held_out, held_out, seed + 1000)
    return Ranking(**{each.name: getattr(made, each.name) for each in dataclasses.fields(Ranking)})


def staged_run(
    folder: Path,
    generated: int = 3,
    training: int = 6,
    edges: int = 4,
    failed: int = 0,
    ids: tuple[str, ...] = (),
    holders: tuple[str, ...] = (),
    others: Sequence[dict[str, str]] = (),
    sent: tuple[Request, ...] = (),
    held_out: int = 0,
    **changed,
) -> Run:
    """A run of so many items g0, g1, …, and then so many that failed.

    ids, holders: of the first items of either kind, and of the first training items, in place of the usual ones.
    others: columns of the first items of either kind, with their values.
    sent: what the generated items were asked by, if they were sent.
    held_out: how many held-out items were scored as well.
    changed: arguments of `run_record`.
    """
    rows = [training_row(k) for k in range(training)]
    made = [request.row for request in sent] or [item_row("g", k, seed=str(k)) for k in range(generated + failed)]
    for each in (rows, made):
        each[: len(ids)] = [row | {"id": name} for row, name in zip(each, ids, strict=False)]
        each[: len(others)] = [row | more for row, more in zip(each, others, strict=False)]
    rows[: len(holders)] = [row | {"rights_holder": name} for row, name in zip(rows, holders, strict=False)]
    path, bank = folder / "edges.parquet", folder / "noise_bank.safetensors"
    bank.write_bytes(b"noise")
    others = [item_row("h", k, rights_holder="Hal") for k in range(held_out)]
    unseen = folder / "unseen_edges.parquet" if held_out else None
    rankings = [unseen_ranking(held_out, k) if held_out else None for k in range(generated)]
    found = [attribution(training, edges, k, unseen=each) for k, each in enumerate(rankings)]
    attributions = stage_items(
        (Attributed(row, each, CPU) for row, each in zip(made[:generated], found, strict=True)),
        *(training_ends(rows), path, training_ends(others) if held_out else None, unseen),
    )
    kinds = ("checkpoint", "training_set", "held_out", "batch")
    given = {
        "code": {"version": "0", "method_sha256": "0" * 64},
        "trained": {"names": ["weight"], "count": 8},
        "nondeterministic": [],
        "registry": "registry",
        "inputs": {kind: {"path": kind, "commit": "c" * 40, "sha256": f"{kind:f<64}"} for kind in kinds},
        "calibration": None,
        "noise_bank": file_sha256(bank),
        "settings": {"num_noises": 100, "score": "skew", "screening": []},
        "generated": made[:generated],
        "failed": [Failed(row, "The GPU ran out of memory three times.") for row in made[generated:]],
        "edges": path,
        "unseen": unseen,
        "attributions": attributions,
        "controls": None,
        "validations": [],
        "replaces": [],
    }
    record = run_record(**given | changed)
    files = {"noise_bank": record["noise_bank"], "edges": record["results"]["edges_sha256"]}
    files |= {"unseen_edges": record["results"]["unseen_edges_sha256"]} if held_out else {}
    files |= {kind: each["sha256"] for kind, each in record["inputs"].items()}
    artifacts = [{"kind": kind, "sha256": sha256, "files": 1, "bytes": 2} for kind, sha256 in files.items()]
    items, of_items = (
        rows_and_holders(pa.Table.from_pylist(rows)),
        canonical_rows(pa.Table.from_pylist(made[:generated])),
    )
    images = [row["sha256"] for row in (*rows, *made[:generated])]
    pictures = thumbnails_file(folder / "thumbnails.parquet", images)
    return Run(record, artifacts, items, of_items, path, [], bank, unseen, thumbnails=[pictures])


def thumbnails_file(path: Path, images: Iterable[str]) -> Path:
    """A file of thumbnails, each of one pixel, of images by their SHA-256."""
    rows = []
    for number, image in enumerate(sorted(images)):
        body = io.BytesIO()
        Image.new("RGB", (1, 1), (number % 256, 0, 0)).save(body, "WEBP", lossless=True)
        rows.append({"image_sha256": image, "webp": body.getvalue()})
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, **PARQUET)
    return path


def free_port() -> int:
    """A port that nobody serves at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def log_of(ledger: Path) -> Log:
    """The log of a ledger of the tests, which lies beside it."""
    return Log(Folder(Path(ledger).with_name("log")))


def writing(ledger: Path) -> Ledger:
    """A ledger of the tests, up to its log, to be written."""
    opened = Ledger.write(ledger, log_of(ledger))
    opened.sync()
    return opened


def load(ledger: Path, run: Run) -> bool:
    """Say a run to a ledger's log, and apply it there."""
    with writing(ledger) as opened:
        return say_run(opened, run)


def estimate(ledger: Path, row: dict[str, str], edges: int = 3, pictures: int = 8) -> list[dict[str, Any]]:
    """Have an index told to a ledger's log, and what it said of a picture with a manifest row; gives the edges that it said."""
    said = [
        {
            "rank": k + 1,
            "row_sha256": row_digest(training_row(k)),
            "training": f"t{k}",
            "sha256": training_row(k)["sha256"],
            "likeness": 0.9 - k / 10,
            **(
                {"predicted": 0.5 - k / 10, "low": 0.2 - k / 10, "high": 0.7 - k / 10, "among_best": 0.75}
                if pictures
                else NOTHING
            ),
        }
        for k in range(edges)
    ]
    index, body = b"index of %d" % pictures, canonical(said)
    of = {"checkpoint": "1" * 64, "training_set": "2" * 64, "settings": "3" * 64, "method_sha256": "4" * 64}
    fitted = {
        "index": hashlib.sha256(index).hexdigest(),
        "of": of,
        "pictures": pictures,
        "spearman": 0.625 if pictures else None,
    }
    asked = {"id": row["id"], "row_sha256": digest(row), "sha256": row["sha256"]}
    told = {"index": fitted["index"], "generated": asked, "edges": hashlib.sha256(body).hexdigest()}
    with writing(ledger) as opened:
        opened.say(lambda _: Said("index", fitted, [index]))
        opened.say(lambda _: Said("provisional", told, [body]))
    return said


NOTHING = dict.fromkeys(("predicted", "low", "high", "among_best"))  # of an index that goes by likeness


def fault(ledger: Path, head: str | None = None) -> str | None:
    """What verification finds."""
    with Ledger.open(ledger) as opened:
        return verify(opened, log_of(ledger), head).fault
