"""What our loggers say, as lines for people and as JSON with the runs that it is said in."""

import io
import json
import logging

import pytest
from prefect import flow, task

from mucs import InputError
from tasks.lines import FORMAT, Json, Text, formatter


@pytest.fixture
def lines(monkeypatch):
    """What is said through a handler, in the form that is chosen."""
    log, stream = logging.getLogger("mucs.lines"), io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "propagate", False)
    log.setLevel(logging.INFO)

    def said(form):
        monkeypatch.setenv(FORMAT, form)
        handler.setFormatter(formatter())
        return log, lambda: stream.getvalue().splitlines()

    return said


def test_a_person_reads_minutes_and_what_was_said(lines):
    log, said = lines("")
    log.info("attribute 1 of 3: %s\x1b[2J", "g0")
    (line,) = said()
    assert line.endswith(r"attribute 1 of 3: g0\x1b[2J")
    assert isinstance(formatter(), Text)


def test_json_says_when_and_how_grave(lines):
    log, said = lines("json")
    log.warning("a\nb “%s”", "c")
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("it failed")
    first, second = map(json.loads, said())
    assert first == {"at": first["at"], "level": "warning", "logger": "mucs.lines", "message": "a\nb “c”"}
    assert (second["level"], "ValueError: wrong" in second["error"]) == ("error", True)


def test_a_form_that_there_is_not_is_refused(lines):
    with pytest.raises(InputError, match="MUCS_LOG_FORMAT cannot be 'xml'; set it to text or json"):
        lines("xml")


@pytest.mark.heavy
def test_json_names_the_runs_that_it_is_said_in(lines, prefect_server):
    log, said = lines("json")

    @task(task_run_name="attribute {item}")
    def attribute(item):
        log.info("said of %s", item)

    @flow(flow_run_name="generated at v1")
    def audit():
        log.info("begun")
        for each in attribute.map(["g0", "g1"]):
            each.result()

    audit()
    begun, *items = map(json.loads, said())
    assert (begun["flow_run_name"], "task_run" in begun) == ("generated at v1", False)
    assert {(line["message"], line["task_run_name"]) for line in items} == {
        ("said of g0", "attribute g0"),
        ("said of g1", "attribute g1"),
    }
    assert {line["flow_run"] for line in items} == {begun["flow_run"]}
    assert len({line["task_run"] for line in items}) == 2
    assert isinstance(formatter(), Json)
