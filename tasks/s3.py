"""S3: the client, and its errors in plain words."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mucs import InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REASONS = {
    "InvalidAccessKeyId": "S3 does not know the access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "S3 refuses the secret key; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "The S3 session has expired; renew the credentials",
    "AccessDenied": "S3 denies access; check the credentials and what they may do",
    "403": "S3 denies access; check the credentials and what they may do",
    "NoSuchBucket": "S3 has no such bucket; check its name",
    "NoSuchKey": "S3 does not hold an object that it should; push it to the remote again",
    "404": "S3 has no such bucket; check its name",
}


class Unreachable(InputError):
    """S3 does not answer; the one S3 error that may pass by itself."""


def client() -> S3Client:
    """A client from boto3's usual chain of credentials and endpoint."""
    import boto3
    from botocore.config import Config

    # a session of its own, because boto3 keeps the first credentials that it finds in the shared one
    return boto3.Session().client(
        "s3", config=Config(retries={"total_max_attempts": 5, "mode": "standard"}, connect_timeout=5, read_timeout=60)
    )


def split_url(url: str) -> tuple[str, str]:
    """`s3://bucket/prefix` to (bucket, prefix); InputError if it is of another form."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise InputError(f"{url!r} is not an S3 address; write it as s3://bucket/prefix.")
    return parts.netloc, parts.path.strip("/")


def check_bucket(url: str, what: str = "") -> str:
    """The bucket of an address; InputError, which names `what`, if that is of another form, or if S3 does not answer for it."""
    bucket, _ = split_url(url)
    with plain_errors(what or f"the bucket of {url}"):
        client().head_bucket(Bucket=bucket)
    return bucket


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and everything that led to it."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        todo += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]


def translate(error: BaseException, what: str) -> InputError | None:
    """The plain sentence for an S3 error anywhere among the causes; None if there is none."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    found = list(causes(error))
    for cause in found:
        if isinstance(cause, ClientError):
            code = str(cause.response.get("Error", {}).get("Code", "?"))
            if code in REASONS:
                return InputError(f"{REASONS[code]} ({what}).")
            if code in ("InternalError", "ServiceUnavailable", "SlowDown", "500", "502", "503"):
                return Unreachable(f"S3 answers {code}; try again later ({what}).")
            return InputError(f"S3 refuses: {code}; check the request's bucket, path and credentials ({what}).")
        if isinstance(cause, NoCredentialsError | PartialCredentialsError):
            return InputError(f"There are no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({what}).")
    for cause in found:
        if isinstance(cause, BotoCoreError | ConnectionError | TimeoutError):
            where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "S3"
            return Unreachable(f"{where} does not answer; check AWS_ENDPOINT_URL_S3 and the network ({what}).")
    return None


@contextlib.contextmanager
def plain_errors(what: str) -> Iterator[None]:
    """Turn S3 errors of the block into InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        plain = translate(error, what)
        if plain is None:
            raise
        raise plain from error


def read(bucket: str, key: str) -> Iterator[bytes] | None:
    """An object's bytes, a MiB at a time; None if there is no such object. InputError if S3 does not answer or refuses."""
    from botocore.exceptions import ClientError

    with plain_errors(f"reading s3://{bucket}/{key}"):
        try:
            body = client().get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise

    def blocks() -> Iterator[bytes]:
        with plain_errors(f"reading s3://{bucket}/{key}"):
            yield from body.iter_chunks(1 << 20)

    return blocks()


def get(bucket: str, key: str) -> bytes | None:
    """An object's bytes; None if there is no such object. InputError if S3 does not answer or refuses."""
    blocks = read(bucket, key)
    return None if blocks is None else b"".join(blocks)


def sha256(bucket: str, key: str) -> str | None:
    """SHA-256 of an object's bytes, in hexadecimal, with as little memory for a large one; otherwise as `get`."""
    blocks = read(bucket, key)
    if blocks is None:
        return None
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()
