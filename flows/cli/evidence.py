"""Commands about evidence: to prove, sign, check, compute again, and serve the demo's."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click

from flows.cli.jobs import quiet_loggers, quiet_tools
from flows.cli.shared import JSON, LEDGER, PLACE, Whole, print_json
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
def prove(generated: str, training: str, output: Path, ledger: Path) -> None:
    """Write a proof that this training item is behind this generated one, to show without the rest of the run."""
    from mucs.files import replacing
    from mucs.ledger import Ledger
    from mucs.ledger import prove as make

    with Ledger.open(ledger) as opened:
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
@click.option("--head", help="A head that you remember; it must still be an entry of the chain.")
@click.option("--published", is_flag=True, help="Read what the runs published, and their inputs, from S3 as well.")
@click.option(
    "--registry", help="With --published: where the registry is now, if it is no longer where the runs' records say."
)
@click.option("--proof", type=PLACE, help="Check this file, without a ledger.")
@click.option("--root", help="The Merkle root that the run published, as results.edges_root of its run.json.")
@click.option("--envelope", type=PLACE, help="Check this signed statement, and the files beside it, alone.")
@click.option("--key", type=PLACE, help="The public key: of --envelope, or of every run with --published.")
@JSON
def verify(
    ledger: Path,
    head: str | None,
    published: bool,
    registry: str | None,
    proof: Path | None,
    root: str | None,
    envelope: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Recompute the ledger's chain and everything that it commits to; exit status 1 at the first thing that does not hold.

    Or check a proof (--proof and --root) or a signed statement (--envelope and --key), which need no ledger.
    """
    if (proof is None) != (root is None):
        raise InputError("A proof is checked against a published root; give both --proof and --root.")
    if (envelope is None) != (key is None) and not published:
        raise InputError("A signature is checked with a public key; give --key, and --envelope or --published.")
    if registry is not None and not published:
        raise InputError("--registry says where inputs are read from; give it with --published.")
    if [envelope, proof, head or published or None].count(None) < 2:
        raise InputError("A proof, a signed statement and a ledger are checked one at a time; give one of them.")
    if proof is not None and root is not None:
        return verify_proof(proof, root, as_json)
    if envelope is not None and key is not None:
        return verify_envelope(envelope, key, as_json)
    quiet_tools()
    from mucs.ledger import Altered, Ledger, first_fault
    from mucs.ledger.verify import later_than

    entries = []
    try:
        with Ledger.open(ledger) as opened:
            fault = first_fault(opened, head)
            if fault is None and published:
                from tasks.verify import published_fault

                quiet_loggers()
                fault = published_fault(opened, key, registry)
            if fault is None:
                entries = opened.entries()
    except Altered as error:
        fault = str(error).removesuffix(".")
    found = {"holds": fault is None, "fault": fault, "entries": len(entries) or None}
    found["head"] = entries[-1].sha256 if entries else None
    later = later_than(entries, head) if head and entries else 0
    if as_json:
        print_json(found | ({"since_head": later} if head else {}))
    else:
        since = f", {later} of them after the remembered head" if later else ""
        click.echo(
            f"It does not hold: {fault}."
            if fault
            else f"It holds: {len(entries)} entries{since}, head {found['head'] or 'none'}."
        )
    if fault:
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
    run: str, sample: int | None, seed: int, device: str, registry: str | None, ledger: Path, as_json: bool
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


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--folder",
    type=PLACE,
    default=Path("mucs-demo"),
    show_default=True,
    help="Where the demo's world lives.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def serve(folder: Path, command: tuple[str, ...]) -> None:
    """Start the demo's S3 server and run a command with it, such as `mucs serve mucs verify --published`.

    Without a command it prints what to set, and serves until it is stopped. Exit status: the command's.
    """
    from tasks.serve import s3_server

    if not (folder / "s3").is_dir():
        raise InputError(f"{folder} holds no demo; run `mucs demo` first, or give the --folder of one.")
    with s3_server(folder / "s3") as server:
        settings = server.environment | {"MUCS_LEDGER": str((folder / "ledger.duckdb").resolve())}
        path = f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}"
        if command:
            try:
                status = subprocess.run(command, env=os.environ | settings | {"PATH": path}).returncode
            except OSError:
                raise InputError(f"{command[0]!r} cannot be run; give a command that can.") from None
        else:
            for name, value in settings.items():
                click.echo(f"export {name}={shlex.quote(value)}")
            click.echo(f"Serving {folder} until Ctrl-C.", err=True)
            status = 0
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    sys.exit(status if status >= 0 else 128 - status)
