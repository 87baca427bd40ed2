"""A statement as a workbook, whose formulas add up what the other files say, for those who work with spreadsheets."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mucs.royalties.statement import BALANCE, LINE, Statement, counted

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

WORDS = {"right_type", "holder", "basis"}
MONEY = {"gross", "deducted", *BALANCE[1:]}
LONGEST = 32_000  # characters of a cell, of which the format takes 32,767
NOTE = (
    "Spreadsheets reckon with 15 digits. The exact numbers are in the JSON file, whose SHA-256 is the statement's name. Every difference on this sheet is 0,"
    " or the statement was altered."
)


def workbook_file(statement: Statement) -> bytes:
    """Three sheets, as XLSX: what it comes to with the differences that must be 0, lines, accounts. The same bytes whenever it is made."""
    import xlsxwriter

    header, content = statement.content["header"], statement.content
    body = io.BytesIO()
    book = xlsxwriter.Workbook(body, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    created = datetime.datetime.fromisoformat(header["issued_at"]).replace(tzinfo=None)
    book.set_properties({"title": f"Statement {statement.title}", "created": created})
    places = header.get("decimals", 2)  # which older programs did not say
    money = f"#,##0.{'0' * places}" if places else "#,##0"
    formats = {
        "head": book.add_format({"bold": True, "bottom": 1}),
        "money": book.add_format({"num_format": money}),
        "total": book.add_format({"bold": True, "top": 1, "num_format": money}),
        "plain": book.add_format(),
    }
    first, lines, accounts = (book.add_worksheet(name) for name in ("Statement", "Lines", "Accounts"))
    _lines(lines, content["lines"], formats)
    _accounts(accounts, content["balances"], formats)
    _first(first, statement, formats)
    book.close()
    return body.getvalue()


def _lines(sheet: Worksheet, lines: Sequence[Mapping[str, Any]], formats: Mapping[str, Format]) -> None:
    """Net is gross less what was deducted."""
    _table(
        sheet, LINE, [counted(line) for line in lines], formats, {"net": "=J{row}-K{row}"}, ("gross", "deducted", "net")
    )


def _accounts(sheet: Worksheet, balances: Sequence[Mapping[str, Any]], formats: Mapping[str, Format]) -> None:
    """What is carried on is what was, the difference to before and adjustments, less what is paid."""
    carried = {"carried_out": "=B{row}+D{row}+E{row}-F{row}"}
    _table(sheet, BALANCE, balances, formats, carried, BALANCE[1:])


def _table(
    sheet: Worksheet,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    formats: Mapping[str, Format],
    formulas: Mapping[str, str],
    totals: Sequence[str],
) -> None:
    """A row of headings, the rows, and a row of totals."""
    sheet.freeze_panes(1, 0)
    for place, name in enumerate(columns):
        sheet.write_string(0, place, name.replace("_", " "), formats["head"])
        sheet.set_column(place, place, 30 if name in WORDS else 16)
        for number, row in enumerate(rows, start=1):
            value, look = row[name], formats["money" if name in MONEY else "plain"]
            if name in formulas:
                sheet.write_formula(number, place, formulas[name].format(row=number + 1), look, _number(value))
            elif name in WORDS:
                sheet.write_string(number, place, str(value)[:LONGEST])
            elif value not in (None, ""):
                sheet.write_number(number, place, _number(value), look)
        if name in totals:
            letter, total = chr(ord("A") + place), sum((Decimal(row[name]) for row in rows), Decimal(0))
            formula = f"=SUM({letter}2:{letter}{len(rows) + 1})" if rows else "=0"
            sheet.write_formula(len(rows) + 1, place, formula, formats["total"], _number(total))


def _first(sheet: Worksheet, statement: Statement, formats: Mapping[str, Format]) -> None:
    """What it is, and what must agree."""
    header, content = statement.content["header"], statement.content
    about = {
        "Statement": statement.title,
        "SHA-256": statement.sha256,
        "Period": f"{header['period']['start'][:10]} up to {header['period']['end'][:10]}, which is not in it",
        "Licensor": header["contract"]["licensor"]["name"],
        "Licensee": header["contract"]["licensee"]["name"],
        "Currency": header["currency"],
        "Issued": header["issued_at"],
        "Note": NOTE,
    }
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 3, 22)
    for row, (name, value) in enumerate(about.items()):
        sheet.write_string(row, 0, name, formats["head"])
        sheet.write_string(row, 1, str(value)[:LONGEST])
    row = len(about) + 1
    for place, name in enumerate(("Must agree", "One", "The other", "Difference")):
        sheet.write_string(row, place, name, formats["head"])
    last = max(2, len(content["lines"]) + 1)
    agree = [
        (
            f"Pot {kind}, and gross of its lines",
            pot,
            f'=SUMIF(Lines!A2:A{last},"{kind}",Lines!J2:J{last})',
            _of(content["lines"], "gross", kind),
        )
        for kind, pot in sorted(header["pots"].items())
    ]
    net = _of(content["lines"], "net")
    for number, (name, pot, formula, value) in enumerate(agree, start=row + 1):
        _agree(sheet, number, name, pot, formula, value, formats)
    accounts = max(2, len(content["balances"]) + 1)
    end = row + 1 + len(agree)
    sheet.write_string(end, 0, "Net of all accounts, and of all lines")
    sheet.write_formula(
        end, 1, f"=SUM(Accounts!C2:C{accounts})", formats["money"], _number(_of(content["balances"], "net"))
    )
    sheet.write_formula(end, 2, f"=SUM(Lines!L2:L{last})", formats["money"], _number(net))
    difference = _of(content["balances"], "net") - net
    sheet.write_formula(end, 3, f"=ROUND(B{end + 1}-C{end + 1},6)", formats["money"], _number(difference))


def _agree(
    sheet: Worksheet, row: int, name: str, one: Any, formula: str, other: Decimal, formats: Mapping[str, Format]
) -> None:
    """A number, what must be the same, and their difference."""
    sheet.write_string(row, 0, name)
    sheet.write_number(row, 1, _number(one), formats["money"])
    sheet.write_formula(row, 2, formula, formats["money"], _number(other))
    sheet.write_formula(row, 3, f"=ROUND(B{row + 1}-C{row + 1},6)", formats["money"], _number(Decimal(one) - other))


def _of(rows: Sequence[Mapping[str, Any]], name: str, kind: str | None = None) -> Decimal:
    """The sum of a column; of the lines of one kind of pot, where one is named."""
    return sum((Decimal(row[name]) for row in rows if kind is None or row["right_type"] == kind), Decimal(0))


def _number(value: Any) -> float:
    return float(value)
