"""Signing: in-toto statements (v1) in DSSE envelopes, signed with Ed25519 and checked with the public key alone."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.evidence.chain import Entry
from mucs.evidence.log import entry_name
from mucs.files import file_sha256, read_at_most
from mucs.parse import load_json

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
RUN = "https://mucs.dev/attribution-run/v1"
HEAD = "https://mucs.dev/log-head/v1"
MOST_BYTES = 100_000  # of a key
SHA256 = re.compile(r"[0-9a-f]{64}")


def keygen(path: Path) -> Path:
    """Write a new private key (PKCS #8 PEM, for its owner's eyes) to `path` and the public one beside it; gives its place.

    Raises InputError, with nothing written, if either is there already or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file for the key.")
    key, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    texts = {
        public: key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
        path: key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none),
    }
    written = []
    try:
        for place, text in texts.items():
            mode = 0o600 if place == path else 0o644
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
                written.append(place)
                f.write(text)
    except OSError as error:
        for place in written:
            place.unlink()
        if isinstance(error, FileExistsError):
            raise InputError(f"{place} is there already, and a key is never overwritten; give another name.") from None
        raise InputError(f"{place} cannot be written; give another place for the key.") from None
    return public


def statement(subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """An in-toto statement that says `predicate` of files.

    subjects: SHA-256 in hexadecimal by file name. predicate_type: the URI that says how to read the predicate.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(subjects.items())],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def run_statement(record: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """What is signed of a run: its published files, and from its record what it measured, on what, and what came of it.

    files: SHA-256 of each published file by name; that of run.json is the run's own.
    """
    names = ("method", "code", "registry", "inputs", "calibration", "noise_bank")
    results = ("edges", "edges_root", "edges_sha256")
    predicate = {
        **{name: record[name] for name in names},
        "run": digest(dict(record)),
        "settings_sha256": digest(record["settings"]),
        "generated_items": len(record["generated"]),
        **({"failed_items": len(record["failed"])} if "failed" in record else {}),
        **{name: record["results"][name] for name in results},
    }
    return statement(files, RUN, predicate)


def signed_head(last: Entry, log: str) -> dict[str, Any]:
    """What is signed of a log's last entry, which stands for all before it.

    Args:
        last: The entry.
        log: Where the log lies.
    """
    return statement(
        {entry_name(last.position): last.sha256}, HEAD, {"position": last.position, "at": last.said["at"], "log": log}
    )


def read_head(text: str, key: Path | None) -> str:
    """The SHA-256 of an entry that is remembered: its 64 digits, or the file of a signed head.

    Args:
        text: The digits, or a path.
        key: The public key that the head must be signed with; needed for a signed one.

    Raises:
        InputError: If it is neither, or was not signed with the key.
    """
    if SHA256.fullmatch(text):
        return text
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"{text!r} is no head; give the 64 digits that `mucs head` printed, or the file that it signed."
        )
    if key is None:
        raise InputError(f"The head in {text} is signed; give the public key as --key.")
    try:
        envelope = load_json(read_at_most(path, MOST_BYTES))
    except (OSError, ValueError):
        envelope = None
    if not isinstance(envelope, dict):
        raise InputError(f"{text} cannot be read as JSON; give a file that `mucs head --sign` wrote.")
    said = open_envelope(envelope, key)
    if said is None or said["predicateType"] != HEAD or len(said["subject"]) != 1:
        raise InputError(f"{text} is no head that was signed with {key}; give the one that was, or the right key.")
    return str(said["subject"][0]["digest"]["sha256"])


def sign(statement: Mapping[str, Any], private_key: Path) -> dict[str, Any]:
    """A statement in a DSSE envelope, as JSON; the same statement and key give the same bytes.

    private_key: a file as `keygen` writes it. Raises InputError if it is no Ed25519 private key.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(canonical(dict(statement)), PAYLOAD, {})
    envelope.sign(CryptoSigner(read_private_key(private_key)))
    made: dict[str, Any] = envelope.to_dict()
    return made


def read_private_key(path: Path) -> Any:
    """An Ed25519 private key from its PEM; InputError if the file holds none, or one behind a password."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_at_most(path, MOST_BYTES), None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is not an Ed25519 private key without a password; make one with `mucs keygen`.")
    return key


def read_public_key(path: Path) -> Any:
    """An Ed25519 public key from its PEM; InputError if the file holds none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_at_most(path, MOST_BYTES))
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is not an Ed25519 public key; give the .pub file that `mucs keygen` wrote.")
    return key


def open_envelope(envelope: Mapping[str, Any], public_key: Path) -> dict[str, Any] | None:
    """The statement in a DSSE envelope; None if nothing in it was signed with this key.

    Raises InputError if the key is none, the envelope is none, or what was signed is not an in-toto statement (v1).
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import SSlibKey

    key = read_public_key(public_key)
    try:
        opened = Envelope.from_dict(copy.deepcopy(dict(envelope)))
        signatures, message = list(opened.signatures.values()), opened.pae()
        known = [
            SSlibKey.from_crypto(key, keyid=signature.keyid) for signature in signatures
        ]  # refuses what is no text
    except Exception:  # of many kinds: whatever is wrong with it, it is not an envelope
        raise InputError("The file is not a DSSE envelope, or parts of it are missing; ask for it again.") from None
    for signature, under in zip(signatures, known, strict=True):
        try:
            # a signature's key id is a hint that is not signed: the key that was given decides
            under.verify_signature(signature, message)
            break
        except UnverifiedSignatureError:
            continue
    else:
        return None
    try:
        said = load_json(opened.payload) if opened.payload_type == PAYLOAD else {}
        digests = [subject["digest"]["sha256"] for subject in said["subject"]]
        whole = said["_type"] == STATEMENT and all(SHA256.fullmatch(d) for d in digests)
        whole = whole and all(isinstance(subject["name"], str) for subject in said["subject"])
        whole = whole and isinstance(said["predicateType"], str) and isinstance(said["predicate"], dict)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise InputError("What was signed is not an in-toto statement (v1) over SHA-256 digests; ask for it again.")
    found: dict[str, Any] = said
    return found


def subjects_beside(statement: Mapping[str, Any], folder: Path) -> dict[str, bool | None]:
    """Of each file that a statement is about: whether the one of that name in `folder` is it; None if there is none."""
    found: dict[str, bool | None] = {}
    for subject in statement["subject"]:
        place = folder / Path(subject["name"]).name
        try:
            there = place.is_file()
        except OSError:  # no file can have such a name
            there = False
        found[subject["name"]] = file_sha256(place) == subject["digest"]["sha256"] if there else None
    return found
