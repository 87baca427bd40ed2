"""A statement as files: JSON, CSV, a workbook, a page to print, and a flat file for programs that read sales reports."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.evidence import signing
from mucs.files import check_writable, file_sha256, replacing
from mucs.ledger import Ledger
from mucs.report import words
from mucs.report.page import page
from mucs.royalties.contract import read_contract
from mucs.royalties.issue import issue, preview
from mucs.royalties.remarks import remarks
from mucs.royalties.statement import BALANCE, LINE, Statement, counted
from mucs.royalties.usage import Period, read_usage
from mucs.royalties.workbook import workbook_file
from mucs.text import for_spreadsheet

PREDICATE = "https://mucs.dev/royalty-statement/v1"
SHOWN_WORKS = 5  # of a line on the page


@dataclass(frozen=True)
class Issued:
    """A statement, where its files lie, and what whoever issues it should look at, in sentences."""

    statement: Statement
    files: list[Path]
    remarks: list[str]

    @property
    def page(self) -> Path:
        """The one to print."""
        return next(path for path in self.files if path.suffix == ".html")


def state(
    contract: Path,
    period: str,
    usage: Path,
    ledger: Callable[[], Ledger],
    out: Path,
    as_of: str = "infinity",
    key: Path | None = None,
    dry_run: bool = False,
) -> Issued:
    """Issue the statement of a month (such as 2026-10), unless it is there, and write its files into `out`.

    Args:
        contract: Its file.
        period: The month.
        usage: The usage report's file.
        ledger: Opens it, to write unless it is a dry run, once the other inputs are known to be right.
        out: The folder, which is made if it is not there.
        as_of: Rests on what the ledger knew then; now by default.
        key: A private key to sign them with.
        dry_run: Compute it alone, and write nothing anywhere.

    Raises:
        InputError: For anything that cannot be used, with the log as it was.
    """
    agreed, month = read_contract(contract), Period.month(period)
    used = read_usage(usage, month)
    if key:
        signing.read_private_key(key)
    with ledger() as opened:
        if dry_run:
            statement = preview(opened, agreed, month, used, as_of)
            return Issued(statement, [], remarks(opened, statement, used))
        check_writable(out, "the statement's files")
        statement = issue(opened, agreed, month, used, as_of)
        sentences = remarks(opened, statement, used)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Issued(statement, write_files(statement, out, key), sentences)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}); statement {statement.title} is issued, and its files are written"
            " by the same command again."
        ) from None


def write_files(statement: Statement, folder: Path, key: Path | None = None) -> list[Path]:
    """Write the files of a statement, named by contract, period and version; the same bytes whenever they are written.

    Args:
        statement: As it was issued.
        folder: Where they go.
        key: A private key; with it there is an envelope, too, that signs the other files.

    Raises:
        InputError: If it is none.
    """
    name = file_name(statement)
    written = []
    for suffix, text in FILES.items():
        path = folder / f"{name}{suffix}"
        with replacing(path) as partial:
            partial.write_bytes(text(statement))
        written.append(path)
    if key is not None:
        written.append(_sign(statement, written, folder / f"{name}.dsse.json", key))
    return written


def file_name(statement: Statement) -> str:
    """What its files are called, before their endings."""
    return statement.title.replace("/", "_")


def _sign(statement: Statement, files: list[Path], path: Path, key: Path) -> Path:
    names = ("statement", "version", "supersedes", "period", "issued_at", "pots", "ledger")
    header = statement.content["header"]
    predicate = {name: header[name] for name in names} | {"contract": header["contract"]["sha256"]}
    payload = signing.statement({file.name: file_sha256(file) for file in files}, PREDICATE, predicate)
    envelope = signing.sign(payload, key)
    with replacing(path) as partial:
        partial.write_text(json.dumps(envelope, indent=1) + "\n")
    return path


def json_file(statement: Statement) -> bytes:
    """What was said, in canonical JSON: its SHA-256 is the statement's name. It has pseudonyms of the rights holders."""
    return statement.said.encode()


def lines_file(statement: Statement) -> bytes:
    """A row for each line, as CSV."""
    return _csv(LINE, [counted(line) for line in statement.content["lines"]])


def balances_file(statement: Statement) -> bytes:
    """A row for each account, as CSV."""
    return _csv(BALANCE, statement.content["balances"])


def _csv(columns: tuple[str, ...], rows: list[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if row[name] is None else for_spreadsheet(str(row[name])) for name in columns})
    return text.getvalue().encode()


def flat_file(statement: Statement) -> bytes:
    """Tab-separated records in the order of a DSR flat file: HEAD, SY for each pot, a record for each line, FOOT.

    It has that shape alone. DDEX has no records for attribution, and this claims no conformance to any of its standards.
    """
    header, content = statement.content["header"], statement.content
    contract = header["contract"]
    parties = [part for who in ("licensee", "licensor") for part in (_party_id(contract[who]), contract[who]["name"])]
    head = ["HEAD", statement.sha256, header["statement"], header["issued_at"]]
    head += [header["period"]["start"], header["period"]["end"], *parties, header["currency"]]
    records = [head]
    for number, (right_type, pot) in enumerate(sorted(header["pots"].items()), start=1):
        mine = [line for line in content["lines"] if line["right_type"] == right_type]
        paid = sum((Decimal(line["net"]) for line in mine), Decimal(0))
        records.append(["SY", str(number), right_type, header["currency"], pot, str(paid), str(len(mine))])
    for number, line in enumerate(content["lines"], start=1):
        # unique for good, as the statement's name is
        records.append(["SU", f"{statement.sha256}:{number}", *(str(counted(line)[name]) for name in LINE)])
    for balance in content["balances"]:
        records.append(["BA", *(balance[name] for name in BALANCE)])
    records.append(["FOOT", str(len(records) + 1), str(len(header["pots"])), str(len(content["lines"]))])
    return "".join(
        "\t".join(for_spreadsheet(" ".join(cell.split())) for cell in record) + "\n" for record in records
    ).encode()


def _party_id(party: Mapping[str, Any]) -> str:
    return f"ISNI:{party['isni']}" if party["isni"] else f"IPI:{party['ipi']}" if party["ipi"] else ""


def html_file(statement: Statement) -> bytes:
    """One HTML text to print, that needs no other file."""
    content = statement.content
    lines = sorted(content["lines"], key=lambda line: (line["right_type"], -Decimal(line["gross"]), line["holder"]))
    first: dict[str, int] = {}  # the place of each holder's first line
    for place, line in enumerate(lines, start=1):
        first.setdefault(line["holder"], place)
    pieces = page(
        "statement.html",
        sha256=statement.sha256,
        header=content["header"],
        contract=content["header"]["contract"],
        early=statement.early,
        changes=statement.changes,
        verdicts=content["header"]["usage"].get("verdicts", {}),
        lines=lines,
        first=first,
        balances=content["balances"],
        accounts={balance["holder"]: place for place, balance in enumerate(content["balances"], start=1)},
        adjustments=content["adjustments"],
        shown=SHOWN_WORKS,
        file=file_name(statement),
        say=words,
        said=words.paid(content),
        deducted=sum((Decimal(line["deducted"]) for line in content["lines"]), Decimal(0)),
        total=lambda name: sum((Decimal(balance[name]) for balance in content["balances"]), Decimal(0)),
    )
    return "".join(pieces).encode()


FILES: dict[str, Callable[[Statement], bytes]] = {
    ".json": json_file,
    ".csv": lines_file,
    ".balances.csv": balances_file,
    ".tsv": flat_file,
    ".xlsx": workbook_file,
    ".html": html_file,
}
