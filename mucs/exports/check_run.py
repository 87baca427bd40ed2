"""Check this folder: python check_run.py [HEAD]. It needs nothing but Python 3.11.

HEAD is the head of the log that you trust, as it was published, stamped or sent to you.
"""

import functools
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
CRATE = "ro-crate-metadata.json"


@functools.cache  # an object is held to what describes it, and to its entry
def sha256(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hold(is_so: object, wrong: str) -> None:
    """End with what is wrong, unless it is so."""
    if not is_so:
        sys.exit(f"This does not hold: {wrong}.")


def check() -> None:
    """Hold every file to what says so."""
    described = json.loads((HERE / CRATE).read_bytes())["@graph"]
    for entity in described:
        if "sha256" in entity:
            path = HERE / entity["@id"]
            hold(path.is_file(), f"{entity['@id']} is missing")
            hold(sha256(path) == entity["sha256"], f"{entity['@id']} was altered")

    previous, heads, run_entry = "0" * 64, [], {}
    run = next(entity["identifier"] for entity in described if entity["@id"] == "#attribution")
    for number, path in enumerate(sorted((HERE / "log").glob("*.json")), start=1):
        entry = json.loads(path.read_bytes())
        hold(path.name == f"{number:012d}.json" and entry["position"] == number, f"entry {number} is missing")
        hold(entry["previous"] == previous, f"entry {number} does not follow the one before it")
        if entry["kind"] == "run" and entry["body"]["run"] == run:
            run_entry = entry
        previous = sha256(path)
        heads.append(previous)
    hold(run_entry, f"no entry of the log is about run {run}")

    objects = {"record": run, **run_entry["body"]["objects"]}
    for name, named in objects.items():
        place = HERE / "objects" / named
        hold(place.is_file(), f"the object {name}, {named}, is missing")
        hold(sha256(place) == named, f"the object {name}, {named}, was altered")
    record = json.loads((HERE / "objects" / run).read_bytes())
    hold(record["results"]["edges_sha256"] == objects["edges"], "the edges are not those of the record")
    hold(record["noise_bank"] == objects["noise_bank"], "the noise bank is not that of the record")
    if len(sys.argv) > 1:
        hold(sys.argv[1] in heads, "the head that you trust is not one of this log")
    print(f"Run {run}, entry {run_entry['position']} of a log of {len(heads)}, recorded {run_entry['at']}.")
    print(f"{len(heads)} entries follow each other, and {len(objects)} objects are as they say. Head: {previous}")
    print(
        "The head that you trust is among them." if len(sys.argv) > 1 else "Compare the head with one that you trust."
    )


if __name__ == "__main__":
    check()
