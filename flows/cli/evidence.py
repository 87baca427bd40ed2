"""Commands about evidence: to prove, sign, check, and compute again."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from flows.cli.jobs import quiet_loggers, quiet_tools
from flows.cli.shared import JSON, LEDGER, LOG, OUTBOX, PLACE, Whole, print_json, reading
from mucs import InputError
from mucs.files import read_at_most
from mucs.parse import load_json

MOST_BYTES = 100_000_000  # of a proof or an envelope


@click.command()
@click.argument("generated")
@click.argument("training")
@click.option(
    "--output",
    type=PLACE,
    default=Path("proof.json"),
    show_default=True,
    help="The proof's file.",
)
@LEDGER
def prove(generated: str, training: str, output: Path, ledger: str) -> None:
    """Write a proof that this training item is behind this generated one, to show without the rest of the run."""
    from mucs.files import replacing
    from mucs.ledger import prove as make

    with reading(ledger) as opened:
        proof = make(opened, generated, training)
    try:
        with replacing(output) as partial:
            partial.write_text(json.dumps(proof, indent=1, ensure_ascii=False) + "\n")
    except OSError:
        raise InputError(f"{output} cannot be written; give another --output.") from None
    click.echo(
        f"{output} proves rank {proof['edge']['rank']} to whoever knows the root of run {proof['run'][:16]}:"
        f" mucs verify --proof {output} --root {proof['root']}"
    )


def verify_proof(path: Path, root: str, as_json: bool) -> None:
    """Check a proof against a root; exit status 1 if it does not hold."""
    from mucs.evidence import holds

    try:
        proof = load_json(read_at_most(path, MOST_BYTES))
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read as JSON; give a file that `mucs prove` wrote.") from None
    held = holds(proof, root)
    if as_json:
        print_json({"holds": held, "generated": proof["generated"], "training": proof["training"], **proof["edge"]})
    elif held:
        ends, edge = (proof["generated"], proof["training"]), proof["edge"]
        made, cause = (f"{row.get('id')} (image {str(row.get('sha256'))[:16]})" for row in ends)
        click.echo(
            f"It holds: {cause} stands at rank {edge['rank']} behind {made}, with a score of {edge['score']:.4f}."
        )
    else:
        click.echo(f"It does not hold: the edge in {path} is not among those that the root commits to.")
    if not held:
        sys.exit(1)


def verify_envelope(path: Path, key: Path, as_json: bool) -> None:
    """Check a signed statement, and the files that it is about where they lie beside it; exit status 1 if one is another."""
    from mucs.evidence.signing import open_envelope, subjects_beside

    try:
        envelope = load_json(read_at_most(path, MOST_BYTES))
    except (OSError, ValueError):
        envelope = None
    if not isinstance(envelope, dict):
        raise InputError(f"{path} cannot be read as JSON; give a file that was written with --sign.")
    said = open_envelope(envelope, key)
    beside = subjects_beside(said, path.parent) if said else {}
    held = said is not None and False not in beside.values()
    if as_json:
        print_json({"holds": held, "files": beside, "statement": said})
    elif said is None:
        click.echo(f"It does not hold: {path} was not signed with {key}, or was changed since.")
    else:
        words = {True: "is the one that was signed", False: "is ANOTHER", None: "is not beside it, and was not checked"}
        click.echo(f"{'It holds' if held else 'It does not hold'}: {said['predicateType']}, signed with {key}.")
        for name, same in beside.items():
            click.echo(f"  {name} {words[same]}")
    if not held:
        sys.exit(1)


@click.command()
@LEDGER
@LOG
@click.option(
    "--head",
    metavar="HEAD",
    help="A head that you remember, or the file of a signed one, which must still be in the log.",
)
@click.option("--timestamp", type=PLACE, help="A time stamp, which must be of an entry that is still in the log.")
@click.option("--authority", type=PLACE, help="With --timestamp: the root certificate of who stamped, in PEM.")
@click.option("--inputs", is_flag=True, help="Pull what the runs took as input from their registries as well.")
@click.option(
    "--registry", help="With --inputs: where the registry is now, if it is no longer where the runs' records say."
)
@click.option("--proof", type=PLACE, help="Check this file, without a log.")
@click.option("--root", help="The Merkle root that the run published, as results.edges_root of its record.")
@click.option("--envelope", type=PLACE, help="Check this signed statement, and the files beside it, alone.")
@click.option("--key", type=PLACE, help="The public key: of --envelope or of a signed --head; alone, of every run.")
@OUTBOX
@JSON
def verify(
    ledger: str,
    log: str | None,
    head: str | None,
    timestamp: Path | None,
    authority: Path | None,
    inputs: bool,
    registry: str | None,
    proof: Path | None,
    root: str | None,
    envelope: Path | None,
    key: Path | None,
    outbox: Path | None,
    as_json: bool,
) -> None:
    """Hold the log to itself, and the ledger to the log; exit status 1 at the first thing that does not hold.

    With --log and no ledger, the log alone. Or check a proof (--proof and --root) or a signed statement (--envelope and --key), which
    need neither.
    """
    if (proof is None) != (root is None):
        raise InputError("A proof is checked against a published root; give both --proof and --root.")
    if envelope is not None and key is None:
        raise InputError("A signature is checked with a public key; give --key.")
    if registry is not None and not inputs:
        raise InputError("--registry says where inputs are read from; give it with --inputs.")
    if (timestamp is None) != (authority is None):
        raise InputError(
            "A time stamp is checked with its authority's certificate; give both --timestamp and --authority."
        )
    if [envelope, proof, (True if inputs or timestamp else head)].count(None) < 2:
        raise InputError("A proof, a signed statement and a log are checked one at a time; give one of them.")
    if proof is not None and root is not None:
        return verify_proof(proof, root, as_json)
    if envelope is not None and key is not None:
        return verify_envelope(envelope, key, as_json)
    quiet_tools()
    from mucs.evidence.signing import read_head
    from mucs.evidence.timestamp import read_stamp, stamp_fault, stamped_entry
    from mucs.ledger.lake import Lake
    from mucs.ledger.verify import Verified
    from mucs.outbox import Outbox
    from tasks.ledgers import followed_by_any, open_log
    from tasks.verify import tell, verified

    remembered = None if head is None else read_head(head, key)
    of_runs = None if remembered != head else key  # a signed head says who must have signed it, not who signed runs
    stamp = read_stamp(timestamp) if timestamp else None
    unsigned = stamp_fault(stamp, authority) if stamp and authority else None
    stamped = None
    alone = log is not None and not Lake.at(ledger).exists()
    held_to = open_log(log or followed_by_any(ledger))
    done = Verified(unsigned) if unsigned else verified(ledger, held_to, remembered, of_runs)
    if done.fault is None and stamp:
        stamped = stamped_entry(held_to, stamp)
        if stamped is None:
            fault = (
                f"the log of {done.position} entries has none that was stamped in {timestamp}: entries were removed"
                " from its end, or it is another log"
            )
            done = dataclasses.replace(done, fault=fault)
    if done.fault is None and inputs:
        from tasks.verify_inputs import input_fault

        quiet_loggers()
        done = dataclasses.replace(done, fault=input_fault(held_to, registry))
    if as_json:
        at = {"position": stamped.position, "at": stamp.at.isoformat()} if stamp and stamped else None
        print_json(
            {"holds": done.fault is None, "log": held_to.place, "ledger": None if alone else ledger}
            | dataclasses.asdict(done)
            | ({"stamped": at} if stamp else {})
        )
    elif done.fault:
        click.echo(f"It does not hold: {done.fault}.")
    else:
        what = "The log" if alone else "The log and the ledger"
        click.echo(f"It holds: {what.lower()}, {done.position} entries, head {done.head if done.position else 'none'}.")
        if stamp and stamped:
            click.echo(
                f"  entry {stamped.position} of {stamped.said['at'][:19]} UTC, and all before it, were there at"
                f" {stamp.at.isoformat()[:19]} UTC, when it was stamped"
            )
        digests = done.digests or {}
        width = max(map(len, digests), default=0)
        for table, sha256 in digests.items():
            click.echo(f"  {table:{width}}  {sha256}")
    if outbox:
        tell(Outbox(outbox), done, held_to, None if alone else ledger)
    if done.fault:
        sys.exit(1)


@click.command()
@click.argument("key", type=PLACE)
def keygen(key: Path) -> None:
    """Make a pair of keys to sign with: KEY, to be kept secret, and KEY.pub, to be given to whoever checks."""
    from mucs.evidence import signing

    public = signing.keygen(key)
    click.echo(f"{key} signs: keep it secret, and a copy of it. {public} checks what was signed: publish it.")


@click.command()
@click.argument("run")
@click.option("--sample", type=Whole(1), help="How many generated items, instead of all.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Which ones: the same seed chooses the same.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--registry", help="Where the registry is now, if it is no longer where the run's record says.")
@LEDGER
@JSON
def replay(
    run: str, sample: int | None, seed: int, device: str, registry: str | None, ledger: str, as_json: bool
) -> None:
    """Compute a run (by the start of its SHA-256) again from its inputs; exit status 1 if it comes out different.

    Nothing is written to the ledger, and nothing that was computed the first time is used.
    """
    quiet_tools()
    from mucs.attribution.replay import TOLERANCE, TOP
    from tasks.pull import default_cache
    from tasks.replay import replay as run_again

    quiet_loggers()
    done = run_again(ledger, run, default_cache(), sample, seed, device, registry)
    words = {
        "identical": "bit-identical",
        "equal": f"equal within the tolerance of {TOLERANCE} of a score, the first {TOP} items the same",
        "different": "different",
    }
    if as_json:
        print_json(dataclasses.asdict(done) | {"verdict": done.verdict, "tolerance": TOLERANCE, "top": TOP})
    else:
        for note in done.notes:
            click.echo(note)
        for item in done.items:
            gap = (
                ""
                if item.verdict == "identical"
                else f" (largest difference of a score {item.largest:.2g}; {item.where})"
            )
            click.echo(f"{item.generated}: {words[item.verdict].split(',')[0]}{gap}")
        counted = "" if done.fault else f", {len(done.items)} of {done.of} generated items"
        click.echo(f"Run {done.run[:16]}{counted}: {words[done.verdict]}{f', {done.fault}' if done.fault else ''}.")
    if done.verdict == "different":
        sys.exit(1)
