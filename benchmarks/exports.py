"""Seconds and memory of each export, by its command, on a ledger of a million edges.

    python benchmarks/ledger.py --generated 200 --training 5000 --only load       # makes the ledger
    python benchmarks/exports.py benchmarks/work/ledger-200-5000-500/whole/ledger

Each command is a process of its own, imports and all. `c2pa` needs an image that the ledger knows, and that one has none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from mucs.ledger import Ledger  # noqa: E402

DAY = "2026-11-30"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path)
    given = parser.parse_args()
    with Ledger.open(given.ledger) as ledger:
        run, edges = ledger.rows(
            "SELECT sha256 AS run, (SELECT count(*) FROM edges) AS edges FROM runs ORDER BY run_id DESC LIMIT 1"
        )[0].values()
    print(f"{edges:,} edges\n\n| export | seconds | MB at the most | bytes written |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name, *words in (
            ("eu-summary", "--day", DAY, "--output", out / "eu.md"),
            ("ab2013", "--day", DAY, "--output", out / "ab.md"),
            ("croissant", "--day", DAY, "--output", out / "croissant.json"),
            ("spdx", "--day", DAY, "--output", out / "spdx.json"),
            ("openlineage", run, "--output", out / "event.json"),
            ("rocrate", run, "--output", out / "crate"),
        ):
            before = size(out)
            begun = time.monotonic()
            command = [
                sys.executable,
                "-m",
                "flows.cli",
                "export",
                name,
                *map(str, words),
                "--ledger",
                str(given.ledger),
            ]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            assert status == 0, name
            print(
                f"| {name} | {time.monotonic() - begun:.1f} | {used.ru_maxrss / 1000:.0f} | {size(out) - before:,} |",
                flush=True,
            )


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
