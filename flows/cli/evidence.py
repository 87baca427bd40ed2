"""Commands that prove, and that check what was proven."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from flows.cli.shared import JSON, LEDGER, print_json
from mucs import InputError


@click.command()
@click.argument("generated")
@click.argument("training")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
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
    from mucs.ledger import holds

    try:
        proof = json.loads(path.read_text())
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


@click.command()
@LEDGER
@click.option("--proof", type=click.Path(path_type=Path), help="Check this file, without a ledger.")
@click.option("--root", help="The Merkle root that the run published, as results.edges_root of its run.json.")
@JSON
def verify(ledger: Path, proof: Path | None, root: str | None, as_json: bool) -> None:
    """Recompute the ledger's chain and every digest in it, or a proof; exit status 1 at the first thing that does not hold."""
    if (proof is None) != (root is None):
        raise InputError("A proof is checked against a published root; give both --proof and --root.")
    if proof is not None and root is not None:
        return verify_proof(proof, root, as_json)
    from mucs.ledger import Ledger, first_fault

    with Ledger.open(ledger) as opened:
        fault, entries = first_fault(opened), opened.entries()
    if as_json:
        print_json(
            {
                "holds": fault is None,
                "fault": fault,
                "entries": len(entries),
                "head": entries[-1].sha256 if entries else None,
            }
        )
    else:
        click.echo(
            f"It does not hold: {fault}."
            if fault
            else f"It holds: {len(entries)} entries, head {entries[-1].sha256 if entries else 'none'}."
        )
    if fault:
        sys.exit(1)
