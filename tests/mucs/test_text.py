"""What people read is safe, on a terminal and in a spreadsheet."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucs.text import first_line, for_spreadsheet, for_terminal, is_fit

ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    "name", ["Emily Jäger", "文部 科学", "علی‌رضا", "👩‍🎨 studio", "O'Brien & Söhne; GmbH", "a\u00a0b", "x" * 1000]
)
def test_names_are_fit(name):
    assert is_fit(name)
    assert for_terminal(name) == name


@pytest.mark.parametrize(
    "text",
    ["a\nb", "\x1b[2J", "\x9b2J", "a\u202eb", "\u2066a", "a\u200bb", "\ud800", "\x00", "a\u2028b", "\x7f", "x" * 1001],
)
def test_what_acts_or_cannot_be_seen_is_unfit(text):
    assert not is_fit(text)


@given(ANY)
def test_a_terminal_gets_one_line_without_controls(text):
    shown = for_terminal(text)
    assert is_fit(shown, 10_000)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert shown.encode().decode() == shown


def test_a_long_text_is_cut():
    assert for_terminal("x" * 10**6) == "x" * 10_000 + "…"


@pytest.mark.parametrize("cell", ["12", "-12.50", "+1", "1e-7", "Ada", "a-b", "Ada; Ben", "O'Brien"])
def test_numbers_and_names_stay(cell):
    assert for_spreadsheet(cell) == cell


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ('"=1+1', "\"'=1+1"),
        (" =1", " '=1"),
        ("＝1", "'＝1"),
        ("Ada;=1", "Ada;'=1"),
        ("\t=1", "\\t=1"),
        ("\r=1", "\\r=1"),
    ],
)
def test_no_cell_is_a_formula(cell, safe):
    assert for_spreadsheet(cell) == safe


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("no such table.\nLINE 1", "no such table"),
        ("\n it broke:\n", "it broke"),
        ("", "KeyError"),
        ("\x1b[2J", "\\x1b[2J"),
    ],
)
def test_the_first_line_of_an_error_fits_into_a_sentence(said, first):
    assert first_line(KeyError() if not said else ValueError(said)) == first
    assert len(first_line(ValueError("x" * 1000))) == 201
