"""JSON and YAML from outside end in a value or in one error, never in the interpreter's limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucs.parse import compose_yaml, load_json

BAD = {
    "deep": "[" * 100_000,
    "deep and whole": "[" * 65 + "]" * 65,
    "deep objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "a key twice": '{"a": 1, "b": {"c": 1, "c": 2}}',
    "NaN": '{"a": NaN}',
    "infinite": "-Infinity",
    "infinite as a number": "1e999",
    "half a character": '"\\ud800"',
    "half a character as a key": '{"\\ud800": 1}',
    "no UTF-8": b'"\xff"',
    "UTF-16": "[1]".encode("utf-16"),
    "too many digits": "9" * 5000,
    "nothing": "",
    "two values": "1 2",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 (whichever; what matters is that it is no RecursionError)
        load_json(text)


def test_good_json_is_read():
    assert load_json(b'{"a": [1, 2.5, null, "\xc3\xa4"]}') == {"a": [1, 2.5, None, "ä"]}
    assert load_json("[" * 64 + "]" * 64)
    assert load_json('{"a": -Infinity}', infinite=True) == {"a": float("-inf")}
    with pytest.raises(ValueError, match="NaN"):
        load_json("NaN", infinite=True)


@given(st.text(st.sampled_from('[]{}":,1e- \\u\n'), max_size=80))
def test_anything_is_a_value_or_a_value_error(text):
    try:
        load_json(text)
    except ValueError:
        return


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 1000 + "a", "a: &b 1\nc: *b", "&a [*a]"])
def test_yaml_that_nests_too_deep_or_refers_to_itself_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"nests deeper than 64|refers to another place"):
        compose_yaml(text)
