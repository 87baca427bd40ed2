"""A folder and a bucket keep bytes alike: of several under one name the first, whole, however an answer is lost."""

import gc
import multiprocessing
import os
import pickle
import re
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from mucs import InputError
from mucs.evidence.store import Folder
from tasks.bucket import Bucket, check_retention, until_days
from tasks.s3 import Unreachable, client
from tasks.stores import claim, open_store

pytestmark = pytest.mark.heavy


def new_place(bucket: str = "evidence") -> str:
    return f"s3://{bucket}/{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "bucket":
        request.getfixturevalue("s3")
    return open_store(new_place() if request.param == "bucket" else str(tmp_path / "store"))


def test_of_several_bytes_under_one_name_the_first_stay(store):
    assert store.get("a/b") is None
    assert not store.has("a/b")
    assert store.put("a/b", b"first")
    assert store.put("a/b", b"first")
    assert not store.put("a/b", b"other")
    assert not store.put("a/b", b"")
    assert (store.get("a/b"), store.has("a/b")) == (b"first", True)
    claim(store, "a/b", b"first")
    with pytest.raises(InputError, match="a/b holds other bytes; find out who wrote them, and publish elsewhere"):
        claim(store, "a/b", b"other")


def test_a_file_is_put_as_its_bytes_are(store, tmp_path):
    body, path = os.urandom(3 << 20), tmp_path / "bank"
    path.write_bytes(body)
    assert store.put("bank", path)
    assert store.put("bank", path)
    assert store.put("bank", body)
    path.write_bytes(body[:-1])
    assert not store.put("bank", path)
    assert store.get("bank") == body


def test_what_is_fetched_is_a_whole_file_or_none(store, tmp_path):
    path = tmp_path / "fetched" / "bank"
    assert not store.fetch("bank", path)
    assert not path.exists()
    body = os.urandom(3 << 20)
    store.put("bank", body)
    assert store.fetch("bank", path)
    assert path.read_bytes() == body
    store.put("other", b"other")
    assert store.fetch("other", path)
    assert not store.fetch("none", path)
    assert path.read_bytes() == b"other"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_deleted_is_gone_and_its_name_free(store):
    store.delete("log/1")
    store.put("log/1", b"first")
    store.put("log/10", b"tenth")
    store.delete("log/1")
    assert store.get("log/1") is None
    assert list(store.names("")) == ["log/10"]
    assert store.put("log/1", b"other")
    assert store.get("log/1") == b"other"


def test_names_come_in_order_whatever_the_page(store, monkeypatch):
    monkeypatch.setattr("tasks.bucket.PAGE", 4)
    log = [f"log/{k:012}.json" for k in range(11)]
    others = ["items/aé.txt", "items/b+c d.txt", "items/deep/er/x", "items/deep-er", "items/deep.x", "items/~", "z"]
    assert list(store.names("")) == []
    assert list(store.names("log/")) == []
    for name in [*log[::-1], *others]:
        store.put(name, b"x")
    store.check()
    assert list(store.names("log/")) == log
    assert list(store.names("log/00000000000")) == log[:10]
    assert list(store.names("items/b")) == ["items/b+c d.txt"]
    assert list(store.names("nothing")) == []
    assert list(store.names("")) == sorted([*log, *others])


def test_names_are_those_of_a_moment_while_others_write(store):
    for k in range(5):
        store.put(f"a/{k}", b"x")
    with ThreadPoolExecutor(4) as pool:
        written = [pool.submit(store.put, f"{'bcd'[k % 3]}/{k}", b"x") for k in range(90)]
        while not all(each.done() for each in written):
            assert list(store.names("a/")) == [f"a/{k}" for k in range(5)]
            assert len(list(store.names(""))) >= 5
    assert len(list(store.names(""))) == 95


def race(store, name, bodies):
    """Put bytes under one name, all at one time; gives what each was told."""
    barrier = threading.Barrier(len(bodies))

    def put(body):
        barrier.wait()
        return store.put(name, body)

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(put, bodies))


def test_of_eight_writers_those_of_one_body_are_told_so(store):
    bodies = [bytes([k]) * 100_000 for k in (0, 1, 2, 3)] * 2
    for k in range(2):
        told, kept = race(store, f"race/{k}", bodies), store.get(f"race/{k}")
        assert told == [body == kept for body in bodies]
        assert sum(told) == 2


def test_a_store_that_does_not_answer_is_named(tmp_path, s3, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    for place, said in (
        (str(tmp_path / "file"), "is not a folder; give another place for the store"),
        ("s3://nowhere/prefix", r"no such bucket or object; .*the store s3://nowhere/prefix"),
    ):
        with pytest.raises(InputError, match=said):
            open_store(place).check()
    with pytest.raises(InputError, match="is not an S3 address"):
        open_store("gs://bucket")
    with pytest.raises(InputError, match="cannot be used"):
        open_store(str(tmp_path / "file")).put("a/b", b"x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match="refuses the secret key"):
        open_store(new_place()).put("a/b", b"x")


def use(store: Bucket, number: int) -> None:
    for k in range(10):
        assert store.put(f"{number}/{k}", bytes([number, k]))
        assert [store.get(f"{number}/{k}"), store.get("shared")] == [bytes([number, k]), b"shared"]


def test_threads_forks_and_copies_share_a_bucket(s3):
    store = Bucket(new_place())
    store.put("shared", b"shared")  # its connection is open when it is forked
    copy = pickle.loads(pickle.dumps(store))
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(4, mp_context=fork) as forks, ThreadPoolExecutor(4) as threads:
        forked = forks.map(use, [store] * 4, range(4))
        list(threads.map(use, [store, copy] * 2, range(4, 8)))
        list(forked)


def test_what_is_there_already_is_locked_too_and_never_for_less(s3):
    days = {name: until_days(count) for name, count in (("short", 1), ("long", 5), ("between", 3))}
    client().create_bucket(Bucket="keeps", ObjectLockEnabledForBucket=True)
    store = Bucket("s3://keeps")
    assert store.put("later", b"first")
    for name, kept in (("short", "short"), ("long", "long"), ("between", "long")):
        assert store.put("later", b"first", days[name])
        found = client().get_object_retention(Bucket="keeps", Key="later")["Retention"]
        assert found["Mode"] == "COMPLIANCE"
        assert abs((found["RetainUntilDate"] - days[kept]).total_seconds()) < 2
    with pytest.raises(InputError, match="denies access"):
        store.delete("later")
    assert store.get("later") == b"first"
    version = client().head_object(Bucket="keeps", Key="later")["VersionId"]
    with pytest.raises(ClientError):
        client().delete_object(Bucket="keeps", Key="later", VersionId=version)


def test_of_a_bucket_with_versions_nothing_deleted_is_left(s3):
    client().create_bucket(Bucket="versions")
    client().put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    store = Bucket("s3://versions")
    for body in (b"first", b"second"):
        assert store.put("a", body)
        store.delete("a")
        assert not store.has("a")
    left = client().list_object_versions(Bucket="versions")
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


def test_a_bucket_is_asked_for_its_lock(s3):
    client().create_bucket(Bucket="locks", ObjectLockEnabledForBucket=True)
    check_retention("s3://locks", 1)
    with pytest.raises(InputError, match="has no object lock"):
        check_retention("s3://evidence", 1)
    with pytest.raises(InputError, match="give at least 1"):
        check_retention("s3://locks", 0)
    with pytest.raises(InputError, match="no such bucket"):
        check_retention("s3://nowhere", 1)


def in_parts(monkeypatch):
    """Have files of more than 6 MiB go up in parts of 5."""
    monkeypatch.setattr("tasks.bucket.ONE_PUT", 6 << 20)
    monkeypatch.setattr("tasks.bucket.PART", 5 << 20)


def test_a_file_that_is_too_large_for_one_request_goes_up_in_parts_and_never_over_another(s3, tmp_path, monkeypatch):
    in_parts(monkeypatch)
    client().create_bucket(Bucket="parts", ObjectLockEnabledForBucket=True)
    store, path = Bucket("s3://parts"), tmp_path / "edges.parquet"
    path.write_bytes(os.urandom(13 << 20))
    for _ in range(2):
        assert store.put("edges.parquet", path, until_days(1))
    found = client().get_object(Bucket="parts", Key="edges.parquet")
    assert found["ETag"].endswith('-3"')
    assert (found["ObjectLockMode"], found["Body"].read()) == ("COMPLIANCE", path.read_bytes())
    path.write_bytes(os.urandom(13 << 20))
    assert not store.put("edges.parquet", path)
    assert not client().list_multipart_uploads(Bucket="parts").get("Uploads")


class Proxy(socketserver.ThreadingTCPServer):
    """Passes bytes on to S3 and back, but ends the connection in place of the answers that `loses` picks by request line.

    S3 has done what such a request asks by then; with `before` it never sees it.
    """

    daemon_threads = True

    def __init__(self, s3: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.s3 = s3
        self.connections = 0
        self.lost: list[str] = []
        self.before = False
        self.loses: Callable[[str], bool] = lambda request: False


class Passing(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self):
        self.server.connections += 1
        request = ""
        with socket.create_connection(self.server.s3) as s3:
            while True:
                ready, _, _ = select.select([self.request, s3], [], [])
                if self.request in ready:
                    sent = self.request.recv(1 << 16)
                    if not sent:
                        return
                    if re.match(rb"(GET|HEAD|PUT|POST|DELETE) /", sent):
                        request = sent.partition(b"\r\n")[0].decode()
                        if self.server.before and self.server.loses(request):
                            self.server.lost.append(request)
                            return
                    s3.sendall(sent)
                if s3 in ready:
                    answer = s3.recv(1 << 16)
                    if not answer.startswith(b"HTTP/1.1 100") and self.server.loses(request):
                        self.server.lost.append(request)
                        return
                    if not answer:
                        return
                    self.request.sendall(answer)


@pytest.fixture
def proxy(s3, monkeypatch):
    """A running proxy that clients take for S3."""
    own = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    with Proxy((own.hostname, own.port)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_address[1]}")
        yield server
        server.shutdown()
    gc.collect()  # connections that were ended, in no other test


def first(count: int, start: str) -> Callable[[str], bool]:
    """Picks so many requests that begin so."""
    left = iter(range(count))
    return lambda request: request.startswith(start) and next(left, None) is not None


def always(start: str) -> Callable[[str], bool]:
    return lambda request: request.startswith(start)


# botocore leaves the connection open on which no answer came
losing = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@losing
@pytest.mark.parametrize("lost", [1, 99], ids=["one answer", "every answer"])
def test_a_put_whose_answer_is_lost_is_known_by_its_bytes(proxy, monkeypatch, lost):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 2)
    store = Bucket(new_place())
    proxy.loses = first(lost, "PUT")
    assert store.put("log/1", b"ours")
    assert len(proxy.lost) == min(lost, 2)
    assert store.get("log/1") == b"ours"
    proxy.loses = first(lost, "PUT")
    assert not store.put("log/1", b"other")
    assert store.put("log/1", b"ours")
    assert store.get("log/1") == b"ours"


@losing
def test_what_is_lost_and_not_there_is_said_to_be_so(proxy, monkeypatch):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 2)
    store = Bucket(new_place())
    proxy.loses, proxy.before = always("PUT"), True
    with pytest.raises(Unreachable, match=r"ends the connection without an answer .*\(writing s3://.*/a\)"):
        store.put("a", b"ours")
    assert len(proxy.lost) == 2
    proxy.loses = first(1, "PUT")
    assert store.put("a", b"other")
    assert store.get("a") == b"other"


@losing
def test_a_lock_holds_though_every_answer_to_the_put_is_lost(proxy, monkeypatch):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 2)
    client().create_bucket(Bucket="keeps-lost", ObjectLockEnabledForBucket=True)
    store = Bucket("s3://keeps-lost")
    proxy.loses = lambda request: request.startswith("PUT") and "retention" not in request
    assert store.put("a", b"ours", until_days(1))
    assert client().get_object_retention(Bucket="keeps-lost", Key="a")["Retention"]["Mode"] == "COMPLIANCE"


@losing
@pytest.mark.parametrize("lost", [1, 99], ids=["one answer", "every answer"])
def test_parts_whose_completions_answer_is_lost_are_known_by_their_bytes(proxy, tmp_path, monkeypatch, lost):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 2)
    in_parts(monkeypatch)
    store, path = Bucket(new_place()), tmp_path / "edges.parquet"
    path.write_bytes(os.urandom(7 << 20))
    some = first(lost, "POST")
    proxy.loses = lambda request: "uploadId=" in request and some(request)
    assert store.put("edges.parquet", path)
    assert len(proxy.lost) == min(lost, 2)
    assert store.get("edges.parquet") == path.read_bytes()


@losing
def test_of_eight_writers_whose_answers_are_lost_those_of_one_body_are_told_so(proxy):
    store, bodies = Bucket(new_place()), [bytes([k]) * 1000 for k in (0, 1, 2, 3)] * 2
    proxy.loses = first(5, "PUT")
    told, kept = race(store, "race", bodies), store.get("race")
    assert len(proxy.lost) == 5
    assert told == [body == kept for body in bodies]
    assert sum(told) == 2


def test_a_bucket_keeps_its_connection(proxy):
    store = Bucket(new_place())
    for k in range(10):
        store.put(f"log/{k}", b"x")
        store.get(f"log/{k}")
        store.get("none")
    assert len(list(store.names("log/"))) == 10
    assert proxy.connections == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from mucs.evidence.store import Folder
setattr(os, sys.argv[2], lambda *args: os.kill(os.getpid(), signal.SIGKILL))
Folder(Path(sys.argv[1])).put("log/1", b"ours" * 100_000)
"""


@pytest.mark.parametrize("at", ["fsync", "link"])
def test_a_writer_that_is_killed_leaves_nothing_under_the_name(tmp_path, at):
    words = [sys.executable, "-c", KILLED, str(tmp_path / "store"), at]
    assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL
    store = Folder(tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()] == ["1"]  # it was being written
    assert (store.get("log/1"), store.has("log/1"), list(store.names(""))) == (None, False, [])
    assert store.put("log/1", b"next")
    left = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert left == [tmp_path / "store" / "log" / "1"]


WRITING = """
import itertools, sys
from pathlib import Path
from mucs.evidence.store import Folder
store = Folder(Path(sys.argv[1]))
for k in itertools.count():
    store.put(f"log/{k:06}", bytes([k % 256]) * 500_000)
"""


def test_a_writer_that_is_killed_at_any_moment_leaves_whole_bytes(tmp_path):
    store = Folder(tmp_path / "store")
    with subprocess.Popen([sys.executable, "-c", WRITING, tmp_path / "store"]) as writer:
        try:
            deadline = time.monotonic() + 60
            while len(list(store.names("log/"))) < 5 and time.monotonic() < deadline:
                time.sleep(0.003)
        finally:
            writer.kill()
    names = list(store.names("log/"))
    assert len(names) >= 5
    assert names == [f"log/{k:06}" for k in range(len(names))]
    for k, name in enumerate(names):
        assert store.get(name) == bytes([k % 256]) * 500_000
