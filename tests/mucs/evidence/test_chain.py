"""The chain holds, and every change to it is found."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mucs.evidence.chain import GENESIS, Entry, first_fault, link

BODIES = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5), max_size=3),
    min_size=1,
    max_size=6,
)


def chain(bodies) -> list[Entry]:
    entries, previous = [], GENESIS
    for position, body in enumerate(bodies, start=1):
        entries.append(link(position, previous, "run", "2026-01-01T00:00:00+00:00", body))
        previous = entries[-1].sha256
    return entries


@settings(deadline=None)
@given(BODIES)
def test_a_chain_as_written_holds(bodies):
    assert first_fault(chain(bodies)) is None


@settings(deadline=None)
@given(BODIES, st.data())
def test_an_edited_text_is_found(bodies, data):
    entries = chain(bodies)
    k = data.draw(st.integers(0, len(entries) - 1))
    at = data.draw(st.integers(0, len(entries[k].entry) - 1))
    text = entries[k].entry
    entries[k] = replace(entries[k], entry=text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :])
    assert f"entry {k + 1} was edited" in first_fault(entries)


@settings(deadline=None)
@given(BODIES, st.data())
def test_an_edited_entry_with_a_fitting_digest_is_found(bodies, data):
    entries = [*chain(bodies), link(0, GENESIS, "run", "x", {})]
    k = data.draw(st.integers(0, len(entries) - 2))
    previous = entries[k - 1].sha256 if k else GENESIS
    forged = link(k + 1, previous, "run", "2026-01-01T00:00:00+00:00", {"forged": True})
    entries = [*entries[:k], forged, *entries[k + 1 : -1]]
    if k + 1 < len(entries):
        assert f"entry {k + 2} does not follow" in first_fault(entries)


@settings(deadline=None)
@given(BODIES.filter(lambda bodies: len(bodies) > 1), st.data())
def test_a_removed_entry_is_found(bodies, data):
    entries = chain(bodies)
    del entries[data.draw(st.integers(0, len(entries) - 2))]
    assert "is missing" in first_fault(entries)


@pytest.mark.parametrize("kind", ["validation", "statement"])
def test_another_kind_is_found(kind):
    entries = chain([{}, {}])
    entries[1] = replace(entries[1], kind=kind)
    assert "kind" in first_fault(entries)


@settings(deadline=None)
@given(BODIES)
def test_an_entry_is_read_back_from_its_text(bodies):
    for body, entry in zip(bodies, chain(bodies), strict=True):
        again = Entry.of(entry.entry.encode())
        assert (again, again.body, again.version, again.at.year) == (entry, body, 3, 2026)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"position":"1","previous":"","kind":"run","at":"","body":{}}',
        b'{"position":1,"previous":"","kind":"run","at":"","body":[]}',
        b'{"position":1,"previous":"","kind":"run"}',
    ],
)
def test_what_has_not_the_form_of_an_entry_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # of JSON's or of ours
        Entry.of(text)
