"""Bucket: a store under a prefix of an S3 bucket, and how long the bucket can be made to keep what is in it."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mucs import InputError
from mucs.files import file_sha256, replacing
from tasks.s3 import PAUSES, Unreachable, client, exists, get, plain_errors, read, sha256, split_url, translate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ONE_PUT = 5 * 2**30  # bytes that S3 takes in one request
PART = 2**27  # bytes of each part of a larger file, of which S3 takes 10,000
PAGE = 1000  # names that S3 gives in one answer
CONNECTIONS = 32  # that a store keeps open, for as many threads

PROBE = "writable"  # an object whose writing shows that a store takes any; it is no name of the store's

# rather than governance: whoever pays for the bucket must not be able to remove evidence against themselves
COMPLIANCE: Literal["COMPLIANCE"] = "COMPLIANCE"
# what AWS says of an object that was never locked, then SeaweedFS, and AWS of one in a bucket without object lock
NEVER_LOCKED = ("NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest")

# what S3 says of a conditional put where something is, or is just being done, or whose parts were put together before
IN_THE_WAY = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload")


class Bucket:
    """A store under a prefix of an S3 bucket, for any number of machines; conditional puts keep the first.

    Threads may share it, and it may be pickled and forked.
    """

    can_retain = True

    def __init__(self, place: str) -> None:
        self.bucket, self.prefix = split_url(place)
        self.place = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self._clients: dict[int, S3Client] = {}

    def __reduce__(self) -> tuple[type[Bucket], tuple[str]]:
        return Bucket, (self.place,)

    def get(self, name: str) -> bytes | None:
        return get(self.bucket, self._key(name), self._s3)

    def fetch(self, name: str, path: Path) -> bool:
        blocks = read(self.bucket, self._key(name), self._s3)
        if blocks is None:
            return False
        with replacing(path) as partial, partial.open("wb") as f:
            f.writelines(blocks)
        return True

    def has(self, name: str) -> bool:
        return exists(self.bucket, self._key(name), self._s3)

    def put(self, name: str, body: bytes | Path, until: datetime.datetime | None = None) -> bool:
        what = f"writing {self.place}/{name}"
        with plain_errors(what):
            for pause in (*PAUSES, None):
                lost = None
                try:
                    if self._write(name, body, until):
                        return True
                except Exception as error:
                    if not isinstance(translate(error, what), Unreachable):
                        raise
                    lost = error  # it may have been taken, and the answer lost on its way
                there = sha256(self.bucket, self._key(name), self._s3)
                if there is not None:
                    same = there == _sha256(body)
                    if same and until:
                        self.retain(name, until)
                    return same
                if lost:
                    raise lost
                if pause is not None:
                    time.sleep(pause)
        raise InputError(f"{self.place}/{name} is written and removed by others again and again; stop them.")

    def retain(self, name: str, until: datetime.datetime) -> None:
        kept = self.retained_until(name)
        if kept is None or kept < until:
            with plain_errors(f"retaining {self.place}/{name}"):
                self._s3.put_object_retention(
                    Bucket=self.bucket,
                    Key=self._key(name),
                    Retention={"Mode": COMPLIANCE, "RetainUntilDate": until},
                    ChecksumAlgorithm="SHA256",
                )

    def retained_until(self, name: str) -> datetime.datetime | None:
        from botocore.exceptions import ClientError

        with plain_errors(f"asking how long {self.place}/{name} is retained"):
            try:
                found = self._s3.get_object_retention(Bucket=self.bucket, Key=self._key(name))["Retention"]
            except ClientError as error:
                if error.response["Error"]["Code"] not in NEVER_LOCKED:
                    raise
                return None
        return found.get("RetainUntilDate") if found.get("Mode") == COMPLIANCE else None

    def delete(self, name: str) -> None:
        from botocore.exceptions import ClientError

        where: dict[str, Any] = {"Bucket": self.bucket, "Key": self._key(name)}
        with plain_errors(f"removing {self.place}/{name}"):
            try:
                found = self._s3.head_object(**where)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    return
                raise
            # without its version, S3 hides what is locked in place of refusing, and keeps what is to be gone
            if "VersionId" in found:
                where["VersionId"] = found["VersionId"]
            self._s3.delete_object(**where)

    def names(self, prefix: str) -> Iterator[str]:
        start = len(self._key(""))
        with plain_errors(f"listing {self.place}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._key(prefix), PaginationConfig={"PageSize": PAGE}
            )
            names = [found["Key"][start:] for page in pages for found in page.get("Contents", [])]
        # S3 gives them in order, and SeaweedFS folder by folder; pages of S3 for people make objects that stand for folders
        yield from sorted(name for name in names if name not in ("", PROBE) and not name.endswith("/"))

    def check(self) -> None:
        with plain_errors(f"the store {self.place}"):
            self._s3.head_bucket(Bucket=self.bucket)
            self._write(PROBE, b"")

    @property
    def _s3(self) -> S3Client:
        """The client of this process: a fork that took its parent's would read the answers to its parent's requests."""
        process = os.getpid()
        if process not in self._clients:
            with plain_errors(f"the store {self.place}"):
                self._clients.setdefault(process, client(connections=CONNECTIONS))
        return self._clients[process]

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _write(self, name: str, body: bytes | Path, until: datetime.datetime | None = None) -> bool:
        """Put bytes where nothing is, with their SHA-256 checked by S3; False if something is in the way."""
        from botocore.exceptions import ClientError

        where: dict[str, Any] = {"Bucket": self.bucket, "Key": self._key(name)}
        lock: dict[str, Any] = {"ObjectLockMode": COMPLIANCE, "ObjectLockRetainUntilDate": until} if until else {}
        try:
            if isinstance(body, Path) and body.stat().st_size > ONE_PUT:
                _put_parts(self._s3, where, body, lock)
            else:
                _put_whole(self._s3, where, body, lock)
        except ClientError as error:
            if error.response["Error"]["Code"] not in IN_THE_WAY:
                raise
            return False
        return True


def _put_whole(s3: S3Client, where: dict[str, Any], body: bytes | Path, lock: dict[str, Any]) -> None:
    checksum = base64.b64encode(bytes.fromhex(_sha256(body))).decode()
    # a file goes up once S3 has said that it takes it, and bytes at once
    with body.open("rb") if isinstance(body, Path) else contextlib.nullcontext(body) as given:
        s3.put_object(**where, Body=given, ChecksumSHA256=checksum, IfNoneMatch="*", **lock)


def _put_parts(s3: S3Client, where: dict[str, Any], path: Path, lock: dict[str, Any]) -> None:
    """As `_put_whole`, for what is too large for one request; only its completion makes an object."""
    from botocore.exceptions import BotoCoreError, ClientError

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
        with contextlib.suppress(BotoCoreError, ClientError):  # what went wrong before is what counts
            s3.abort_multipart_upload(**upload)
        raise


def _sha256(body: bytes | Path) -> str:
    return file_sha256(body) if isinstance(body, Path) else hashlib.sha256(body).hexdigest()


def until_days(days: int) -> datetime.datetime:
    """That many days from now, in whole seconds, as S3 keeps it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)


def check_retention(place: str, days: int) -> None:
    """InputError unless what is put at a place can be locked for that many days."""
    if "://" not in place:
        raise InputError(
            f"A folder such as {place} cannot be kept from anybody; give a log on S3, or leave out the retention."
        )
    bucket, _ = split_url(place)
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
