"""Answers are made once, and given again as long as nothing has changed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import Response

from mucs.explorer.answers import Answers

pytestmark = pytest.mark.heavy


def asking(answers, etag, make):
    request = Request({"type": "http", "headers": []})
    return anyio.run(answers.answer, request, etag, make)


def test_those_who_ask_at_once_get_one_answer():
    answers, made, going = Answers(), [], threading.Barrier(2)

    def make():
        going.wait(10)
        made.append(1)
        return Response(b"x")

    with ThreadPoolExecutor(4) as readers:
        asked = [readers.submit(asking, answers, '"a"', make) for _ in range(4)]
        going.wait(10)
        found = [each.result(10) for each in asked]
    assert len(made) == 1
    assert all(each is found[0] for each in found)


def test_what_fails_is_tried_again():
    answers, made = Answers(), iter([ValueError("no"), Response(b"x")])

    def make():
        found = next(made)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(ValueError, match="no"):
        asking(answers, '"a"', make)
    assert asking(answers, '"a"', make).body == b"x"


def test_those_that_were_given_longest_ago_go_first():
    answers = Answers(most=250)
    for name in "abc":
        asking(answers, name, lambda: Response(100 * b"x"))
    again = [asking(answers, name, lambda: Response(b"y")).body for name in "cba"]
    assert again == [100 * b"x", 100 * b"x", b"y"]


def test_what_is_no_answer_is_not_kept():
    answers = Answers()
    assert asking(answers, "a", lambda: Response(b"x", 503)).status_code == 503
    assert asking(answers, "a", lambda: Response(b"y")).body == b"y"


def test_a_page_is_the_same_the_second_time_and_another_in_another_form(client):
    first, second = client.get("/holders"), client.get("/holders")
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert client.get("/holders.json").headers["etag"] != first.headers["etag"]
    assert client.head("/holders").headers["etag"] == first.headers["etag"]
