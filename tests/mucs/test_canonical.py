"""Canonical JSON: whichever way it is written, it is RFC 8785."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mucs.canonical import canonical

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(st.dictionaries(TEXT, TEXT) | VALUES)
def test_it_is_what_the_rfc_says(value):
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"a": float("nan")}, {"a": 2**60}])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        canonical(value)
