"""Calibrate the demo checkpoint: 32 held-out drawings unlearned as decoys: `python data/calibrate.py`; stops and resumes."""

from __future__ import annotations

import logging
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from flows.demo import FOLDERS, SETTINGS  # noqa: E402
from tasks.calibrate import assemble_calibration, decoys, score_decoy  # noqa: E402
from tasks.device import cores  # noqa: E402
from tasks.plan import Plan  # noqa: E402
from tasks.pull import as_pulled  # noqa: E402

WORK = HERE / "calibration.work"


def plan_of_demo() -> Plan:
    """What the demo's audit will look for a calibration of."""
    folders = {name: as_pulled(folder) for name, folder in FOLDERS.items()}
    return Plan(
        registry="",
        checkpoint=folders["checkpoint"],
        training=folders["train"],
        held_out=folders["held_out"],
        batch=None,
        settings=SETTINGS,
        device="cpu",
        cache=WORK,
        work=str(WORK / "work"),
    )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = plan_of_demo()
    chosen = decoys(plan)
    with ThreadPoolExecutor(cores()) as pool:
        for decoy, outcome in zip(chosen, pool.map(lambda unit: score_decoy.fn(plan, unit), chosen), strict=True):
            print(f"{decoy.name}: {outcome}", flush=True)
    shutil.copy(assemble_calibration.fn(plan, chosen), HERE / "calibration.safetensors")


if __name__ == "__main__":
    main()
