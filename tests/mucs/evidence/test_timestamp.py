"""Time stamps, of an authority of the tests' own that answers with `openssl ts`: what it stamped is found, and nothing else passes."""

import datetime
import http.server
import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rfc3161_client import decode_timestamp_response

from mucs import InputError
from mucs.evidence.chain import GENESIS, link
from mucs.evidence.log import Log, entry_name
from mucs.evidence.store import Folder
from mucs.evidence.timestamp import MOST_BYTES, ask_stamp, read_stamp, stamp_fault, stamped_entry
from mucs.ledger.rights import say_derivation
from tests.factories import log_of, writing
from tests.flows.test_cli import refused

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed, which is the tests' time-stamping authority"
)

CONFIGURATION = """
[stamps]
serial = serial
crypto_device = builtin
signer_cert = signer.pem
certs = link.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = {digests}
accuracy = secs:1
ess_cert_id_alg = sha256
"""
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def certify(name, issuer=None, *, signs_stamps=False, until=NOW + DAY):
    """A certificate and its key, by an issuer of the same form, or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(issuer[0].subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 2 * DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=not signs_stamps, path_length=None), critical=True)
    )
    if signs_stamps:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return made.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """An authority in a folder: a root, what links it to the signer, and the signer.

    Attributes:
        folder: Where root.pem and all that it signs with lie.
        url: Where it is asked; a path says how it misbehaves.
        kept: An answer to an earlier question.
    """

    def __init__(self, folder: Path, until=NOW + DAY) -> None:
        folder.mkdir()
        self.folder, self.url, self.kept = folder, "", b""
        root = certify("root")
        linking = certify("link", root)
        signer, key = certify(
            "a name that makes this certificate longer than the link", linking, signs_stamps=True, until=until
        )
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "signer.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
        for name, certificate in (("root", root[0]), ("link", linking[0]), ("signer", signer)):
            (folder / f"{name}.pem").write_bytes(pem(certificate))
        (folder / "serial").write_text("01")
        for digests in ("sha256", "sha512"):
            (folder / f"{digests}.cnf").write_text(CONFIGURATION.format(digests=digests))

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def answer(self, question: bytes, digests="sha256") -> bytes:
        """What openssl answers to a question."""
        (self.folder / "question").write_bytes(question)
        words = ["-queryfile", "question", "-config", f"{digests}.cnf", "-section", "stamps", "-out", "answer"]
        subprocess.run(["openssl", "ts", "-reply", *words], cwd=self.folder, check=True, capture_output=True)
        return (self.folder / "answer").read_bytes()

    def file(self, *words: str) -> Path:
        """The file of an answer to a question of openssl's own words."""
        asked = subprocess.run(["openssl", "ts", "-query", *words, "-cert"], check=True, capture_output=True)
        path = self.folder / "asked.tsr"
        path.write_bytes(self.answer(asked.stdout))
        return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the path says."""

    authority: Authority

    def log_message(self, *args):
        pass

    def say(self, body, kind="application/timestamp-reply", status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        question = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/timestamp-query"
        match self.path:
            case "/tsr":
                self.say(self.authority.answer(question))
            case "/refuses":
                self.say(self.authority.answer(question, "sha512"))
            case "/without-certificate":  # the flag that asks for it is the question's last value
                self.say(self.authority.answer(bytes([question[0], question[1] - 3]) + question[2:-3]))
            case "/other":  # the question with another digest in it, which is 32 bytes
                digest = question.index(b"\x04\x20") + 2
                self.say(self.authority.answer(question[:digest] + bytes(32) + question[digest + 32 :]))
            case "/kept":
                self.say(self.authority.kept)
            case "/junk":
                self.say(b"\x30\x03\x02\x01")
            case "/page":
                self.say(b"<h1>Down for maintenance</h1>", "text/html; charset=utf-8")
            case "/fails":
                self.say(b"<h1>No</h1>", "text/html", 503)
            case "/moved":
                self.say(b"", status=302, Location="/tsr")
            case "/large":
                self.say(b"0" * (MOST_BYTES + 1))
            case "/late":
                time.sleep(1)
            case "/slow":  # each byte in time, and never an end
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.end_headers()
                for _ in range(20):
                    self.wfile.write(b"0")
                    time.sleep(0.1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority") / "own")

    class Own(Handler):
        authority = made

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # of a client that did not wait
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()


def ask_of(authority, text):
    (authority.folder / "text").write_bytes(text)
    words = ["openssl", "ts", "-query", "-data", authority.folder / "text", "-sha256", "-cert"]
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.fixture
def log(tmp_path):
    """A log of three entries."""
    made, previous = Log(Folder(tmp_path / "log")), GENESIS
    for position in (1, 2, 3):
        entry = link(position, previous, "usage", "2026-11-28T12:00:00+00:00", {"rows": position})
        assert made.append(entry)
        previous = entry.sha256
    return made


def test_a_stamp_is_of_its_entry_and_goes_on_to_be_when_others_follow(authority, log, tmp_path):
    entry = log.entry(2)
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    stamp = ask_stamp(entry, f"{authority.url}/tsr")
    assert before <= stamp.at <= datetime.datetime.now(datetime.UTC)
    (tmp_path / "head.tsr").write_bytes(stamp.response)
    again = read_stamp(tmp_path / "head.tsr")
    assert again == stamp
    assert stamp_fault(again, authority.root) is None
    assert stamped_entry(log, again) == entry


def test_openssl_finds_the_stamp_to_be_of_the_entry_s_file(authority, log, tmp_path):
    stamp = ask_stamp(log.entry(3), f"{authority.url}/tsr")
    (tmp_path / "head.tsr").write_bytes(stamp.response)
    words = ["openssl", "ts", "-verify", "-data", tmp_path / "log" / entry_name(3), "-in", tmp_path / "head.tsr"]
    done = subprocess.run([*words, "-CAfile", authority.root], capture_output=True, text=True)
    assert "Verification: OK" in done.stdout + done.stderr


def test_certificates_that_are_not_in_the_order_of_der_are_read(authority, tmp_path):
    path = authority.file("-digest", "ab" * 32, "-sha256")
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        decode_timestamp_response(path.read_bytes())
    stamp = read_stamp(path)
    assert stamp.head == "ab" * 32
    assert stamp_fault(stamp, authority.root) is None


def test_an_entry_that_was_changed_or_is_gone_was_not_stamped(authority, log, tmp_path):
    stamp = ask_stamp(log.entry(3), f"{authority.url}/tsr")
    path = tmp_path / "log" / entry_name(3)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"rows":3', b'"rows":4'))
    assert stamped_entry(log, stamp) is None
    path.unlink()
    assert stamped_entry(log, stamp) is None


def test_a_stamp_of_another_authority_does_not_hold(authority, log, tmp_path):
    other = Authority(tmp_path / "other")
    stamp = ask_stamp(log.entry(3), f"{authority.url}/tsr")
    assert "was not made by the authority of" in stamp_fault(stamp, other.root)
    both = tmp_path / "both.pem"
    both.write_bytes(other.root.read_bytes() + authority.root.read_bytes())
    assert stamp_fault(stamp, both) is None


def test_a_certificate_that_had_run_out_stamps_nothing(log, tmp_path):
    old = Authority(tmp_path / "old", until=NOW - DAY)
    stamp = read_stamp(old.file("-digest", log.entry(3).sha256, "-sha256"))
    assert "was not made by the authority of" in stamp_fault(stamp, old.root)


@pytest.mark.heavy
def test_no_changed_bit_makes_it_the_stamp_of_something_else(authority, log, tmp_path):
    stamp = ask_stamp(log.entry(3), f"{authority.url}/tsr")
    held, path = 0, tmp_path / "changed.tsr"
    for place in range(len(stamp.response)):
        changed = bytearray(stamp.response)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:
            found = read_stamp(path)
        except InputError:
            continue
        if stamp_fault(found, authority.root) is None:
            held += 1
            assert (found.head, found.at) == (stamp.head, stamp.at)
    assert held < 20  # bytes that no signature is over, such as a tag of a name


REFUSED = {
    "/refuses": r"is a refusal \(rejection: Message digest algorithm is not supported\); ask again",
    "/other": "is one to another question; ask again",
    "/without-certificate": "lacks the authority's certificate, which was asked for; ask again",
    "/junk": "is not that of a time-stamping authority; ask again",
    "/page": "answers with text/html, not with a time stamp; check the address",
    "/fails": "answers with status 503; check the address",
    "/moved": "answers with status 302; check the address",
    "/large": "has more than 1,000,000 bytes; ask another authority",
    "/late": r"answers at \S+ \(timed out\); check the address, or try again later",
    "/slow": r"answers at \S+ \(timed out\); check the address, or try again later",
}


@pytest.mark.parametrize(("path", "sentence"), REFUSED.items())
def test_an_answer_that_stamps_nothing_is_one_sentence(authority, log, path, sentence):
    seconds = 0.5 if path in {"/late", "/slow"} else 30
    with pytest.raises(InputError, match=sentence):
        ask_stamp(log.entry(3), f"{authority.url}{path}", seconds)


def test_an_answer_about_the_same_entry_that_somebody_kept_is_refused(authority, log):
    entry = log.entry(3)
    authority.kept = ask_stamp(entry, f"{authority.url}/tsr").response
    with pytest.raises(InputError, match="is one to another question; ask again"):
        ask_stamp(entry, f"{authority.url}/kept")


@pytest.mark.parametrize(
    "url", ["", "file:///etc/hostname", "ftp://127.0.0.1/", "tsa.example.org", "http://", "http://a b/"]
)
def test_what_is_no_address_is_refused(log, url):
    with pytest.raises(InputError, match=r"is no address of a time-stamping|No time-stamping authority answers"):
        ask_stamp(log.entry(3), url)


def test_nobody_at_the_address_is_refused(log):
    with pytest.raises(InputError, match=r"No time-stamping authority answers at http://127.0.0.1:9 \(.*refused"):
        ask_stamp(log.entry(3), "http://127.0.0.1:9")


def test_files_that_hold_no_stamp_or_no_certificate_are_refused(authority, log, tmp_path):
    stamp = ask_stamp(log.entry(3), f"{authority.url}/tsr")
    bad = tmp_path / "bad"
    for body in (b"", b"<html>", stamp.response[:-1], stamp.response + b"0"):
        bad.write_bytes(body)
        with pytest.raises(InputError, match="is not that of a time-stamping authority; give a file that"):
            read_stamp(bad)
    bad.write_bytes(b"0" * (MOST_BYTES + 1))
    for path in (bad, tmp_path / "gone", tmp_path):
        with pytest.raises(InputError, match="cannot be read; give a file that"):
            read_stamp(path)
    bad.write_bytes(authority.answer(ask_of(authority, b"text"), "sha512"))
    with pytest.raises(InputError, match="is a refusal"):
        read_stamp(bad)
    bad.write_bytes(b"no certificate")
    for path in (bad, tmp_path / "gone", authority.folder / "signer.key"):
        with pytest.raises(InputError, match="has no certificates in PEM; give the root certificate"):
            stamp_fault(stamp, path)


def test_a_stamp_over_another_kind_of_digest_is_refused(tmp_path):
    longer = Authority(tmp_path / "longer")
    (longer.folder / "sha256.cnf").write_text(CONFIGURATION.format(digests="sha512"))
    with pytest.raises(InputError, match="is a stamp over another digest than SHA-256"):
        read_stamp(longer.file("-digest", "ab" * 64, "-sha512"))


def test_the_commands_stamp_the_head_and_hold_the_log_to_it(mucs, authority, tmp_path, monkeypatch):
    with writing(tmp_path / "ledger") as ledger:
        say_derivation(ledger, "c" * 64, "d" * 64)
        say_derivation(ledger, "d" * 64, "e" * 64)
    monkeypatch.chdir(tmp_path)
    alone, both = ["--ledger", "none", "--log", "log"], ["--ledger", "ledger"]
    checked = ["verify", "--timestamp", "head.tsr", "--authority", authority.root]

    assert "answers with status 503" in refused(mucs("head", *both, "--timestamp", f"{authority.url}/fails"))
    assert not Path("head.tsr").exists()
    status, out, _ = mucs("head", *both, "--timestamp", f"{authority.url}/tsr")
    assert status == 0
    assert re.search(r"\nStamped at 20[-\dT:]{17} UTC, in head\.tsr\.\n$", out)
    with writing(tmp_path / "ledger") as ledger:
        say_derivation(ledger, "e" * 64, "f" * 64)
    for where in (alone, both):
        status, out, _ = mucs(*checked, *where)
        assert status == 0
        assert out.startswith("It holds")
        assert "\n  entry 2 of 20" in out
        assert json.loads(mucs(*checked, *where, "--json")[1])["stamped"] == {
            "position": 2,
            "at": read_stamp(Path("head.tsr")).at.isoformat(),
        }

    other = Authority(tmp_path / "other")
    status, out, _ = mucs("verify", "--timestamp", "head.tsr", "--authority", other.root, *alone)
    assert (status, out[:45]) == (1, "It does not hold: the time stamp was not made")
    shutil.copytree("log", "cut")
    for position in (2, 3):
        Path("cut", entry_name(position)).unlink()
    status, out, _ = mucs(*checked, "--ledger", "none", "--log", "cut")
    assert (status, out[:67]) == (1, "It does not hold: the log of 1 entries has none that was stamped in")
    assert json.loads(mucs(*checked, "--ledger", "none", "--log", "cut", "--json")[1])["stamped"] is None

    assert "give both --timestamp and --authority" in refused(mucs("verify", "--timestamp", "head.tsr", *alone))
    assert "give both --timestamp and --authority" in refused(mucs("verify", "--authority", authority.root, *alone))
    assert "checked one at a time" in refused(mucs(*checked, *alone, "--proof", "x", "--root", "y"))
    assert "is not that of a time-stamping authority" in refused(
        mucs("verify", "--timestamp", authority.root, "--authority", authority.root, *alone)
    )
    assert log_of(tmp_path / "ledger").entry(4) is None
