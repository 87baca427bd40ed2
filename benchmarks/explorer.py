"""The explorer under load: a real server, asked by a real client at a steady rate.

    python benchmarks/ledger.py                                              # makes a ledger of 100 million edges
    python benchmarks/explorer.py benchmarks/work/ledger-2000-50000-500/whole/ledger
    python benchmarks/explorer.py benchmarks/work/ledger-2000-50000-500/whole/ledger --load      # and loads a run meanwhile

Prints the seconds from the start to the first page, memory then and at the most, how long each kind of page takes when it is first
asked for, and how long they take at so many requests a second, whether or not those before were answered; with `--load`, also of those
that were due while another process loaded a run of a million edges, and until the new pages were there. What is loaded goes into a
copy of the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import threading
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


async def ask(base: str, pages: list[str], rate: float) -> tuple[list[tuple[float, float, bool]], float]:
    """Ask for pages at a rate.

    Gives of each when it was due, the seconds from then to its answer, and whether it was answered; and how far the client itself fell
    behind.
    """
    found: list[tuple[float, float, bool]] = []
    late = 0.0
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=base, timeout=30, limits=limits) as client:

        async def one(page: str, due: float) -> None:
            try:
                answered = (await client.get(page)).status_code == 200
            except httpx.HTTPError:
                answered = False
            found.append((due, time.monotonic() - due, answered))

        began, tasks = time.monotonic(), []
        for number, page in enumerate(pages):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            tasks.append(asyncio.create_task(one(page, due)))
        await asyncio.gather(*tasks)
    return found, late


def shown(found: list[tuple[float, float, bool]]) -> str:
    taken = sorted(seconds for _, seconds, _ in found)
    figures = ", ".join(f"p{p} {1000 * taken[int(len(taken) * p / 100)]:.0f} ms" for p in (50, 95, 99))
    return f"{figures}; {sum(not answered for *_, answered in found)} of {len(found)} failed"


def copied(ledger: Path) -> Path:
    """A copy of a ledger and its log: links to their files, none of which is ever written over, but for the catalogue."""
    folder = HERE / "work" / "explorer"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-rl", ledger.parent, folder], check=True)
    copy = folder / ledger.name
    for path in ledger.glob("catalogue.*"):
        (copy / path.name).unlink()
        shutil.copy(path, copy / path.name)
    return copy


def load(ledger: Path) -> None:
    """Load a run of a million edges."""
    sys.path.insert(0, str(HERE.parent))
    from ledger import Ledger, World, build_run, log_of, say_run

    world = World(4 * 20, 50_000, 500)
    world.folder.mkdir(parents=True, exist_ok=True)
    build_run(world, 0)
    print("built", flush=True)
    sys.stdin.readline()
    with Ledger.write(ledger, log_of(ledger)) as opened:
        assert say_run(opened, world.run(0))


def under_load(base: str, ledger: Path, pages: list[str], rate: float) -> str:
    """What `ask` finds while a run is loaded, and until the server has it."""
    command = [sys.executable, __file__, str(ledger), "--loading"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loading:
        assert loading.stdin
        assert loading.stdout
        loading.stdout.readline()
        until: list[float] = []

        def watch() -> None:
            with httpx.Client(base_url=base, timeout=30) as client:
                before = client.get("/runs.json").json()["log"]["position"]
                print("x", file=loading.stdin, flush=True)
                loading.wait()
                loaded = time.monotonic()
                while client.get("/runs.json").json()["log"]["position"] == before:
                    time.sleep(0.2)
                until.extend((loaded, time.monotonic()))

        began = time.monotonic()
        watching = threading.Thread(target=watch)
        watching.start()
        found, _ = asyncio.run(ask(base, pages, rate))
        watching.join()
    seconds = f"{until[0] - began:.1f} s, and its pages were there after {until[1] - began:.1f} s"
    return f"While a million edges were loaded, which took {seconds}: {shown([each for each in found if each[0] < until[1]])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--load", action="store_true", help="load a run of a million edges meanwhile, into a copy")
    parser.add_argument("--loading", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loading:
        return load(given.ledger)
    ledger = copied(given.ledger) if given.load else given.ledger
    command = [sys.executable, "-m", "flows.cli", "explore", "--ledger", str(ledger), "--port", "0"]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=HERE.parent) as server:
        try:
            assert server.stderr
            said = SERVED.search(server.stderr.readline())
            assert said
            with httpx.Client(base_url=said[1], timeout=60) as client:
                client.get("/").raise_for_status()
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
            found, late = asyncio.run(ask(said[1], pages, given.rate))
            each = 1000 * (cpu_seconds(server.pid) - before) / len(found)
            print(f"\n{given.rate:g} requests a second for {given.seconds:g} s: {shown(found)}")
            print(
                f"the client fell behind by {1000 * late:.0f} ms at the most; the server took {each:.0f} ms of CPU a request"
            )
            if given.load:
                drawn.shuffle(pages)
                print(under_load(said[1], ledger, pages, given.rate))
            print(f"the server held {memory(server.pid)[1]} MB at the most")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
