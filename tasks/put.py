"""Put: write an object to S3 once, never over something else, and lock it where asked for."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mucs import InputError
from mucs.files import file_sha256
from tasks.s3 import client, plain_errors, sha256

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ONE_PUT = 5 * 2**30  # bytes that S3 takes in one request
PART = 2**27  # bytes of each part of a larger file, of which S3 takes 10,000


def until_days(days: int) -> datetime.datetime:
    """That many days from now."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def put_once(bucket: str, key: str, body: bytes | Path, until: datetime.datetime | None = None) -> None:
    """Write an object by conditional put, with its SHA-256 checked by S3.

    Args:
        bucket: where it goes.
        key: its name there.
        body: its bytes, or a file, which is read in blocks.
        until: a time until which S3 is to keep it from being deleted or replaced, by anyone.

    Raises:
        InputError: if S3 does not answer or refuses, or holds other bytes under that name.
    """
    from botocore.exceptions import ClientError

    s3 = client()
    # compliance rather than governance: whoever pays for the bucket must not be able to remove evidence against themselves
    lock: dict[str, Any] = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until} if until else {}
    with plain_errors(f"writing s3://{bucket}/{key}"):
        try:
            if isinstance(body, Path) and body.stat().st_size > ONE_PUT:
                _put_parts(s3, bucket, key, body, lock)
            else:
                _put_whole(s3, bucket, key, body, lock)
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            if sha256(bucket, key) != _sha256(body):
                raise InputError(
                    f"s3://{bucket}/{key} holds other bytes; find out who wrote them, and publish elsewhere."
                ) from None
            if until:
                lock_longer(bucket, key, until)


def _put_whole(s3: S3Client, bucket: str, key: str, body: bytes | Path, lock: dict[str, Any]) -> None:
    checksum = base64.b64encode(bytes.fromhex(_sha256(body))).decode()
    with body.open("rb") if isinstance(body, Path) else io.BytesIO(body) as f:
        s3.put_object(Bucket=bucket, Key=key, Body=f, ChecksumSHA256=checksum, IfNoneMatch="*", **lock)


def _put_parts(s3: S3Client, bucket: str, key: str, path: Path, lock: dict[str, Any]) -> None:
    """As `_put_whole`, for what is too large for one request; only its completion makes an object."""
    where: dict[str, Any] = {"Bucket": bucket, "Key": key}
    upload = where | {"UploadId": s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256", **lock)["UploadId"]}
    parts: list[Any] = []
    try:
        with path.open("rb") as f:
            while block := f.read(PART):
                number = len(parts) + 1
                checksum = base64.b64encode(hashlib.sha256(block).digest()).decode()
                put = s3.upload_part(**upload, PartNumber=number, Body=block, ChecksumSHA256=checksum)
                parts.append({"PartNumber": number, "ETag": put["ETag"], "ChecksumSHA256": checksum})
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except BaseException:
        s3.abort_multipart_upload(**upload)
        raise


def _sha256(body: bytes | Path) -> str:
    return file_sha256(body) if isinstance(body, Path) else hashlib.sha256(body).hexdigest()


def lock_longer(bucket: str, key: str, until: datetime.datetime) -> None:
    """Have S3 keep an object that is there until a time, unless it does so for longer already."""
    from botocore.exceptions import ClientError

    s3 = client()
    try:
        kept = s3.get_object_retention(Bucket=bucket, Key=key)["Retention"].get("RetainUntilDate")
    except ClientError as error:
        # the second is what SeaweedFS says of an object that was never locked
        never = ("NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError")
        if error.response["Error"]["Code"] not in never:
            raise
        kept = None
    if kept is None or kept < until:
        s3.put_object_retention(
            Bucket=bucket,
            Key=key,
            Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
            ChecksumAlgorithm="SHA256",
        )


def check_retention(bucket: str, days: int) -> None:
    """InputError unless objects of the bucket can be locked for that many days."""
    if days < 1:
        raise InputError(f"The retention is {days} days; give at least 1, or leave it out.")
    from botocore.exceptions import ClientError

    with plain_errors(f"the object lock of s3://{bucket}"):
        try:
            found = client().get_object_lock_configuration(Bucket=bucket).get("ObjectLockConfiguration", {})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
            found = {}
    if found.get("ObjectLockEnabled") != "Enabled":
        raise InputError(
            f"The bucket {bucket} has no object lock, so nothing in it can be retained; publish to one that was made with"
            " object lock, or leave out the retention."
        )
