"""A statement's workbook: its formulas say what the other files say, and no text in it is one."""

import io
import re
from decimal import Decimal

import openpyxl
import pytest

from mucs.royalties.workbook import workbook_file
from tests.mucs.royalties.test_statement import World

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    """Two versions of a statement, and that of the next month, which carries on what was not paid."""
    with World(tmp_path_factory.mktemp("workbook")) as world:
        world.load()
        first = world.issue()
        second = world.issue(usage="generated,date,units,revenue\ng0,2026-10-02,1,33.33\n")
        return [first, second, world.issue("2026-11")]


def sheets(statement, *, values: bool):
    return openpyxl.load_workbook(io.BytesIO(workbook_file(statement)), data_only=values)


def reckoned(book, sheet: str, cell: str) -> Decimal:
    """What a cell comes to, by the few kinds of formulas that there are."""
    said = book[sheet][cell].value
    if not isinstance(said, str):
        return Decimal(str(said or 0))
    if found := re.fullmatch(r"=SUM\((?:(\w+)!)?([A-Z])(\d+):\2(\d+)\)", said):
        where, column, start, stop = found.groups()
        return sum(
            (reckoned(book, where or sheet, f"{column}{row}") for row in range(int(start), int(stop) + 1)), Decimal(0)
        )
    if found := re.fullmatch(r'=SUMIF\((\w+)!A2:A(\d+),"(\w+)",\1!J2:J\2\)', said):
        where, last, kind = found.groups()
        rows = [row for row in range(2, int(last) + 1) if book[where][f"A{row}"].value == kind]
        return sum((reckoned(book, where, f"J{row}") for row in rows), Decimal(0))
    found = re.fullmatch(r"=(?:ROUND\()?([A-Z]\d+(?:[+-][A-Z]\d+)+)(?:,6\))?", said)
    assert found, said
    parts = re.findall(r"([+-]?)([A-Z]\d+)", found[1])
    return sum(
        (-reckoned(book, sheet, at) if sign == "-" else reckoned(book, sheet, at) for sign, at in parts), Decimal(0)
    )


def test_every_formula_comes_to_what_it_is_written_with(statements):
    count = 0
    for statement in statements:
        book, values = sheets(statement, values=False), sheets(statement, values=True)
        for sheet in book.worksheets:
            for row in sheet.iter_rows():
                for cell in row:
                    if cell.data_type == "f":
                        shown = Decimal(str(values[sheet.title][cell.coordinate].value))
                        assert abs(reckoned(book, sheet.title, cell.coordinate) - shown) < Decimal("1e-9"), cell.value
                        count += 1
    assert count > 50


def test_nothing_differs_and_lines_and_accounts_are_those_of_the_statement(statements):
    for statement in statements:
        values = sheets(statement, values=True)
        agree = [row for row in values["Statement"].iter_rows(values_only=True) if row[3] is not None]
        assert [row[0] for row in agree[1:]][-1] == "Net of all accounts, and of all lines"
        assert len(agree) == 1 + len(statement.content["header"]["pots"]) + 1
        assert all(row[3] == 0 for row in agree[1:])
        lines = [*values["Lines"].iter_rows(min_row=2, values_only=True)][:-1]
        assert [(row[1], Decimal(str(row[11]))) for row in lines] == [
            (line["holder"], Decimal(line["net"])) for line in statement.content["lines"]
        ]
        accounts = [*values["Accounts"].iter_rows(min_row=2, values_only=True)][:-1]
        assert [(row[0], Decimal(str(row[5])), Decimal(str(row[6]))) for row in accounts] == [
            (each["holder"], Decimal(each["paid"]), Decimal(each["carried_out"]))
            for each in statement.content["balances"]
        ]


def test_it_has_the_same_bytes_whenever_it_is_made(statements):
    assert workbook_file(statements[0]) == workbook_file(statements[0])


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "@SUM(A1)", "http://example.org", "a\x07b\x1b[2J", "N" * 50_000, ""])
def test_no_name_is_a_formula_or_spoils_the_file(statements, name):
    statement = statements[0]
    content = statement.content | {"lines": [line | {"holder": name} for line in statement.content["lines"]]}
    book = openpyxl.load_workbook(io.BytesIO(workbook_file(type(statement)(statement.sha256, content, False, ""))))
    for row in range(2, len(content["lines"]) + 2):
        cell = book["Lines"][f"B{row}"]
        assert cell.data_type in ("s", "n")
        assert cell.hyperlink is None
        assert not cell.value or len(cell.value) <= 32_767
