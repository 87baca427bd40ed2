"""Demo: an audit of the OpenMoji model that comes with the project, on an S3 server of its own."""

from __future__ import annotations

import logging
from pathlib import Path

from flows.audit import Audit, audit
from mucs import InputError
from tasks.attribute import Settings
from tasks.register import register
from tasks.s3 import client
from tasks.serve import s3_server

log = logging.getLogger("mucs.demo")

DATA = Path(__file__).parents[1] / "data"
FOLDERS = {
    "checkpoint": DATA / "checkpoint",
    "train": DATA / "openmoji" / "train",
    "held_out": DATA / "openmoji" / "held_out",
    "generated": DATA / "generated",
}
BUCKETS = ("registry", "evidence")
SETTINGS = Settings(
    num_noises=32,
    screening=((1, 0.3), (4, 0.12), (12, 0.06)),
    learning_rate=1e-4,
    unlearning_batch_size=16,
    max_steps=150,
)


def demo(folder: Path) -> Audit:
    """Set up a registry on an embedded S3 in `folder`, unless it is there, and audit the batch that comes with the project.

    Raises InputError if the project's data are not there.
    """
    missing = [str(path) for path in FOLDERS.values() if not path.is_dir()]
    if missing:
        raise InputError(
            f"{missing[0]} is missing; run the demo from a clone of the project, or build it with `dvc repro`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    log.info("serve     an S3 server on loopback")
    with s3_server(folder / "s3"):
        s3 = client()
        for bucket in BUCKETS:
            if bucket not in {b["Name"] for b in s3.list_buckets()["Buckets"]}:
                s3.create_bucket(Bucket=bucket)
        registry = folder / "registry"
        log.info("register  checkpoint and data, pushed with DVC to s3://registry")
        register.fn(registry, "s3://registry/dvc", FOLDERS, "v1")
        return audit(
            registry=str(registry),
            revision="v1",
            results="s3://evidence/runs",
            licences=["CC-BY-SA-4.0"],
            ledger=folder / "ledger.duckdb",
            reports=folder / "reports",
            cache=folder / "cache",
            settings=SETTINGS,
            device="cpu",
        )
