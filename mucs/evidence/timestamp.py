"""Time stamps: the signed word of a time-stamping authority (RFC 3161) that an entry of the log was there at a time."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mucs import InputError
from mucs.evidence.chain import Entry
from mucs.evidence.log import Log
from mucs.files import read_at_most
from mucs.text import first_line

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

MOST_BYTES = 1_000_000  # of an answer, and of an authority's certificates
SECONDS = 30  # that an authority has for its answer
ASKED, ANSWERED = "application/timestamp-query", "application/timestamp-reply"
SHA256 = "2.16.840.1.101.3.4.2.1"
CERTIFICATES = 0xA0  # the tag of the certificates in what was signed


@dataclass(frozen=True)
class Stamp:
    """What an authority says; whether it is that authority, `stamp_fault` finds out.

    Attributes:
        head: SHA-256 of the text of the entry that was stamped.
        at: When it was, by the authority's clock.
        response: The whole answer, in DER.
    """

    head: str
    at: datetime.datetime
    response: bytes


def ask_stamp(entry: Entry, url: str, seconds: float = SECONDS) -> Stamp:
    """Have an authority stamp an entry, and with it all entries before.

    The stamp is over SHA-256, so that the digest in it is the log's head.

    Args:
        entry: What is stamped.
        url: Where the authority is asked, by HTTP.
        seconds: How long its answer may take.

    Raises:
        InputError: If no answer comes, or one that does not stamp this entry.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    asked = TimestampRequestBuilder(entry.entry.encode(), HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
    answer = _in_order(_post(url, asked.as_bytes(), seconds))
    try:
        stamp, said = _read(answer)
        if stamp.head != entry.sha256 or said.tst_info.nonce != asked.nonce:
            raise ValueError("is one to another question")
        if not said.signed_data.certificates:
            raise ValueError("lacks the authority's certificate, which was asked for")
    except ValueError as error:
        raise InputError(f"The answer of {url} {error}; ask again, or ask another authority.") from None
    return stamp


def read_stamp(path: Path) -> Stamp:
    """A stamp from the file of an authority's answer.

    Raises:
        InputError: If there is none in it.
    """
    try:
        answer = read_at_most(path, MOST_BYTES)
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read; give a file that `mucs head --timestamp` wrote.") from None
    try:
        stamp, _ = _read(_in_order(answer))
    except ValueError as error:
        raise InputError(f"The answer in {path} {error}; give a file that `mucs head --timestamp` wrote.") from None
    return stamp


def stamp_fault(stamp: Stamp, authority: Path) -> str | None:
    """Why a stamp is not the word of an authority; None if it is.

    The authority's certificates must have been valid when it stamped; they may have run out since. Whether one was revoked is not
    asked.

    Args:
        stamp: The stamp.
        authority: The authority's root certificate, in PEM, or several; what links them may stand among them.

    Raises:
        InputError: If there is no certificate in the file.
    """
    from cryptography.x509 import load_pem_x509_certificates
    from rfc3161_client import VerifierBuilder

    try:
        roots = load_pem_x509_certificates(read_at_most(authority, MOST_BYTES))
    except (OSError, ValueError):
        raise InputError(
            f"{authority} has no certificates in PEM; give the root certificate that the authority publishes."
        ) from None
    anchors = [root for root in roots if root.subject == root.issuer]
    links = [root for root in roots if root.subject != root.issuer]
    for trusted in [[anchor, *links] for anchor in anchors] or [links]:  # of two with one name, only one would be tried
        with contextlib.suppress(Exception):  # of many kinds: whatever is wrong with it, this one did not sign it
            _, said = _read(stamp.response)
            VerifierBuilder(roots=trusted).build().verify(said, bytes.fromhex(stamp.head))
            return None
    return f"the time stamp was not made by the authority of {authority}, or was changed since"


def stamped_entry(log: Log, stamp: Stamp) -> Entry | None:
    """The entry that was stamped; None if the log does not have it.

    Raises:
        Broken: If an entry before it does not follow.
    """
    return next((entry for entry in log.after() if entry.sha256 == stamp.head), None)


class _Staying(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: what asks there would ask nothing, as the question is not sent along."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(url: str, question: bytes, seconds: float) -> bytes:
    """What is answered to a question; InputError if it is too much, takes too long, or is of another kind."""
    if not url.lower().startswith(("http://", "https://")):
        raise InputError(f"{url!r} is no address of a time-stamping authority; give one with http:// or https://.")
    end = time.monotonic() + seconds
    body = b""
    try:
        # S310: the address is one of HTTP, as was just seen
        request = urllib.request.Request(url, question, {"Content-Type": ASKED, "Accept": ANSWERED})  # noqa: S310
        with urllib.request.build_opener(_Staying).open(request, timeout=seconds) as response:
            kind = response.headers.get_content_type()
            while kind == ANSWERED and len(body) <= MOST_BYTES and (block := response.read1(MOST_BYTES)):
                body += block
                if time.monotonic() > end:  # each block came in time, all of them together did not
                    raise TimeoutError("timed out")
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{url} answers with status {error.code}; check the address of the authority.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = first_line(getattr(error, "reason", error))
        raise InputError(
            f"No time-stamping authority answers at {url} ({reason}); check the address, or try again later."
        ) from None
    if kind != ANSWERED:
        raise InputError(f"{url} answers with {kind}, not with a time stamp; check the address of the authority.")
    if len(body) > MOST_BYTES:
        raise InputError(f"The answer of {url} has more than {MOST_BYTES:,} bytes; ask another authority.")
    return body


def _read(answer: bytes) -> tuple[Stamp, TimeStampResponse]:
    """The stamp in an answer; ValueError with what the answer does in place of stamping."""
    from rfc3161_client import PKIStatus, decode_timestamp_response

    try:
        said = decode_timestamp_response(answer)
        status, why = PKIStatus(said.status), ": ".join(["", *said.status_string]).rstrip(".")
        told = said.tst_info if status == PKIStatus.GRANTED else None
        stamp = None if told is None else Stamp(told.message_imprint.message.hex(), told.gen_time, answer)
    except Exception:  # of many kinds: whatever is wrong with it, it is no such answer
        raise ValueError("is not that of a time-stamping authority") from None
    if told is None or stamp is None:
        raise ValueError(f"is a refusal ({status.name.lower().replace('_', ' ')}{why})")
    if told.message_imprint.hash_algorithm.dotted_string != SHA256:
        raise ValueError("is a stamp over another digest than SHA-256")
    return stamp, said


def _in_order(answer: bytes) -> bytes:
    """An answer with its certificates in the order of DER, which its reader insists on and OpenSSL's authority does not keep.

    No signature is over that order. An answer of another form stays as it is.
    """
    start, end = 0, len(answer)
    try:
        for number in (0, 1, 1, 0):  # the answer, its token, the token's content, what was signed
            _, _, start, end = list(_parts(answer, start, end))[number]
        found = [(start, end) for tag, _, start, end in _parts(answer, start, end) if tag == CERTIFICATES]
        if not found:
            return answer
        ((start, end),) = found
        certificates = [answer[first:last] for _, first, _, last in _parts(answer, start, end)]
    except (IndexError, ValueError):
        return answer
    return answer[:start] + b"".join(sorted(certificates)) + answer[end:]


def _parts(der: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Of each value between two places in DER: its tag, where it starts, where its content does, and where both end."""
    while start < end:
        size, content = der[start + 1], start + 2
        if size > 0x80:  # a longer one, in so many bytes
            content += size - 0x80
            size = int.from_bytes(der[start + 2 : content])
        if content + size > end:
            raise ValueError("a value is longer than what it is in")
        yield der[start], start, content, content + size
        start = content + size
