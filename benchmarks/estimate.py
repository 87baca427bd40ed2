"""How near an estimate comes to what the audit then takes: `python benchmarks/estimate.py --items 4`.

The demo's checkpoint, data and settings, with the first of its generated items and the controls. Both are in CPU seconds
of the process, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import csv
import resource
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import flows.estimate
import mucs.attribution.estimate
from flows.audit import audit
from flows.demo import BUCKET, FOLDERS, SETTINGS
from flows.estimate import START_SECONDS, estimate_audit, known_steps
from flows.inputs import Job
from flows.prefect_server import prefect_server
from mucs.canonical import digest
from tasks.register import register
from tasks.s3 import client
from tasks.serve import s3_server


def first_of_batch(folder: Path, items: int) -> Path:
    """A copy of the demo's generated batch that has so many items."""
    batch, copied = FOLDERS["generated"], folder / "generated"
    copied.mkdir()
    with (batch / "metadata.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))[:items]
    with (copied / "metadata.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        shutil.copy(batch / row["file_name"], copied)
    return copied


def cpu_seconds() -> float:
    """Of this process and all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=16)
    asked = parser.parse_args()
    clock = SimpleNamespace(perf_counter=time.thread_time)
    flows.estimate.time = mucs.attribution.estimate.time = clock  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as made, prefect_server() as wait_for_prefect, s3_server(Path(made) / "s3"):
        folder = Path(made)
        client().create_bucket(Bucket=BUCKET)
        given = FOLDERS | {"generated": first_of_batch(folder, asked.items)}
        register.fn(folder / "registry", "s3://registry/dvc", given, "v1")
        wait_for_prefect()
        inputs = {"registry": str(folder / "registry"), "revision": "v1", "log": str(folder / "log")}
        how = {"licences": ["CC-BY-SA-4.0"], "settings": SETTINGS, "device": "cpu", "cache": folder / "cache"}
        names = {"checkpoint": "checkpoint", "training_set": "train", "held_out": "held_out"}
        ledger = str(folder / "ledger")
        job = Job.given(inputs | how | names | {"engine": flows.inputs.Engine(), "work": None})
        found = estimate_audit(job, "generated", ledger)
        began = cpu_seconds()
        audit(**inputs, **how, ledger=ledger, reports=folder / "reports")
        took, steps = cpu_seconds() - began, known_steps(ledger, digest(SETTINGS.record()))
        again = estimate_audit(job, "generated", str(folder / "none"))
    print(f"taken: {took:.0f} CPU seconds, {steps:.0f} steps an item")
    for name, each in (("before", found), ("after", again)):
        for steps_from, seconds in (
            (f"{each.steps:.0f} steps, {each.steps_from}", each.seconds),
            ("cap", each.seconds_at_cap),
        ):
            cpu = START_SECONDS + (seconds - START_SECONDS) * each.workers  # nothing is side by side in the start
            print(f"estimated {name}, {steps_from}: {cpu:.0f} CPU seconds, {cpu / took - 1:+.0%}")


if __name__ == "__main__":
    main()
