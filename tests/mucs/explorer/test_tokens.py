"""Tokens are kept as digests, found whatever is shown, and end when they are ended or expire."""

import datetime
import json
import stat
import threading
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mucs import InputError
from mucs.explorer.tokens import FORM, Tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return Tokens(tmp_path_factory.mktemp("tokens") / "tokens")


@pytest.fixture(scope="module")
def ann(tokens):
    """A token, and what the file says of it."""
    return tokens.add("Ann", "analyst", None, 30)


def test_a_token_is_found_and_its_file_has_its_digest_alone(tokens, ann):
    assert FORM.fullmatch(ann[0])
    assert tokens.find(ann[0]) == ann[1]
    assert (ann[1].name, ann[1].role, ann[1].holder) == ("Ann", "analyst", None)
    assert ann[0][5:] not in tokens.path.read_text()
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    assert Tokens(tokens.path).find(ann[0]) == ann[1]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1")), st.from_regex(FORM, fullmatch=True)))
def test_nothing_else_is_taken_for_one(tokens, ann, said):
    assert tokens.find(said) is None
    for near in (ann[0] + said, said + ann[0]):
        assert (tokens.find(near) is None) == (near != ann[0])


def test_an_ended_one_and_an_expired_one_count_no_longer(tmp_path):
    tokens, other = Tokens(tmp_path / "tokens"), Tokens(tmp_path / "tokens")
    ended, first = tokens.add("Ann", "viewer", None, 1)
    kept, second = tokens.add("", "holder", "Ada  Lovelace", 1)
    assert other.find(ended) == first == other.called(first.id)
    assert (second.name, second.holder) == ("Ada Lovelace", "Ada Lovelace")
    assert tokens.end(first.id) == first
    assert (other.find(ended), other.called(first.id)) == (None, None)
    assert other.find(kept) == second
    past = replace(second, until=(datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)).isoformat())
    (tmp_path / "tokens").write_text(json.dumps({"tokens": [asdict(past)]}))
    assert (other.find(kept), other.called(second.id), other.all()) == (None, None, [past])


def test_many_who_write_lose_nothing(tmp_path):
    writers = [threading.Thread(target=Tokens(tmp_path / "t").add, args=(f"n{k}", "viewer", None, 1)) for k in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert {token.name for token in Tokens(tmp_path / "t").all()} == {f"n{k}" for k in range(8)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("Ann", "boss", None, 1), "There is no role 'boss'"),
        (("Ann", "analist", None, 1), "did you mean 'analyst'"),
        (("Ann", "holder", None, 1), "needs --holder"),
        (("Ann", "viewer", "Ada", 1), "no other role takes it"),
        (("", "viewer", None, 1), "A name is empty"),
        (("\x1b[2J", "viewer", None, 1), "cannot be shown"),
        (("Ann", "holder", "\u202eadA", 1), "cannot be shown"),
        (("Ann", "viewer", None, 0), "cannot count for 0 days"),
        (("Ann", "viewer", None, 10**9), "cannot count for 1000000000 days"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        Tokens(tmp_path / "tokens").add(*given)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        '{"tokens": 1}',
        '{"tokens": [1]}',
        '{"tokens": [{}]}',
        '{"tokens": [{"id": "1"}], "tokens": []}',
        "\x00",
    ],
)
def test_a_file_that_is_none_is_a_sentence(tmp_path, text):
    (tmp_path / "tokens").write_text(text)
    (tmp_path / "tokens").chmod(0o600)
    with pytest.raises(InputError, match="cannot be read as such"):
        Tokens(tmp_path / "tokens").all()
    with pytest.raises(InputError, match="cannot be read as such"):
        Tokens(tmp_path / "tokens").add("Ann", "viewer", None, 1)
    assert (tmp_path / "tokens").read_text() == text


def test_roles_that_were_written_by_hand_are_looked_at(tokens, ann, tmp_path):
    for change in (
        {"role": "boss"},
        {"holder": "Ada"},
        {"role": "holder"},
        {"until": "2099-01-01"},
        {"until": "soon"},
        {"name": 1},
        {"sha256": "é"},
        {"name": "\x1b"},
        {"more": 1},
    ):
        (tmp_path / "tokens").write_text(json.dumps({"tokens": [asdict(ann[1]) | change]}))
        with pytest.raises(InputError, match="cannot be read as such"):
            Tokens(tmp_path / "tokens").all()


def test_a_file_that_others_write_or_that_is_away_lets_nobody_in(tokens, ann, tmp_path):
    path = tmp_path / "tokens"
    path.write_bytes(tokens.path.read_bytes())
    path.chmod(0o600)
    own = Tokens(path)
    assert own.find(ann[0])
    path.chmod(0o622)
    with pytest.raises(InputError, match="Others can write"):
        own.find(ann[0])
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        own.find(ann[0])
