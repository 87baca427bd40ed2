"""Attribution on demand on real parts: what is sent waits at Prefect, a warm worker takes it, and the ledger answers."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator

import httpx
import pytest
from PIL import Image
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker

from flows.audit import audit
from flows.on_demand import OnDemand, tagged
from mucs import InputError
from mucs.explorer.attributions import STEPS
from mucs.images.request import Request
from mucs.ledger.asked import Asked, Busy, Unavailable
from tests import chromium
from tests.conftest import draw
from tests.flows.test_audit import SETTINGS, asked
from tests.mucs.explorer.served import serving

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.heavy]


def sent(seed: int, label: str = "1", size: int = 8) -> Request:
    """A picture that nobody sent before."""
    content = io.BytesIO()
    Image.fromarray(draw(seed, int(label))).resize((size, size)).save(content, "PNG")
    return Request(content.getvalue(), label=label)


@contextlib.contextmanager
def not_for_ever():
    """What never becomes anything is an error."""

    def stop(*_):
        raise TimeoutError

    kept = signal.signal(signal.SIGALRM, stop)
    signal.alarm(600)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, kept)


@pytest.fixture(autouse=True)
def no_waiting_for_ever():
    with not_for_ever():
        yield


@pytest.fixture(scope="module")
def folder(registry, prefect_server, tmp_path_factory):
    """A folder with a ledger and a log, and a deployment that attributes into it with so many steps that one can be killed."""
    folder = tmp_path_factory.mktemp("on demand")
    given = {
        "registry": str(registry),
        "revision": "v1",
        "log": str(folder / "log"),
        "licences": ["CC-BY-4.0"],
        "ledger": str(folder / "ledger"),
        "reports": str(folder / "reports"),
        "cache": str(folder / "cache"),
        "settings": SETTINGS.record() | {"max_steps": 150, "learning_rate": 1e-4},
        "device": "cpu",
    }
    with get_client(sync_client=True) as prefect:
        template = ProcessWorker.get_default_base_job_template()
        prefect.create_work_pool(WorkPoolCreate(name="audits", type="process", base_job_template=template))
        prefect.create_deployment(
            prefect.create_flow(audit),
            "on-demand",
            entrypoint="flows.audit.audit",
            work_pool_name="audits",
            work_queue_name="on-demand",
            parameters=given,
        )
    return folder


@pytest.fixture(scope="module")
def worker(folder):
    """Starts a warm worker; all are stopped in the end."""
    processes = []

    def start() -> subprocess.Popen:
        environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
        with (folder / "worker.log").open("ab") as log:
            words = [sys.executable, "-m", "flows.cli", "worker"]
            processes.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_what_is_refused_or_too_much_is_said_at_once_and_nothing_of_it_is_kept(folder):
    with pytest.raises(InputError, match="has 9 × 9 pixels, and the model takes 8 × 8 pixels"):
        OnDemand().submit(sent(900, size=9))
    with pytest.raises(Busy, match=r"send it again in \d+ seconds") as busy:
        OnDemand(queue=0).submit(sent(900))
    assert busy.value.seconds >= 1
    assert not (folder / "log").exists()
    assert OnDemand().state(sent(900).address) is None


def test_without_a_deployment_or_a_server_it_is_unavailable(folder):
    with pytest.raises(Unavailable, match="no deployment audit/other"):
        OnDemand("audit/other").submit(sent(900))
    for url, said in (("http://127.0.0.1:9/api", "does not answer"), (None, "needs a Prefect server")):
        known = OnDemand()
        assert known.state(sent(900).address) is None  # which reads the deployment
        with temporary_settings({PREFECT_API_URL: url}), pytest.raises(Unavailable, match=said):
            known.state(sent(900).address)


@pytest.mark.slow
def test_a_picture_is_attributed_once_by_a_warm_worker_that_is_killed_meanwhile(folder, worker):
    first, second = sent(901), sent(902)
    found = []
    asking = [threading.Thread(target=lambda: found.append(OnDemand().submit(first))) for _ in range(3)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert found == [Asked(first.address, "waiting", before=0)] * 3
    assert OnDemand().submit(second) == Asked(second.address, "waiting", before=1)
    with get_client(sync_client=True) as prefect:
        assert len(prefect.read_flow_runs()) >= 2

    process, killed, changes = worker(), False, []
    for change in OnDemand().changes(first.address):
        changes.append(change)
        if change.step == "unlearning" and not killed:
            process.kill()
            process.wait()
            killed = bool(worker())
    assert changes[-1].state == "done"
    assert {"waiting", "running", "done"} == {each.state for each in changes}
    assert any(each.step == "unlearning" and each.done and each.of == 150 for each in changes)
    log = (folder / "worker.log").read_text()
    assert "is taken up again" in log
    assert "the model and data of on-demand are loaded" in log

    *_, last = OnDemand().changes(second.address)
    assert last.state == "done"
    assert asked(folder / "ledger", "SELECT run FROM lineage WHERE rank = 1 ORDER BY run_id") == [
        (changes[-1].run,),
        (last.run,),
    ]
    assert OnDemand().submit(first) == changes[-1]
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(Unavailable):
        OnDemand().submit(first)


@pytest.mark.slow
def test_what_fails_says_why_and_may_be_sent_again(folder, worker):
    """Its batch is gone from the log when a worker comes to it."""
    worker()
    request = sent(903)
    objects = {path.name for path in (folder / "log/objects").iterdir()}
    assert OnDemand().submit(request).state == "waiting"
    (batch,) = [path for path in (folder / "log/objects").iterdir() if path.name not in objects]
    batch.unlink()
    *_, last = OnDemand().changes(request.address)
    assert last.state == "failed"
    assert last.reason == f"The object {batch.name} of the log {folder / 'log'} is missing; restore it from a copy."
    assert OnDemand().submit(request).state == "waiting"
    *_, last = OnDemand().changes(request.address)
    assert last.state == "done"


@pytest.fixture(scope="module")
def explorer(folder, worker):
    """The address of an explorer that shows the ledger and takes pictures, as a person starts it."""
    worker()
    if not (folder / "ledger").exists():
        with not_for_ever():
            for _ in OnDemand().changes(OnDemand().submit(sent(904)).address):
                pass
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
        with serving(folder, folder / "explorer.log") as served:
            yield served.address
            assert "Traceback" not in served.said()


# Keeps what the page tells, beyond the page: each sentence, with how much of how much is done.
TOLD = """new MutationObserver(() => {
    const said = document.getElementById("said"), bar = document.getElementById("bar");
    if (!said || !bar) return;
    const told = JSON.parse(sessionStorage.getItem("told") ?? "[]");
    sessionStorage.setItem("told", JSON.stringify([...told, [said.textContent, bar.value, bar.max]]));
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["value"] })"""


@pytest.mark.slow
@chromium.needed
def test_a_picture_is_sent_in_chromium_followed_and_answered(folder, explorer, tmp_path):
    request, file = sent(908), tmp_path / "drawing.png"
    file.write_bytes(request.picture)
    with chromium.launched() as browser, chromium.opened(browser, explorer) as (page, faults):
        page.add_init_script(TOLD)
        page.goto("/")
        page.get_by_role("link", name="Attribute", exact=True).click()
        page.wait_for_url("**/attribute")
        assert chromium.violations(page) == []
        page.get_by_label("Picture").set_input_files(file)
        page.get_by_label("Class").fill("1")
        page.get_by_role("button", name="Attribute it").click()
        page.wait_for_url(f"**/attributions/{request.address}")
        assert chromium.violations(page) == []
        page.wait_for_url("**/generated/*", timeout=500_000)
        told = page.evaluate("JSON.parse(sessionStorage.getItem('told'))")
        forgotten = [done for said, done, of in told if said == STEPS["unlearning"] and of == 150]
        assert forgotten == sorted(forgotten)
        assert len(set(forgotten)) > 1  # the bar moves while it forgets
        answer = page.url
        facts = httpx.get(answer.replace("/generated/", "/v1/generated/")).json()["facts"]
        assert (facts["run"] is not None, page.get_by_role("heading", level=1).inner_text()) == (True, facts["id"])
        assert f"Verdict: {facts['verdict']}." in page.locator("main").inner_text()
        assert page.get_by_alt_text("the generated image").evaluate("each => each.naturalWidth") > 0
        assert chromium.violations(page) == []

        for content in (request.picture, sent(908, size=9).picture):
            file.write_bytes(content)
            page.goto("/attribute")
            page.get_by_label("Picture").set_input_files(file)
            page.get_by_label("Class").fill("1")
            page.keyboard.press("Enter")
            if content == request.picture:  # it is known already
                page.wait_for_url(answer)
        page.get_by_text("has 9 × 9 pixels, and the model takes 8 × 8 pixels").wait_for()
        assert chromium.violations(page) == []
        assert faults == []


def followed(address: str) -> Generator[dict]:
    """What a stream of the explorer tells, until it ends."""
    with httpx.stream("GET", address, timeout=120) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_picture_is_sent_by_curl_followed_and_answered(folder, explorer, tmp_path):
    request, file = sent(905), tmp_path / "drawing.png"
    file.write_bytes(request.picture)
    command = ["curl", "-s", "-w", "\n%{http_code}", "-F", f"picture=@{file}", "-F", "class=1"]

    def post() -> tuple[dict, str]:
        done = subprocess.run([*command, f"{explorer}/v1/attributions"], capture_output=True, text=True, check=True)
        body, _, status = done.stdout.rpartition("\n")
        return json.loads(body), status

    found, status = post()
    assert (status, found["address"]) == ("202", request.address)
    page = httpx.get(explorer + found["page"]).text
    assert found["events"] in page
    told = list(followed(explorer + found["events"]))
    assert told[-1]["state"] == "done"
    assert any(each["step"] == "unlearning" and each["of"] == 150 for each in told)
    answer = httpx.get(explorer + told[-1]["answer"]).json()
    assert answer["facts"]["run"] == told[-1]["run"]
    assert len(answer["rows"]) == 12
    assert httpx.get(explorer + told[-1]["answer_page"]).status_code == 200
    assert asked(folder / "ledger", f"SELECT count(*) FROM generated_items WHERE id = '{answer['facts']['id']}'") == [
        (1,)
    ]
    assert post() == (told[-1] | {"provisional": None}, "200")
    with get_client(sync_client=True) as prefect:
        assert len(prefect.read_flow_runs(flow_run_filter=tagged(request.address))) == 1

    form = {"data": {"class": "1"}, "files": {"picture": sent(905, size=9).picture}}
    refused = httpx.post(f"{explorer}/attribute", **form)
    assert (refused.status_code, "has 9 × 9 pixels, and the model takes 8 × 8 pixels" in refused.text) == (400, True)
    last = httpx.post(f"{explorer}/attribute", data={"class": "1"}, files={"picture": sent(906).picture})
    assert (last.status_code, last.headers["location"]) == (303, f"/attributions/{sent(906).address}")
    stream = followed(f"{explorer}/v1/attributions/{sent(906).address}/events")
    assert next(stream)["state"] in ("waiting", "running")
    stream.close()


def test_an_explorer_of_another_ledger_takes_no_pictures(folder, worker, tmp_path):
    with pytest.raises(Unavailable, match="into another ledger"):
        OnDemand(ledger=str(tmp_path / "another")).submit(sent(907))
    assert OnDemand(ledger=str(folder / "ledger")).intake().classes == 2
