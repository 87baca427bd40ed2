"""The explorer under load: a real server, asked by a real client at a steady rate.

    python benchmarks/ledger.py                                              # makes a ledger of 100 million edges
    python benchmarks/explorer.py benchmarks/work/ledger-2000-50000-500/whole/ledger

Prints the seconds from the start to the first page, memory then and at the most, how long each kind of page takes when it is first
asked for, and how long they take at so many requests a second, whether or not those before were answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import httpx

HERE = Path(__file__).parent
SERVED = re.compile(r"Serving .* at (http://\S+) until")
LISTS = {"generated": ("items", "generated"), "holders": ("holders", "rights_holder"), "runs": ("runs", "run")}
OTHERS = ("/", "/generated", "/training", "/holders", "/runs", "/statements", "/questions", "/sql", "/glossary")


def memory(pid: int) -> tuple[int, int]:
    """MB that a process holds, and held at the most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return found["VmRSS"], found["VmHWM"]


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def names(client: httpx.Client) -> dict[str, list[str]]:
    """Names of things that have pages, by the first word of their addresses."""
    found = {}
    for kind, (view, column) in LISTS.items():
        rows = client.get(f"/{kind}.json").json()["views"][view]["rows"]
        found[kind] = [str(row[column]) for row in rows]
    return found


async def load(base: str, pages: list[str], rate: float, seconds: float) -> tuple[list[float], int, float]:
    """Ask for pages at a rate; gives the seconds that each took, how many were no answer, and how far the client itself fell behind."""
    taken: list[float] = []
    failed, late = 0, 0.0
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)

    async with httpx.AsyncClient(base_url=base, timeout=30, limits=limits) as client:

        async def ask(page: str, due: float) -> None:
            nonlocal failed
            try:
                answer = await client.get(page)
                failed += answer.status_code != 200
            except httpx.HTTPError:
                failed += 1
            taken.append(time.monotonic() - due)

        began, tasks = time.monotonic(), []
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            tasks.append(asyncio.create_task(ask(pages[number], due)))
        await asyncio.gather(*tasks)
    return taken, failed, late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    command = [sys.executable, "-m", "flows.cli", "explore", "--ledger", str(given.ledger), "--port", "0"]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=HERE.parent) as server:
        try:
            assert server.stderr
            said = SERVED.search(server.stderr.readline())
            assert said
            with httpx.Client(base_url=said[1], timeout=60) as client:
                client.get("/glossary").raise_for_status()
                print(f"start to first page: {time.monotonic() - began:.1f} s, {memory(server.pid)[0]} MB")
                known = names(client)
                print("\n| page, first asked | s |\n|---|---|")
                for page in [*OTHERS, *(f"/{kind}/{quote(each[0], safe='')}" for kind, each in known.items())]:
                    asked = time.monotonic()
                    client.get(page).raise_for_status()
                    print(f"| {page[:60]} | {time.monotonic() - asked:.2f} |")
            drawn = random.Random(0)
            kinds = list(known)
            pages = []
            for _ in range(int(given.rate * given.seconds)):
                kind = drawn.choice(kinds)
                pages.append(f"/{kind}/{quote(drawn.choice(known[kind]), safe='')}")
            before = cpu_seconds(server.pid)
            taken, failed, late = asyncio.run(load(said[1], pages, given.rate, given.seconds))
            each = 1000 * (cpu_seconds(server.pid) - before) / len(taken)
            taken.sort()
            shown = ", ".join(f"p{p} {1000 * taken[int(len(taken) * p / 100)]:.0f} ms" for p in (50, 95, 99))
            print(
                f"\n{given.rate:g} requests a second for {given.seconds:g} s: {shown}; {failed} of {len(taken)} failed"
            )
            print(
                f"the client fell behind by {1000 * late:.0f} ms at the most; the server took {each:.0f} ms of CPU a request, and held"
                f" {memory(server.pid)[1]} MB at the most"
            )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
