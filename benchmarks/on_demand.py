"""From a picture that is sent to its exact answer, on the demo's model and data.

    python benchmarks/on_demand.py                  # five pictures
    python benchmarks/on_demand.py --exact          # without screening: every training image on the full noise bank
    python benchmarks/on_demand.py --candidates 40  # those that an index names, and some of the rest

A registry on an S3 server, a Prefect server, a ledger and a warm worker are set up as an operator would. A first picture makes
sure that the model's losses are there; each other one is drawn anew, so that nothing of it is known. Seconds from the call to the
answer, and where they went by the run's log and Prefect's states; and until an index, fitted to the demo's decoys, has said what is likely
behind it. The settings are the demo's without controls and recall sample, which say nothing of an item.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.on_demand import OnDemand

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def drawn(number: int) -> bytes:
    """A generated picture of the demo, with some noise that nobody drew before."""
    import numpy as np
    from PIL import Image

    from flows.demo import DATA

    random = np.random.default_rng(number)
    pixels = np.asarray(Image.open(DATA / f"generated/{number % 13:04d}.png").convert("RGB")).astype(int)
    noisy, content = np.clip(pixels + random.integers(-8, 9, pixels.shape), 0, 255), io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def set_up(folder: Path, exact: bool, candidates: int) -> None:
    """The registry, the calibration and an index in the log, and the deployment."""
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    from flows.audit import audit
    from flows.demo import CALIBRATION, FOLDERS, SETTINGS
    from flows.index import index
    from mucs.attribution import Screening
    from tasks.calibrate import publish_calibration
    from tasks.register import register
    from tasks.s3 import client

    settings = dataclasses.replace(SETTINGS, controls=False, recall_sample=0)
    if exact or candidates:
        named = Screening(candidates=candidates) if candidates else None
        settings = dataclasses.replace(settings, screening=named)
    s3 = client()
    for bucket in {"registry", "evidence"} - {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket)
    register.fn(folder / "registry", "s3://registry/dvc", FOLDERS, "v1")
    publish_calibration.fn(CALIBRATION, "s3://evidence/log")
    given = {
        "registry": str(folder / "registry"),
        "revision": "v1",
        "log": "s3://evidence/log",
        "licences": ["CC-BY-SA-4.0"],
        "ledger": str(folder / "ledger"),
        "reports": str(folder / "reports"),
        "cache": str(folder / "cache"),
        "settings": settings.record(),
        "device": "cpu",
    }
    index(**{name: value for name, value in given.items() if name not in ("reports", "settings")}, settings=settings)
    with get_client(sync_client=True) as prefect:
        template = ProcessWorker.get_default_base_job_template()
        prefect.create_work_pool(
            WorkPoolCreate(name="audits", type="process", base_job_template=template), overwrite=True
        )
        prefect.create_deployment(
            prefect.create_flow(audit),
            "on-demand",
            entrypoint="flows.audit.audit",
            work_pool_name="audits",
            work_queue_name="on-demand",
            parameters=given,
        )


def ask(on_demand: OnDemand, number: int) -> None:
    """Send a picture, wait for its answer, and print how long each part took."""
    from mucs.images.request import Request

    request = Request(drawn(number), label=str(number % 8), seed=str(number))
    began = time.monotonic()
    on_demand.submit(request)
    parts, now, last = {"sending": time.monotonic() - began}, "waiting", time.monotonic()
    while not on_demand.provisional(request.address) and time.monotonic() - began < 60:
        time.sleep(0.02)
    provisional = time.monotonic() - began
    for change in on_demand.changes(request.address):
        step = change.step or change.state
        if step != now:
            parts[now] = parts.get(now, 0) + time.monotonic() - last
            now, last = step, time.monotonic()
    total = time.monotonic() - began
    told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    print(
        f"picture {number}: told provisionally after {provisional:.2f} s, {change.state} after {total:.1f} s ({told})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5, help="how many, besides the first")
    parser.add_argument("--exact", action="store_true", help="score every training image on the full noise bank")
    parser.add_argument("--candidates", type=int, default=0, help="how many the index names")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mucs-on-demand-")))
        os.environ["PREFECT_HOME"] = str(folder / "prefect")
        (folder / "prefect").mkdir()
        from flows.cli.jobs import quiet_loggers, quiet_tools

        quiet_tools()
        quiet_loggers()
        logging.getLogger("mucs").setLevel(logging.WARNING)
        from flows.prefect_server import prefect_server
        from tasks.serve import s3_server

        wait = stack.enter_context(prefect_server())
        stack.enter_context(s3_server(folder / "s3"))
        wait()
        set_up(folder, given.exact, given.candidates)
        with (folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen([sys.executable, "-m", "flows.cli", "worker"], stdout=log, stderr=log)
        stack.callback(worker.wait)
        stack.callback(worker.kill)
        from flows.on_demand import OnDemand

        on_demand = OnDemand(ledger=str(folder / "ledger"))
        stack.callback(on_demand.close)
        on_demand.load_index()
        for number in range(given.pictures + 1):
            ask(on_demand, number)


if __name__ == "__main__":
    main()
