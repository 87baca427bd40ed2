"""Manifests for generated images: C2PA's own reader takes them, and what they say is the ledger's."""

import hashlib
import io

import c2pa
import pytest
from PIL import Image

from mucs import InputError
from mucs.evidence import holds
from mucs.evidence.signing import keygen
from mucs.exports.c2pa import ASSERTION, definition, sign, state_of
from mucs.exports.credential import read_credential
from mucs.ledger import Ledger
from tests.factories import contents, fault, load, staged_run
from tests.flows.test_cli import refused

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ledger whose generated item g0 is a picture that lies beside it, with a key."""
    folder = tmp_path_factory.mktemp("exports")
    body = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 199)).save(body, "PNG")
    (folder / "g0.png").write_bytes(body.getvalue())
    image = hashlib.sha256(body.getvalue()).hexdigest()
    load(folder / "ledger", staged_run(folder, training=20, edges=12, others=[{"sha256": image}]))
    keygen(folder / "key")
    return folder


@pytest.fixture
def ledger(folder):
    with Ledger.open(folder / "ledger") as opened:
        yield opened


def read(image, manifest=None):
    """The active manifest, and our assertion in it."""
    with c2pa.Reader("image/png", io.BytesIO(image), manifest) as reader:
        found = reader.get_active_manifest()
        (ours,) = [each["data"] for each in found["assertions"] if each["label"] == ASSERTION]
        return found, ours, reader.get_validation_state()


@pytest.mark.parametrize("embed", [False, True])
def test_a_reader_finds_it_valid_and_trusted_and_reads_what_the_ledger_says(folder, ledger, embed):
    image, credential = folder / "g0.png", read_credential(folder / "key", None)
    said = definition(ledger, image, top=5)
    marked = sign(said, image, credential, embed)
    body = marked.image or image.read_bytes()
    assert (body == image.read_bytes()) != embed
    found, ours, state = read(body, None if embed else marked.manifest)
    assert state == "Valid"
    out = folder / "out.png"
    out.write_bytes(body)
    sidecar = None if embed else marked.manifest
    assert state_of(out, sidecar, credential.anchor.read_bytes()) == "Trusted"
    why = ledger.ask("why", generated="g0", top=5)
    best = [row for row in why if row["score"] > 0]
    assert [(c["rank"], c["training"], c["rights_holder"]) for c in ours["causes"]] == [
        (row["rank"], row["training"], row["holder_today"]) for row in best
    ]
    assert [each["title"] for each in found["ingredients"]] == [
        "checkpoint",
        "training set",
        *(row["training"] for row in best),
    ]
    assert {each["relationship"] for each in found["ingredients"]} == {"inputTo"}
    assert ours["image_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    root = ledger.run(ours["run"])["record"]["results"]["edges_root"]
    for cause in ours["causes"]:
        proof = {"run": ours["run"], "root": ours["edges_root"], "generated": ours["generated"], **cause["proof"]}
        assert holds(proof, root)
        assert proof["training"]["id"] == cause["training"]
        assert not holds(proof | {"index": proof["index"] + 1}, root)


def test_the_same_ledger_and_image_give_the_same(folder, ledger):
    assert definition(ledger, folder / "g0.png") == definition(ledger, folder / "g0.png")


def test_an_image_that_was_changed_and_another_anchor_are_found(folder, ledger, tmp_path):
    image, credential = folder / "g0.png", read_credential(folder / "key", None)
    marked = sign(definition(ledger, image), image, credential)
    other = tmp_path / "other.png"
    body = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 99, 198)).save(body, "PNG")
    other.write_bytes(body.getvalue())
    assert state_of(other, marked.manifest) == "Invalid"
    keygen(tmp_path / "key")
    stranger = read_credential(tmp_path / "key", None)
    assert state_of(image, marked.manifest, stranger.anchor.read_bytes()) != "Trusted"
    with pytest.raises(InputError, match="is of another key"):
        read_credential(folder / "key", tmp_path / "key.chain.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(InputError, match="cannot be read as certificates"):
        read_credential(folder / "key", tmp_path / "text.pem")


def test_it_is_written_by_the_command_and_the_log_is_told(mucs, folder, tmp_path):
    given = ("--key", folder / "key", "--ledger", folder / "ledger")
    status, out, _ = mucs("export", "c2pa", folder / "g0.png", *given, "--output", tmp_path / "side.c2pa")
    assert status == 0
    assert "trusted" in out
    status, _, _ = mucs("export", "c2pa", folder / "g0.png", *given, "--embed", tmp_path / "with.png")
    assert status == 0
    assert read((tmp_path / "with.png").read_bytes())[2] == "Valid"
    with Ledger.open(folder / "ledger") as ledger:
        told = ledger.rows("SELECT what, address, sha256 FROM accesses ORDER BY position")
    image = hashlib.sha256((folder / "g0.png").read_bytes()).hexdigest()
    files = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("side.c2pa", "with.png")]
    assert told == [{"what": "c2pa", "address": f"/generated/{image}", "sha256": sha256} for sha256 in files]
    assert fault(folder / "ledger") is None


def test_what_cannot_be_is_said(mucs, folder, tmp_path):
    given = ("--key", folder / "key", "--ledger", folder / "ledger")
    before = contents(folder / "log"), sorted(folder.iterdir())
    (tmp_path / "unknown.png").write_bytes(b"not an image that the ledger knows")
    (tmp_path / "g0.txt").write_bytes((folder / "g0.png").read_bytes())
    cases = {
        "has no attribution of the image": (tmp_path / "unknown.png", *given),
        "is of no format": (tmp_path / "g0.txt", *given),
        "cannot be read": (tmp_path / "nowhere.png", *given),
        "stays as it is": (folder / "g0.png", *given, "--embed", folder / "g0.png"),
        "give one of --output and --embed": (folder / "g0.png", *given, "--embed", "a.png", "--output", "b"),
    }
    for words, arguments in cases.items():
        assert words in refused(mucs("export", "c2pa", *arguments))
    assert (contents(folder / "log"), sorted(folder.iterdir())) == before
