"""Contracts and usage reports: exact numbers, and every fault in one sentence with its line."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from mucs import InputError
from mucs.royalties import Period, read_contract, read_usage
from tests.mucs.royalties.test_statement import CONTRACT

DATA = Path(__file__).parents[3] / "data"
REST = "splits:\n  t0: {Ada: 60, Ben: 40}\n"


def read(tmp_path, text):
    (tmp_path / "contract.yaml").write_text(text)
    return read_contract(tmp_path / "contract.yaml")


def test_numbers_are_exact_and_layout_does_not_matter(tmp_path):
    contract = read(tmp_path, CONTRACT + REST)
    assert contract.deductions == {"administration": Decimal(10), "tax": Decimal("2.5")}
    assert contract.splits["t0"] == {"Ada": Decimal(60), "Ben": Decimal(40)}
    again = read(
        tmp_path,
        "# the same\n"
        + CONTRACT.replace("{administration: 10, tax: 2.5}", "\n  administration: 10\n  tax: 2.5")
        + REST,
    )
    assert again.sha256 == contract.sha256
    assert read(tmp_path, CONTRACT.replace("top: 3", "top: 4") + REST).sha256 != contract.sha256
    names = {field.name for field in dataclasses.fields(contract)} - {"lines"}
    assert set(contract.record()) == names


def test_the_samples_are_whole():
    contract = read_contract(DATA / "contract.yaml")
    assert read_usage(DATA / "usage.csv", Period.month("2026-10")).outside == 0
    assert set(contract.pots) == {"training", "output"}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("version: 1\n", "version: one\n", 2, "version cannot be 'one'; write a whole number from 1 to"),
        ("version: 1\n", "", 1, "the contract has no version; add it"),
        ("version: 1\n", "version: 1\nversion: 2\n", 3, "is there twice"),
        ("Collecting Society", '"Collecting\\e[2J Society"', 3, "characters that cannot be printed, or too many"),
        ("Collecting Society", "x" * 1001, 3, "characters that cannot be printed, or too many"),
        ("{code: EUR, decimals: 2}", "{code: euro, decimals: 2}", 5, "three capital letters"),
        ("{code: EUR, decimals: 2}", "EUR", 5, "currency is not a mapping"),
        ("2026-01-01", "1 January", 6, "valid_from cannot be '1 January'"),
        ("2026-01-01", "20260101", 6, "valid_from cannot be '20260101'; write a day as 2026-10-31"),
        ("2026-01-01", "2026-W01-1", 6, "valid_from cannot be '2026-W01-1'"),
        ("2026-01-01", "２０２６-01-01", 6, "valid_from cannot be"),
        ("fallback: equal", "falback: equal", 11, "is no key of the contract (did you mean 'fallback'?)"),
        ("{administration: 10, tax: 2.5}", "{administration: -0}", 13, "administration cannot be -0"),
        ("minimum_payout: 20.00", "splits:\n  t0: {Jäger: 5, 'Ja\u0308ger': 5}", 15, "another spelling of Jäger"),
        ("2027-01-01", "2026-01-01", 7, "valid_to is not after valid_from"),
        ("amount: 100.00", "amount: 100.001", 9, "with at most 2 decimals"),
        ("amount: 100.00", "amount: -1", 9, "amount cannot be -1"),
        ("amount: 100.00", "amount: 1e3", 9, "amount cannot be '1e3'"),
        ("amount: 100.00", "amount: 100.00, minimum: 3", 9, "is not one kind of pot"),
        ("percentage: 30", "percentage: 130", 10, "percentage cannot be 130"),
        ("fallback: equal", "fallback: none", 11, "write equal or suspense"),
        ("top: 3", "top: 0", 12, "a whole number from 1 to 1000"),
        ("top: 3", "top: 3, p_value: 0", 12, "p_value cannot be 0"),
        ("top: 3", "top: 3, p: 0.05", 12, "p is no key of evidence; the known ones are"),
        ("tax: 2.5", "tax: 95", 13, "takes more than 100 %"),
        ("minimum_payout: 20.00", "minimum_payout: [20]", 14, "is not a single value"),
        ("minimum_payout: 20.00", "minimum_payout: 20.00\nbonus: 3", 15, "bonus is no key of the contract"),
        ("minimum_payout: 20.00", "minimum_payout: 20.00\nterritories: DE", 15, "territories is not a list"),
        (
            "minimum_payout: 20.00",
            "minimum_payout: 20.00\nsplits:\n  t0: {Ada: 60, Ben: 41}",
            16,
            "adds up to more than 100",
        ),
        ("minimum_payout: 20.00", "splits:\n  t0: {Suspense account: 5}", 15, "goes to the suspense account"),
        ("minimum_payout: 20.00", "splits:\n  t0: {Unknown: 5}", 15, "goes to the suspense account"),
        ("minimum_payout: 20.00", "minimum_payout: {", 15, "this is not YAML"),
    ],
)
def test_every_fault_is_named_with_its_line(tmp_path, old, new, line, said):
    assert old in CONTRACT
    with pytest.raises(InputError) as refused:
        read(tmp_path, CONTRACT.replace(old, new))
    assert f"contract.yaml, line {line}: " in str(refused.value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "\x00", "[1, 2]", "- a"])
def test_what_is_no_contract_at_all_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"contract.yaml"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("generated,units\n", "has no column date"),
        ("generated,date,units,price\n", "column 'price', which says nothing"),
        ("generated,date,units\ng0,2026-10-02,three\n", "line 2: units cannot be 'three'"),
        ("generated,date,units\ng0,2026-10-02,-3\n", "line 2: units cannot be '-3'"),
        ("generated,date,units\ng0,2.10.,3\n", "line 2: date cannot be '2.10.'"),
        ("generated,date,units\ng0,20261002,3\n", "line 2: date cannot be '20261002'"),
        ("generated,date,units\ng0,2026-W40-5,3\n", "line 2: date cannot be '2026-W40-5'"),
        ("generated,date,units\ng0,2026-10-02,1e3\n", "line 2: units cannot be '1e3'"),
        ("generated,date,units\ng0,2026-10-02,-0\n", "line 2: units cannot be '-0'"),
        ("generated,date,units\ng0,2026-10-02,３\n", "line 2: units cannot be '３'"),
        ("generated,date,units,units\ng0,2026-10-02,1,2\n", "has a column twice"),
        ("generated,date,units,territory\ng0,2026-10-02,1,de\n", "line 2: territory cannot be 'de'"),
        ("generated,date,units\ng0,2026-10-02,3\n,2026-10-02,3\n", "line 3: generated is empty"),
        ("generated,date,units\ng0,2026-10-02,3,4,5\n", "line 2: there are more values than columns"),
    ],
)
def test_a_usage_report_that_cannot_be_read_is_refused_with_its_line(tmp_path, text, said):
    (tmp_path / "usage.csv").write_text(text)
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        read_usage(tmp_path / "usage.csv", Period.month("2026-10"))


@pytest.mark.parametrize("text", ["splits: " + "[" * 100_000, "a: &b [*b]\n"])
def test_a_contract_without_end_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"cannot be read as a contract: it (nests|refers)"):
        read(tmp_path, text)
