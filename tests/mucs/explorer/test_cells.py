"""Shares are percentages that can be told apart, and the exact number is there as well."""

import html
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucs.explorer.cells import decimals_of, percentage

EXACT = st.decimals(0, 1, places=12)


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        (["0.769230769231", "0.230769230769"], ["76.92 %", "23.08 %"]),
        (["0.500000000000", "0.500000000000"], ["50.00 %", "50.00 %"]),
        (["0.333333333333", "0.333333333334"], ["33.3333333333 %", "33.3333333334 %"]),
        (["0.000049000000", "0.999951000000"], ["0.005 %", "99.995 %"]),
        (["0", "1"], ["0.00 %", "100.00 %"]),
    ],
)
def test_shares_have_as_many_decimals_as_tell_them_apart(shares, shown):
    exact = [Decimal(each) for each in shares]
    assert [percentage(each, decimals_of(exact)) for each in exact] == shown


@given(st.lists(EXACT, max_size=20))
def test_no_two_shares_look_the_same_and_none_like_all_or_nothing(shares):
    decimals = decimals_of(shares)
    apart = {*shares, Decimal(0), Decimal(1)}
    assert len({percentage(each, decimals) for each in apart}) == len(apart)
    assert decimals <= 10


@pytest.mark.heavy
def test_a_statements_lines_have_shares_to_read_and_exact_ones_besides(client):
    statement = client.get("/statements.json").json()["views"]["statements"]["rows"][0]["statement"]
    page = client.get(f"/statements/{statement}").text
    exact = [row["share"] for row in client.get(f"/statements/{statement}.json").json()["views"]["lines"]["rows"]]
    told = re.findall(
        r'data-label="share" class="num"><span class="n" title="([\d.]+)">([\d.]+ %)</span>', html.unescape(page)
    )
    assert [Decimal(each) for each, _ in told] == [Decimal(each) for each in exact]
    assert len(told) > 2
    assert {len(each) for each in exact} == {14}
    assert all(
        Decimal(shown[:-2]) == round(100 * Decimal(whole), len(shown.partition(".")[2]) - 2) for whole, shown in told
    )
