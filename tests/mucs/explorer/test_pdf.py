"""A rights holder's document as PDF, read back."""

import io
import re
from dataclasses import replace

import pytest
from pypdf import PdfReader

from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer.address import address
from mucs.explorer.page import Asked
from mucs.explorer.pages.statements import document
from mucs.explorer.pictures import thumbnail
from mucs.explorer.roles import Person
from mucs.explorer.snapshot import take
from mucs.ledger import Ledger
from mucs.text import for_terminal
from tests.factories import log_of
from tests.mucs.explorer.conftest import HOLDERS
from tests.mucs.explorer.test_pages import statement

pytestmark = pytest.mark.heavy


def read(pdf):
    """The text of all pages, with one blank between words, and how many pictures there are."""
    reader = PdfReader(io.BytesIO(pdf))
    text = " ".join(page.extract_text() for page in reader.pages)
    return " ".join(text.split()), sum(len(page.images) for page in reader.pages)


def test_it_says_what_the_json_says_with_a_picture_of_each_work_and_nobody_else(client):
    place = "statements", statement(client), "holders", "Ada"
    answer = client.get(address(*place, form="pdf"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    text, pictures = read(answer.content)
    facts = (said := client.get(address(*place, form="json")).json())["facts"]
    for amount in ("carried_in", "net", "difference", "adjustments", "paid", "carried_out"):
        assert f" {facts['account'][amount]} " in text, amount
    for sentence in (*facts["owed"], *(each["why"] for each in facts["why"])):
        assert sentence in text
    for row in said["views"]["lines"]["rows"]:
        assert re.search(rf"\b{row['line']} {row['right_type']} {row['basis']} {row['works']} ", text), row
    works = said["views"]["works"]["rows"]
    assert len(works) > 0
    assert all(f"{for_terminal(row['training'])} line {row['line']}, {row['right_type']}" in text for row in works)
    assert facts["statement"] in text
    assert not re.search(r"\bBen\b|Cleo|HYPERLINK", text)
    assert pictures == len({row["training_sha256"] for row in works})


def test_it_is_the_same_bytes_again_and_has_the_statements_time(client, told):
    name = statement(client)
    made = [pdf_of(told, name, "Ada") for _ in range(2)]
    assert made[0] == made[1] == client.get(address("statements", name, "holders", "Ada", form="pdf")).content
    issued = client.get(address("statements", name, form="json")).json()["facts"]["issued_at"]
    found = PdfReader(io.BytesIO(made[0])).metadata
    assert found.creation_date.isoformat()[:19] == issued[:19]
    assert found.title.startswith("Ada: statement art-2026/2026-10/")


def pdf_of(told, name, holder, **facts):
    """A document that is made anew, with other facts where these are given."""
    with Ledger.open(told / "ledger") as ledger:
        snapshot = take(ledger)
        with snapshot.ledger() as asked:
            page = document(Asked(snapshot, asked, "infinity", Person("Olive", "officer")), name, holder)
        made = replace(page, facts=page.facts | facts)
        return page.pdf.func(made, lambda sha256: thumbnail(snapshot, Thumbnails(log_of(told / "ledger")), sha256))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Emily Jäger-Øster", "Emily Jäger-Øster"),
        ("Ελένη Жукова", "Ελένη Жукова"),
        ("山田", "<U+5C71><U+7530>"),
        ("page \ue000", "page <U+E000>"),
        ("right\u202egnp", r"right\u202egnp"),
        ("<b>&amp;{nb}", "<b>&amp;{nb}"),
    ],
)
def test_a_name_in_any_script_is_shown_or_told_by_its_code_points(client, told, name, shown):
    text, _ = read(pdf_of(told, statement(client), "Ada", rights_holder=name))
    assert shown in text


def test_hostile_names_of_holders_and_works_are_text(client):
    name = statement(client)
    accounts = client.get(address("statements", name, form="json")).json()["views"]["accounts"]["rows"]
    held = [row["rights_holder"] for row in accounts if row["rights_holder"] in HOLDERS]
    assert held
    for holder in held:
        text, _ = read(client.get(address("statements", name, "holders", holder, form="pdf")).content)
        assert holder in text


def test_other_pages_have_no_pdf(client):
    answer = client.get("/holders.pdf")
    assert (answer.status_code, "no PDF" in answer.text) == (404, True)
