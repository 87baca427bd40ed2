"""S3: the client, and its errors in plain words."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mucs import InputError
from mucs.text import first_line, for_terminal, is_fit

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 5
PAUSES = (0.2, 1.0, 3.0)  # seconds, before an answer that broke off is asked for again

REASONS = {
    "InvalidAccessKeyId": "S3 does not know the access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "S3 refuses the secret key; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "The S3 session has expired; renew the credentials",
    "AccessDenied": "S3 denies access; check the credentials and what they may do",
    "403": "S3 denies access; check the credentials and what they may do",
    "NoSuchBucket": "S3 has no such bucket; check its name",
    "NoSuchKey": "S3 does not hold an object that it should; push it to the remote again",
    "404": "S3 has no such bucket or object; check their names",
}


BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class Unreachable(InputError):
    """S3 does not answer; the one S3 error that may pass by itself."""


def client(region: str | None = None, endpoint: str | None = None, connections: int = 10) -> S3Client:
    """A client from boto3's usual chain of credentials, region and endpoint.

    Args:
        region: What a registry says of its own bytes; a region goes before the chain's, an endpoint counts only where
            the chain has none.
        endpoint: What a registry says of its own bytes; a region goes before the chain's, an endpoint counts only where
            the chain has none.
        connections: How many are kept open.
    """
    import boto3
    from botocore.config import Config
    from botocore.session import Session

    # a session of its own, because boto3 keeps the first credentials that it finds in the shared one
    core = Session()
    core.register_component("data_loader", _descriptions(core.get_config_variable("data_path")))
    session = boto3.Session(botocore_session=core)
    config = Config(
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=connections,
    )
    made = session.client("s3", region_name=region, config=config)
    host = urlsplit(made.meta.endpoint_url).hostname or ""
    if endpoint is None or not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return made
    return session.client("s3", region_name=region, endpoint_url=endpoint, config=config)


@functools.cache
def _descriptions(path: str | None) -> Loader:
    """What botocore knows of S3's requests, which takes a tenth of a second to read, once a process."""
    from botocore.loaders import create_loader

    return create_loader(path)


def split_url(url: str) -> tuple[str, str]:
    """`s3://bucket/prefix` to (bucket, prefix); InputError if it is of another form."""
    try:
        parts = urlsplit(url)
        if (
            parts.scheme != "s3"
            or not BUCKET.fullmatch(parts.netloc)
            or parts.query
            or parts.fragment
            or not is_fit(url)
        ):
            raise ValueError
    except ValueError:
        raise InputError(f"{url!r} is not an S3 address; write it as s3://bucket/prefix.") from None
    return parts.netloc, parts.path.strip("/")


def check_bucket(url: str) -> str:
    """The bucket of an address; InputError if that is of another form, or if S3 does not answer for it."""
    bucket, _ = split_url(url)
    with plain_errors(f"the bucket of {url}"):
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
    from botocore import exceptions as of_botocore
    from botocore.parsers import ResponseParserError

    found = list(causes(error))
    for cause in found:
        if isinstance(cause, of_botocore.ClientError):
            return _refusal(cause.response, what)
        if isinstance(cause, of_botocore.NoCredentialsError | of_botocore.PartialCredentialsError):
            return InputError(f"There are no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({what}).")
    where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "S3"
    odd = InputError(f"{where} answers, but not as S3 does; check AWS_ENDPOINT_URL_S3 ({what}).")
    if any(isinstance(cause, RecursionError) and _within_botocore(cause) for cause in found):  # redirects without end
        return odd
    for cause in found:
        if isinstance(cause, of_botocore.IncompleteReadError | of_botocore.ResponseStreamingError):
            return Unreachable(f"{where} breaks off in the middle of an answer; check the network ({what}).")
        if isinstance(cause, of_botocore.ConnectionClosedError):
            return Unreachable(
                f"{where} ends the connection without an answer of S3; check AWS_ENDPOINT_URL_S3 ({what})."
            )
        if isinstance(cause, of_botocore.FlexibleChecksumError):
            return Unreachable(
                f"{where} answers with bytes that are not those of its own checksum; try again ({what})."
            )
        if isinstance(
            cause, of_botocore.ConnectionError | of_botocore.HTTPClientError | ConnectionError | TimeoutError
        ):
            return Unreachable(f"{where} does not answer; check AWS_ENDPOINT_URL_S3 and the network ({what}).")
        if isinstance(cause, of_botocore.BotoCoreError):
            return InputError(f"S3 cannot be asked: {first_line(cause)}; check the AWS_* variables ({what}).")
        if isinstance(cause, ResponseParserError) or _within_botocore(cause):
            return odd
    return None


def _within_botocore(error: BaseException) -> bool:
    """Whether an answer was so odd that boto3 failed to read it."""
    if not isinstance(error, ValueError | RecursionError | LookupError | TypeError) or isinstance(error, InputError):
        return False
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(name.partition(".")[0] == "botocore" for name in names)


def _refusal(response: Mapping[str, Any], what: str) -> InputError:
    """For an answer that is an error; it is foreign text."""
    code = for_terminal(str(response.get("Error", {}).get("Code", "?")), 60)
    if code in REASONS:
        return InputError(f"{REASONS[code]} ({what}).")
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status >= 500 or code in ("InternalError", "ServiceUnavailable", "SlowDown"):
        return Unreachable(f"S3 answers {code}; try again later ({what}).")
    return InputError(f"S3 refuses: {code}; check the request's bucket, path and credentials ({what}).")


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


def read(bucket: str, key: str, s3: S3Client | None = None, version: str | None = None) -> Iterator[bytes] | None:
    """An object's bytes, a MiB at a time; None if there is no such object, or version of it.

    An answer that breaks off is asked for again from there.

    Raises:
        InputError: If S3 does not answer, refuses, or breaks off again and again.
    """
    from botocore.exceptions import ClientError

    what = f"reading s3://{bucket}/{key}"
    asked, which = s3 or client(), {"VersionId": version} if version is not None else {}
    with plain_errors(what):
        try:
            answer = asked.get_object(Bucket=bucket, Key=key, **which)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion"):
                return None
            raise

    def blocks() -> Iterator[bytes]:
        from botocore.exceptions import BotoCoreError

        done, body = 0, answer["Body"]
        for pause in (*PAUSES, None):
            try:
                for block in body.iter_chunks(1 << 20):
                    done += len(block)
                    yield block
                return
            except BotoCoreError:
                if pause is None:
                    raise
            time.sleep(pause)
            # the same bytes, or none: another may have been written meanwhile
            rest = {"Range": f"bytes={done}-", "IfMatch": answer["ETag"]} if done else {}
            body = asked.get_object(Bucket=bucket, Key=key, **which, **rest)["Body"]  # type: ignore[arg-type]

    def plainly() -> Iterator[bytes]:
        with plain_errors(what):
            yield from blocks()

    return plainly()


def save(s3: S3Client, bucket: str, key: str, path: Path, version: str | None = None) -> bool:
    """Write an object's bytes into a file; False if there is no such object, or version of it. Raises as `read`."""
    found = read(bucket, key, s3, version)
    if found is None:
        return False
    with path.open("wb") as f:
        f.writelines(found)
    return True


def get(bucket: str, key: str, s3: S3Client | None = None) -> bytes | None:
    """An object's bytes; None if there is no such object. InputError if S3 does not answer or refuses."""
    blocks = read(bucket, key, s3)
    return None if blocks is None else b"".join(blocks)


def exists(bucket: str, key: str, s3: S3Client | None = None) -> bool:
    """Whether there is an object. InputError if S3 does not answer or refuses."""
    from botocore.exceptions import ClientError

    with plain_errors(f"looking for s3://{bucket}/{key}"):
        try:
            (s3 or client()).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
    return True


def sha256(bucket: str, key: str, s3: S3Client | None = None) -> str | None:
    """SHA-256 of an object's bytes, in hexadecimal, with as little memory for a large one; otherwise as `get`."""
    blocks = read(bucket, key, s3)
    if blocks is None:
        return None
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()
