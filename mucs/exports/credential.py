"""Credential: the key that manifests are signed with, and the certificates that say whose it is."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from mucs import InputError
from mucs.evidence.signing import MOST_BYTES, read_private_key
from mucs.files import read_at_most, replacing

YEARS = 10  # that an own certificate holds


@dataclass(frozen=True)
class Credential:
    """What a manifest is signed with.

    Attributes:
        key: The private key, Ed25519, as PEM.
        chain: The key's certificate and that of whoever issued it, as PEM.
        anchor: The certificate that readers have to trust, if it is an own one.
    """

    key: bytes
    chain: bytes
    anchor: Path | None = None


def read_credential(key: Path, certificate: Path | None) -> Credential:
    """The credential of a key.

    Args:
        key: A file as `mucs keygen` writes it.
        certificate: The key's certificates, from its own to the issuer's, as PEM; without it, own ones, which lie beside the key as
            `KEY.chain.pem` and `KEY.anchor.pem`, and are made if they do not.

    Raises:
        InputError: If the key is none, a file cannot be read or written, or the certificate is of another key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    private = read_private_key(key)
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    text = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    own, anchor = key.with_name(f"{key.name}.chain.pem"), key.with_name(f"{key.name}.anchor.pem")
    if certificate is None and not own.exists():
        _make_own(private, own, anchor)
    place = certificate or own
    try:
        chain = read_at_most(place, MOST_BYTES)
        (first, *_) = x509.load_pem_x509_certificates(chain)
    except (OSError, ValueError):
        raise InputError(f"{place} cannot be read as certificates; give a file of PEM, the key's own first.") from None
    raw = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if first.public_key().public_bytes(*raw) != private.public_key().public_bytes(*raw):
        raise InputError(f"The first certificate of {place} is of another key than {key}; give that key's.")
    return Credential(text, chain, anchor if certificate is None else None)


def _make_own(private: object, chain: Path, anchor: Path) -> None:
    """Write a certificate for a key, and that of an issuer whose key nobody keeps, so that it can issue no other."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    assert isinstance(private, Ed25519PrivateKey)
    issuer = Ed25519PrivateKey.generate()
    begins = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    ends = begins + datetime.timedelta(days=365 * YEARS)

    def certificate(key: Ed25519PrivateKey, is_issuer: bool) -> x509.Certificate:
        named = [
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mucs"),
                    x509.NameAttribute(NameOID.COMMON_NAME, f"mucs, {what} of its own"),
                ]
            )
            for what in ("a signer" if not is_issuer else "an issuer", "an issuer")
        ]
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        )
        usage |= {"decipher_only": False, "digital_signature": not is_issuer}
        usage |= {"key_cert_sign": is_issuer, "crl_sign": is_issuer}
        of_key, of_issuer = (x509.SubjectKeyIdentifier.from_public_key(each.public_key()) for each in (key, issuer))
        made = (
            x509.CertificateBuilder()
            .subject_name(named[0])
            .issuer_name(named[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(is_issuer, 0 if is_issuer else None), critical=True)
            .add_extension(of_key, critical=False)
            .add_extension(x509.KeyUsage(**usage), critical=True)
        )
        if not is_issuer:
            by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_issuer)
            signs = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])  # as C2PA asks for
            made = made.add_extension(by, critical=False).add_extension(signs, critical=False)
        return made.sign(issuer, None)

    pem = serialization.Encoding.PEM
    of_issuer = certificate(issuer, True).public_bytes(pem)
    try:
        for place, text in ((anchor, of_issuer), (chain, certificate(private, False).public_bytes(pem) + of_issuer)):
            with replacing(place) as part:
                part.write_bytes(text)
    except OSError:
        raise InputError(f"{chain} cannot be written; give a key in another folder, or its --certificate.") from None
