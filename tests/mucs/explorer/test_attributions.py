"""Pictures over HTTP: how they are taken in and refused, and how what becomes of them is told; whoever attributes them stands in."""

import html
import io
import json
import re
import shutil
import threading
import time

import anyio
import pytest
from PIL import Image
from starlette.testclient import TestClient

from mucs import InputError
from mucs.explorer import streams, upload
from mucs.explorer.access import Access
from mucs.explorer.attributions import NOBODY, STEPS
from mucs.explorer.tokens import Tokens
from mucs.images.request import MOST_BYTES, Request
from mucs.ledger import Ledger
from mucs.ledger.asked import Asked, Busy, Intake, Unavailable, provisional
from tests.factories import estimate, load, staged_run
from tests.mucs.explorer.conftest import explorer

pytestmark = pytest.mark.heavy

POST = "/v1/attributions"


def drawn(grey: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (8, 8), grey).save(content, "PNG")
    return content.getvalue()


BEFORE = Request(drawn(1), label="1")  # which the ledger has an answer to


class StandIn:
    """Attributes nothing: it says what a test has it say."""

    def __init__(self):
        self.taken, self.now, self.fault, self.estimate = [], None, None, []

    def intake(self):
        if self.fault:
            raise self.fault
        return Intake(8, 8, 2, False, 3, 17)

    def submit(self, request):
        if self.fault:
            raise self.fault
        self.taken.append(request)
        self.now = Asked(request.address, "waiting", before=2)
        return self.now

    def state(self, address):
        if self.fault:
            raise self.fault
        return self.now if self.now and self.now.address == address else None

    def provisional(self, address):
        return self.estimate


def is_part(part, whole):
    return part.items() <= whole.items()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of the ledger, to be copied."""
    folder = tmp_path_factory.mktemp("first")
    load(folder / "ledger", staged_run(folder, generated=1, sent=(BEFORE,)))
    return folder


@pytest.fixture
def ledger(first, tmp_path):
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return tmp_path / "ledger"


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def client(ledger, stand_in):
    app, snapshots = explorer(ledger, stand_in)
    with TestClient(app, base_url="http://127.0.0.1:8787", follow_redirects=False) as made:
        yield made
    snapshots.close()


def post(client, picture, path=POST, headers=None, **said):
    return client.post(path, files={"picture": picture}, data=said, headers=headers)


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("analyst", True)])
def test_who_may_send_pictures_sees_the_form_and_others_are_told_who_may(ledger, stand_in, tmp_path, role, may):
    tokens = Tokens(tmp_path / "tokens")
    own = {"authorization": f"Bearer {tokens.add(role, role, None, 1)[0]}"}
    app, snapshots = explorer(ledger, stand_in, Access(tokens))
    with TestClient(app, base_url="http://127.0.0.1:8787", headers=own) as client:
        page = client.get("/attribute")
        assert ('type="file"' in page.text, "Pictures are sent by those of the role analyst" in page.text) == (
            may,
            not may,
        )
        assert client.post("/attribute", data={"a": "b"}).status_code == (415 if may else 403)
    snapshots.close()


def test_a_picture_is_taken_followed_and_answered(client, stand_in, ledger, tmp_path):
    request = Request(drawn(2), label="1", seed="7")
    sent = post(client, request.picture, **{"class": "1", "seed": "7"})
    assert sent.status_code == 202
    assert sent.headers["location"] == f"{POST}/{request.address}"
    assert is_part({"state": "waiting", "before": 2, "said": "It waits. Pictures that come first: 2."}, sent.json())
    assert [each.row for each in stand_in.taken] == [request.row]
    assert client.get(sent.headers["location"]).json() == sent.json()
    page = client.get(sent.json()["page"])
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Pictures that come first: 2." in page.text
    assert (
        client.get(re.search(r'src="(/static/[a-z]+\.js)"', page.text)[1])
        .headers["content-type"]
        .startswith("text/javascript")
    )

    heard = []
    follower = threading.Thread(target=lambda: heard.append(client.get(sent.json()["events"])))
    follower.start()
    time.sleep(1)
    stand_in.now = Asked(request.address, "running", step="scoring", done=3, of=9)
    time.sleep(1)
    stand_in.fault = Unavailable("Prefect does not answer.")  # for a while, which ends nothing
    time.sleep(1)
    stand_in.fault, stand_in.now = None, Asked(request.address, "done", run="f" * 64, generated="other")
    time.sleep(1)
    assert is_part({"state": "running", "step": "show", "answer": None}, client.get(sent.headers["location"]).json())
    load(ledger, staged_run(tmp_path, generated=1, sent=(request,)))
    follower.join(20)
    (stream,) = heard
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(data) for data in re.findall(r"^event: change\ndata: (.*)\n\n", stream.text, re.M)]
    assert [(each["state"], each["step"], each["done"]) for each in events] == [
        ("waiting", None, None),
        ("running", "scoring", 3),
        ("running", "show", None),
        ("done", None, None),
    ]
    done = client.get(sent.headers["location"]).json()
    assert done == events[-1] | {"provisional": None}
    assert client.get(done["answer"]).json()["facts"]["id"] == request.row["id"]
    assert client.get(done["answer_page"]).status_code == 200
    assert client.get(done["page"]).headers["location"] == done["answer_page"]


def test_what_was_asked_before_is_answered_at_once_whoever_is_there(client, stand_in, ledger):
    stand_in.fault = Unavailable("Prefect does not answer.")
    app, snapshots = explorer(ledger)
    alone = TestClient(app, base_url="http://127.0.0.1:8787")
    for each in (client, alone):
        found = post(each, BEFORE.picture, **{"class": "1"})
        assert found.status_code == 200
        assert is_part({"state": "done", "generated": BEFORE.row["id"]}, found.json())
        assert each.get(found.headers["location"]).json() == found.json()
        assert post(each, BEFORE.picture, **{"class": "0"}).status_code == 503  # another request
    snapshots.close()


@pytest.mark.parametrize("pictures", [8, 0])
def test_what_the_index_said_is_shown_as_provisional_while_it_waits(client, stand_in, ledger, pictures):
    request = Request(drawn(3), label="1")
    before = post(client, request.picture, **{"class": "1"}).json()
    assert before["provisional"] is None
    assert 'id="estimate"' not in client.get(before["page"]).text
    estimate(ledger, request.row, pictures=pictures)
    with Ledger.open(ledger) as opened:  # which the snapshot does not know yet
        stand_in.estimate = provisional(opened, request.address)
    told = client.get(before["self"]).json()["provisional"]
    assert (told["status"], told["fitted_to"]) == ("provisional", pictures)
    assert told["about"].startswith(
        "An index estimated this before anything was measured. It is no evidence, and is never paid."
    )
    assert [each["training"] for each in told["edges"]] == ["t0", "t1", "t2"]
    assert [each["predicted"] for each in told["edges"]] == ([0.5, 0.4, 0.3] if pictures else [None] * 3)
    page = client.get(before["page"]).text
    shown = html.unescape(re.sub("<[^>]+>", "", page[page.index('id="estimate"') :]))
    assert "Provisional. An index estimated this" in shown
    if pictures:
        assert "fitted to 8 measured pictures" in shown
        assert "a rank correlation of 0.62" in shown
        assert "about 0.50" in shown
    else:
        assert "Too few pictures were measured to fit the index" in shown
        assert "likeness 0.90" in shown


def test_a_measured_item_shows_what_was_estimated_beside_what_was_measured_and_no_share_knows_of_it(ledger):
    with Ledger.open(ledger) as opened:
        before = [opened.ask(name) for name in ("holders", "items")]
    estimate(ledger, BEFORE.row)
    with Ledger.open(ledger) as opened:
        assert before == [opened.ask(name) for name in ("holders", "items")]
        measured = {row["training"]: row["rank"] for row in opened.ask("why", generated=BEFORE.row["id"])}
    app, snapshots = explorer(ledger)
    with TestClient(app, base_url="http://127.0.0.1:8787") as client:
        found = client.get(f"/generated/{BEFORE.row['id']}.json").json()["views"]["provisional"]
        assert [(row["training"], row["measured_rank"]) for row in found["rows"]] == [
            (f"t{k}", measured.get(f"t{k}")) for k in range(3)
        ]
        page = client.get(f"/generated/{BEFORE.row['id']}").text
        assert "It is no evidence, and is never paid." in page
        assert client.get(f"/questions/provisional?generated={BEFORE.row['id']}").status_code == 200
    snapshots.close()


def test_a_form_and_a_file_alone_are_the_same_request(client, stand_in):
    picture = drawn(3)
    for words in ({}, {"class": "1"}, {"class": "0", "seed": "ü 5"}, {"prompt": "a cat"}):
        address = post(client, picture, **words).json()["address"]
        alone = client.post(POST, params=words, content=picture, headers={"content-type": "image/png"})
        assert (alone.status_code, alone.json()["address"]) == (202, address)
    request = stand_in.taken[-1]
    assert (request.picture, request.prompt, request.label) == (picture, "a cat", None)
    page = post(client, picture, "/attribute", **{"class": "", "seed": ""})
    assert (page.status_code, page.headers["location"]) == (303, f"/attributions/{stand_in.taken[-1].address}")
    assert stand_in.taken[-1].address == Request(picture).address


FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("status", "words", "given"),
    [
        (400, "no file called picture", {"data": {"class": "1"}, "files": {"other": b"x"}}),
        (400, "curl sends one with -F picture=@FILE", {"files": {"class": (None, "1"), "picture": (None, "x.png")}}),
        (400, "no 'label'", {"files": {"picture": b"x"}, "data": {"label": "1"}}),
        (400, "no 'label'", {"content": b"x", "params": {"label": "1"}, "headers": {"content-type": "image/png"}}),
        (400, "no picture in what was sent", {"files": {"picture": b""}}),
        (400, "cannot be read", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (400, "no file called picture", {"content": b"", "headers": FORM}),
        (400, "no file called picture", {"content": b"--x\r\nnothing", "headers": FORM}),
        (400, "Too many files", {"files": {"picture": b"x", "class": b"1"}}),
        (400, "Too many files", {"files": [("picture", b"x"), ("picture", b"y")]}),
        (400, "Too many fields", {"files": {"picture": b"x"}, "data": {str(k): "v" for k in range(9)}}),
        (400, "exceeded maximum size", {"files": {"picture": b"x"}, "data": {"seed": "7" * 70_000}}),
        (415, "multipart/form-data", {"content": b"x", "headers": {"content-type": "text/plain"}}),
        (415, "multipart/form-data", {"content": b"x"}),
        (415, "multipart/form-data", {"data": {"picture": "x"}}),
        (413, "at most 20,000,000", {"files": {"picture": bytes(MOST_BYTES + 1)}}),
        (413, "too large", {"content": bytes(MOST_BYTES + 70_000), "headers": {"content-type": "image/png"}}),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(client, stand_in, status, words, given):
    for path in (POST, "/attribute"):
        found = client.post(path, **given)
        assert (found.status_code, words in html.unescape(found.text)) == (status, True), found.text
    assert stand_in.taken == []


async def exchange(client, method, path, kind, receive):
    """What the application sends in answer: the status, and then the pieces of the body."""
    said, headers = [], [(b"host", b"127.0.0.1"), (b"content-type", kind.encode())]

    async def send(message):
        said.append(message["status"] if "status" in message else message["body"].decode())

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "scheme": "http"}
    await client.app(scope | {"query_string": b"", "headers": headers}, receive, send)
    return said


@pytest.mark.parametrize("kind", ["image/png", FORM["content-type"]])
def test_a_body_without_a_length_is_read_no_further_than_its_bound(client, stand_in, kind):
    begun = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": begun if len(read) == 1 else bytes(1_000_000), "more_body": True}

    status, words = anyio.run(exchange, client, "POST", POST, kind, receive)
    assert (status, "too large" in words, len(read), stand_in.taken) == (413, True, 22, [])


def test_a_full_queue_and_a_server_that_is_away_say_when_to_come_again(client, stand_in):
    stand_in.fault = Busy("100 pictures wait already; send it again in 37 seconds.", 37)
    for path in (POST, "/attribute"):
        found = post(client, drawn(4), path)
        assert (found.status_code, found.headers["retry-after"]) == (429, "37")
        assert "send it again in 37 seconds" in found.text
    stand_in.fault = Unavailable("Prefect does not answer at http://127.0.0.1:9/api; see whether its server runs.")
    for found in (
        post(client, drawn(4)),
        client.get(f"{POST}/{Request(drawn(4)).address}"),
        client.get(f"{POST}/{Request(drawn(4)).address}/events"),
        client.get(f"/attributions/{Request(drawn(4)).address}"),
        client.get("/attribute"),
    ):
        assert (found.status_code, "see whether its server runs" in found.text) == (503, True)
    stand_in.fault = InputError("The picture has <b>9</b> × 9 pixels; send it in 8 × 8.")
    assert post(client, drawn(4)).json() == {"error": str(stand_in.fault)}
    page = post(client, drawn(4), "/attribute")
    assert (page.status_code, "<b>" in page.text, "Back to the form" in page.text) == (400, False, True)


def test_where_nobody_attributes_the_form_says_how_to_begin(ledger):
    app, snapshots = explorer(ledger)
    client = TestClient(app, base_url="http://127.0.0.1:8787")
    assert post(client, drawn(5)).json() == {"error": NOBODY}
    page = client.get("/attribute")
    assert (page.status_code, NOBODY in html.unescape(page.text), 'action="/attribute"' in page.text) == (
        200,
        True,
        False,
    )
    assert "/attribute" not in client.get("/").text
    snapshots.close()


def test_the_form_says_what_the_model_takes(client, stand_in):
    assert client.get("/").text.count('href="/attribute"') == 2
    page = client.get("/attribute").text
    for words in ('max="1"', "8 × 8 pixels", "at most 20 MB", "17 seconds", "come first are done: 3 now"):
        assert words in page
    assert 'name="prompt"' not in page
    # with no-referrer, browsers send such a form with `Origin: null`, which is refused
    assert client.get("/attribute").headers["referrer-policy"] == "same-origin"
    assert client.get("/attribute.json").json()["facts"]["intake"]["classes"] == 2


def test_what_nobody_sent_is_not_there_and_what_failed_says_why(client, stand_in):
    for name in ("f" * 64, "F" * 64, "%2e%2e", "<b>", "a" * 3000):
        for path in (f"{POST}/{name}", f"{POST}/{name}/events", f"/attributions/{name}"):
            found = client.get(path)
            assert (found.status_code, "<b>" in found.text and "html" in found.headers["content-type"]) == (404, False)
    stand_in.now = Asked("e" * 64, "failed", reason="The object <script>alert(1)</script> \u202e is missing.")
    page = client.get("/attributions/" + "e" * 64).text
    assert "The object &lt;script&gt;alert(1)&lt;/script&gt; \\u202e is missing." in page
    assert ("<script>" in page, "attribution.js" in page) == (False, False)
    events = client.get(f"{POST}/{'e' * 64}/events").text
    assert json.loads(events.partition("data: ")[2])["state"] == "failed"


def test_so_many_follow_and_send_at_once_and_no_more(client, stand_in, monkeypatch):
    monkeypatch.setattr(streams, "MOST", 1)
    stand_in.now = Asked("e" * 64, "running", step="scoring")
    events = f"{POST}/{'e' * 64}/events"
    first = threading.Thread(target=lambda: client.get(events))
    first.start()
    time.sleep(1)
    second = client.get(events)
    assert client.head(events).status_code == 429
    assert (second.status_code, second.headers["retry-after"]) == (429, "10")
    stand_in.now = Asked("e" * 64, "failed", reason="No.")
    first.join(20)
    assert client.get(events).status_code == 200
    stand_in.now = None
    assert [client.get(events).status_code for _ in range(3)] == [404] * 3  # which take no place
    monkeypatch.setattr(upload, "AT_ONCE", 0)
    assert post(client, drawn(6)).status_code == 429


def test_a_reader_that_goes_away_makes_room_and_silence_is_broken(client, stand_in, monkeypatch):
    monkeypatch.setattr(streams, "MOST", 1)
    monkeypatch.setattr(streams, "HEARTBEAT", 0.6)
    stand_in.now = Asked("e" * 64, "running", step="scoring")
    head = client.head(f"{POST}/{'e' * 64}/events")  # which follows nothing, and takes no place
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")

    async def receive():
        await anyio.sleep(2)
        return {"type": "http.disconnect"}

    for _ in range(2):
        status, first, second, *_ = anyio.run(exchange, client, "GET", f"{POST}/{'e' * 64}/events", "", receive)
        assert (status, second) == (200, ": nothing new\n\n")
        assert first.startswith("event: change\ndata: {")


def test_who_sends_slowly_or_goes_away_keeps_no_place(client, monkeypatch):
    monkeypatch.setattr(upload, "AT_ONCE", 1)
    monkeypatch.setattr(upload, "SECONDS", 0.5)
    part = {"type": "http.request", "body": b"x", "more_body": True}

    def receiving(*first):
        messages = iter(first)

        async def receive():
            found = next(messages, None)
            if found is None:
                await anyio.sleep(60)
            return found

        return receive

    status, words = anyio.run(exchange, client, "POST", POST, "image/png", receiving(part))
    assert (status, "did not come in" in words) == (400, True)
    gone = receiving(part, {"type": "http.disconnect"})
    status, words = anyio.run(exchange, client, "POST", POST, "image/png", gone)
    assert (status, "ended before" in words) == (400, True)
    assert post(client, drawn(7)).status_code == 202


def test_each_step_has_a_sentence(client, stand_in):
    for step, sentence in {**STEPS, "another": "It is being attributed."}.items():
        stand_in.now = Asked("e" * 64, "running", step=step)
        assert client.get(f"{POST}/{'e' * 64}").json()["said"] == sentence


def test_the_description_has_a_command_that_works(client):
    said = client.get("/v1/openapi.json").json()["paths"][POST]["post"]
    command = said["x-codeSamples"][0]["source"]
    assert command in html.unescape(client.get("/docs").text)
    fields = re.findall(r"-F (\w+)=", command)
    assert set(fields) <= said["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"].keys()
    assert set(said["responses"]) >= {"200", "202", "400", "413", "415", "429", "503"}
