"""Signatures: the public key alone checks them, and nothing else than what was signed passes."""

import base64
import json
import stat

import pytest

from mucs import InputError
from mucs.canonical import canonical
from mucs.evidence.chain import GENESIS, link
from mucs.evidence.signing import (
    PAYLOAD,
    keygen,
    open_envelope,
    read_head,
    run_statement,
    sign,
    signed_head,
    statement,
    subjects_beside,
)

SAID = statement({"b.csv": "b" * 64, "a.json": "a" * 64}, "https://example.org/statement/v1", {"total": "12.30"})


@pytest.fixture
def key(tmp_path):
    keygen(tmp_path / "key")
    return tmp_path / "key"


def public(key):
    return key.with_name("key.pub")


def flip(text: str) -> str:
    """Base64 text with one bit of the middle byte changed."""
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return base64.b64encode(raw).decode()


def test_what_is_signed_opens_with_the_public_key_alone(key):
    envelope = sign(SAID, key)
    key.unlink()
    assert open_envelope(json.loads(json.dumps(envelope)), public(key)) == SAID
    assert [subject["name"] for subject in SAID["subject"]] == ["a.json", "b.csv"]
    assert json.loads(base64.b64decode(envelope["payload"]))["_type"] == "https://in-toto.io/Statement/v1"


def test_the_signature_is_over_the_pre_authentication_encoding_of_dsse(key):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    envelope, payload = sign(SAID, key), canonical(SAID)
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    (signature,) = envelope["signatures"]
    verifier = load_pem_public_key(public(key).read_bytes())
    assert isinstance(verifier, Ed25519PublicKey)
    verifier.verify(base64.b64decode(signature["sig"]), message)
    assert envelope["payloadType"] == PAYLOAD
    assert base64.b64decode(envelope["payload"]) == payload


def test_the_same_statement_and_key_give_the_same_envelope(key):
    assert sign(SAID, key) == sign(SAID, key)


def test_what_was_changed_or_signed_by_another_does_not_open(key, tmp_path):
    envelope = sign(SAID, key)
    (signature,) = envelope["signatures"]
    other = keygen(tmp_path / "other")
    claimed = sign(SAID, tmp_path / "other")["signatures"][0] | {"keyid": signature["keyid"]}
    for changed in (
        envelope | {"payload": flip(envelope["payload"])},
        envelope | {"payloadType": "text/plain"},
        envelope | {"signatures": [signature | {"sig": flip(signature["sig"])}]},
        envelope | {"signatures": [signature | {"sig": ""}]},
        envelope | {"signatures": [claimed]},
        envelope | {"signatures": []},
    ):
        assert open_envelope(changed, public(key)) is None
    assert open_envelope(envelope, other) is None
    renamed = envelope | {"signatures": [signature | {"keyid": "a hint, which is not signed"}]}
    assert open_envelope(renamed, public(key)) == SAID


@pytest.mark.parametrize("envelope", [{}, {"payload": 1}, {"payload": "e30=", "payloadType": PAYLOAD, "signatures": 3}])
def test_what_is_no_envelope_is_refused(key, envelope):
    with pytest.raises(InputError, match="not a DSSE envelope"):
        open_envelope(envelope, public(key))


@pytest.mark.parametrize(
    "change", [{"_type": "https://in-toto.io/Statement/v0.1"}, {"subject": [{}]}, {"predicate": 1}]
)
def test_what_was_signed_must_be_a_statement(key, change):
    with pytest.raises(InputError, match="not an in-toto statement"):
        open_envelope(sign(SAID | change, key), public(key))


def test_keys_are_private_and_never_overwritten(key, tmp_path):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = {path: path.read_bytes() for path in (key, public(key))}
    with pytest.raises(InputError, match="never overwritten"):
        keygen(key)
    key.rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"key\.pub is there already"):
        keygen(key)
    assert not key.exists()
    assert public(key).read_bytes() == before[public(key)]
    public(key).unlink()
    key.write_text("mine")
    with pytest.raises(InputError, match="never overwritten"):
        keygen(key)
    assert not public(key).exists()
    with pytest.raises(InputError, match="cannot be written"):
        keygen(tmp_path / "nowhere" / "key")


def test_keys_of_the_wrong_kind_are_refused(key, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    (tmp_path / "text").write_text("no key")
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    (tmp_path / "curve").write_bytes(curve)
    for wrong in (public(key), tmp_path / "text", tmp_path / "curve", tmp_path / "gone"):
        with pytest.raises(InputError, match="not an Ed25519 private key"):
            sign(SAID, wrong)
    for wrong in (key, tmp_path / "text", tmp_path / "gone"):
        with pytest.raises(InputError, match="not an Ed25519 public key"):
            open_envelope(sign(SAID, key), wrong)


def test_files_beside_an_envelope_are_those_that_were_signed_or_not(tmp_path):
    import hashlib

    said = statement(
        {name: hashlib.sha256(b"x").hexdigest() for name in ("same", "other", "gone", "up/../same")}, "t", {}
    )
    (tmp_path / "same").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"y")
    assert subjects_beside(said, tmp_path) == {"same": True, "other": False, "gone": None, "up/../same": True}


def test_a_run_is_signed_with_its_files_and_what_it_measured():
    record = {
        **{"method": "MUCS", "code": {}, "registry": "r", "inputs": {}, "calibration": None, "noise_bank": "n"},
        "settings": {"seed": 0},
        "generated": [{"id": "g0", "sha256": "0"}],
        "results": {"edges": 3, "edges_root": "r", "edges_sha256": "e", "attributions": []},
    }
    said = run_statement(record, {"run.json": "a" * 64})
    assert said["predicate"]["edges_root"] == "r"
    assert said["predicate"]["generated_items"] == 1
    assert said["predicateType"] == "https://mucs.dev/attribution-run/v1"


def test_a_signed_head_stands_for_the_entry_that_it_names(key, tmp_path):
    last = link(1, GENESIS, "run", "2026-01-01T00:00:00+00:00", {})
    path = tmp_path / "head.dsse.json"
    path.write_text(json.dumps(sign(signed_head(last, "s3://evidence/log"), key)))
    assert read_head(last.sha256, None) == last.sha256
    assert read_head(str(path), public(key)) == last.sha256
    assert json.loads(path.read_text())["payloadType"] == PAYLOAD
    said = open_envelope(json.loads(path.read_text()), public(key))
    assert said is not None
    assert said["predicate"] == {"position": 1, "at": "2026-01-01T00:00:00+00:00", "log": "s3://evidence/log"}
    with pytest.raises(InputError, match="is signed; give the public key"):
        read_head(str(path), None)
    with pytest.raises(InputError, match="is no head that was signed with"):
        read_head(str(path), keygen(tmp_path / "other"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no JSON", "cannot be read as JSON"),
        ("[]", "cannot be read as JSON"),
        ("{}", "not a DSSE envelope"),
        (None, "is no head; give the 64 digits"),
    ],
)
def test_what_is_no_head_is_refused(key, tmp_path, text, sentence):
    path = tmp_path / "head.dsse.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_head(str(path), public(key))
    path.write_text(json.dumps(sign(SAID, key)))  # signed, and of something else
    with pytest.raises(InputError, match="is no head that was signed with"):
        read_head(str(path), public(key))
