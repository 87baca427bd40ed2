"""Demo: an audit of the OpenMoji model that comes with the project, on an S3 server of its own, and a statement for its artists."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from flows.audit import Audit, audit
from flows.prefect_server import prefect_server
from mucs import InputError
from mucs.attribution import Screening, Settings, Unlearning
from mucs.royalties.export import Issued, state
from tasks.calibrate import publish_calibration
from tasks.ledgers import writing
from tasks.register import register
from tasks.s3 import client
from tasks.serve import s3_server

log_of_demo = logging.getLogger("mucs.demo")

DATA = Path(__file__).parents[1] / "data"
FOLDERS = {
    "checkpoint": DATA / "checkpoint",
    "train": DATA / "openmoji" / "train",
    "held_out": DATA / "openmoji" / "held_out",
    "generated": DATA / "generated",
}
# Chosen to end within minutes on 2 cores: three tenths of the training rate and small batches, where the paper takes a tenth
# and large ones; fewer noises; screened. In batches of 8 the paper's stop rule ends by luck, so the probe decides, at the level
# from which on an item counts as converged.
SETTINGS = Settings(
    num_noises=16,
    controls=True,
    recall_sample=1,
    unlearning=Unlearning(learning_rate=3e-4, batch_size=8, max_steps=250, stop="probe", tolerance=0.1),
    screening=Screening(((1, 0.2), (4, 0.08), (8, 0.05))),
)
BUCKET, LEDGER, LOG = "registry", "ledger", "log"
CALIBRATION = DATA / "calibration.safetensors"  # made with SETTINGS, which takes longer than the demo


def demo(folder: Path) -> Audit:
    """Set up a registry on an embedded S3 in `folder`, unless it is there, and audit the batch that comes with the project.

    Raises:
        InputError: If the project's data are not there.
    """
    missing = [str(path) for path in FOLDERS.values() if not path.is_dir()]
    if missing:
        raise InputError(
            f"{missing[0]} is missing; run the demo from a clone of the project, or build it with `dvc repro`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    log_of_demo.info("serve     an S3 server on loopback")
    # Prefect's server needs as long to come up as all that is done here before the flow begins
    with prefect_server() as wait_for_prefect, s3_server(folder / "s3"):
        s3 = client()
        if BUCKET not in {b["Name"] for b in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=BUCKET)
        registry = folder / "registry"
        log_of_demo.info("register  checkpoint and data, pushed with DVC to s3://registry")
        register.fn(registry, "s3://registry/dvc", FOLDERS, "v1")
        if CALIBRATION.exists():  # under its own address: an audit of anything else does not find it
            publish_calibration.fn(CALIBRATION, str(folder / LOG))
        wait_for_prefect()
        return audit(
            registry=str(registry),
            revision="v1",
            log=str(folder / LOG),
            licences=["CC-BY-SA-4.0"],
            ledger=str(folder / LEDGER),
            reports=folder / "reports",
            cache=folder / "cache",
            settings=SETTINGS,
            device="cpu",
        )


def sample_statement(folder: Path) -> Issued:
    """What the sample contract owes the artists for a month's invented usage, stated once from the demo's ledger."""
    opened = partial(writing, folder / LEDGER)
    done = state(DATA / "contract.yaml", "2026-10", DATA / "usage.csv", opened, folder / "statements")
    told = "" if done.statement.new else ", as it was issued before"
    log_of_demo.info(
        "royalties %d accounts in statement %s%s", len(done.statement.content["balances"]), done.statement.title, told
    )
    return done
