"""Build the 32×32 checkpoint that the benchmarks measure, beside the demo's: `python benchmarks/checkpoint32.py`.

Stops and resumes at any step; about an hour on 2 cores, and nothing at all if it is there already.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

DATA = Path(__file__).parents[1] / "data"
OUT = Path(__file__).parent / "checkpoint32"

sys.path.insert(0, str(DATA))

PARAMS = {
    "seed": 0,
    "steps": 800,
    "batch_size": 32,
    "learning_rate": 0.001,
    "warmup_steps": 100,
    "cooldown": 0.25,
    "ema_decay": 0.995,
    "block_out_channels": [32, 64, 128],
    "prediction_type": "v_prediction",
}


def main() -> None:
    from render import render
    from train import load, train

    if (OUT / "checkpoint").is_dir():
        return
    drawings = yaml.safe_load((DATA / "params.yaml").read_text())["render"]
    render({**drawings, "size": 32, "per_group": 30}, OUT / "openmoji")
    train(*load(OUT / "openmoji" / "train"), len(drawings["groups"]), PARAMS, OUT)


if __name__ == "__main__":
    main()
