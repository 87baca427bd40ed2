"""Calibrate the demo checkpoint: 32 held-out drawings unlearned as decoys: `python data/calibrate.py`; stops and resumes."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from train import load  # noqa: E402

from flows.demo import SETTINGS  # noqa: E402
from mucs.attribution import DiffusionModel, Items, LossStore, NoiseBank, calibrate  # noqa: E402
from mucs.files import replacing  # noqa: E402

WORK = HERE / "calibration.work"


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = DiffusionModel.from_pretrained(HERE / "checkpoint")
    images, held_out = (
        Items(pixels, {"class_labels": labels})
        for pixels, labels in (load(HERE / "openmoji" / split) for split in ("train", "held_out"))
    )
    bank = NoiseBank.draw(model, SETTINGS.num_noises, SETTINGS.fraction, SETTINGS.seed)
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # one decoy a core
    with ThreadPoolExecutor(cores) as pool:
        made = calibrate(
            model,
            images,
            held_out,
            bank.prefix(SETTINGS.calibration_noises),
            SETTINGS.unlearning,
            SETTINGS.decoys,
            scoring=SETTINGS.scoring,
            seed=SETTINGS.seed,
            store=LossStore(WORK),
            executor=pool,
        )
    with replacing(HERE / "calibration.safetensors") as partial:
        partial.write_bytes(made.to_bytes())
    print(f"{made.null_scores.shape[1]} decoys, {made.null_scores.shape[0]} items, {made.entries} noises")


if __name__ == "__main__":
    main()
