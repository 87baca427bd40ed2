"""Scratch: what an S3 lets us do under a prefix, tried on an object that is removed again."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.bucket import COMPLIANCE, IN_THE_WAY
from tasks.s3 import client, plain_errors, split_url

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BODY = b"a try of mucs doctor"
OTHER_SHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # of no bytes, in base 64
LOCKED_SECONDS = 3  # for which an object is locked


class Scratch:
    """An object under a key of its own, of which all that was put is known."""

    def __init__(self, s3: S3Client, place: str) -> None:
        bucket, prefix = split_url(place)
        self.s3 = s3
        self.where: dict[str, Any] = {"Bucket": bucket, "Key": f"{prefix}/doctor-{secrets.token_hex(8)}".lstrip("/")}
        self.versions: list[dict[str, Any]] = []  # as S3 is asked for them

    def put(self, **more: Any) -> None:
        """Put it, as S3's request says with these parameters."""
        made = self.s3.put_object(**self.where, Body=BODY, **{"ChecksumAlgorithm": "SHA256", **more})
        version: dict[str, Any] = {"VersionId": made["VersionId"]} if "VersionId" in made else {}
        if version not in self.versions:
            self.versions.append(version)

    def is_refused(self, **more: Any) -> bool:
        """Whether S3 refuses to put it so."""
        from botocore.exceptions import ClientError

        try:
            self.put(**more)
        except ClientError as error:
            status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            if error.response["Error"]["Code"] in IN_THE_WAY or status == 400:
                return True
            raise
        return False

    def remove(self) -> None:
        """Remove all that was put."""
        while self.versions:
            self.s3.delete_object(**self.where, **self.versions[-1])
            self.versions.pop()


@contextlib.contextmanager
def scratch(place: str) -> Iterator[Scratch]:
    """An object under a prefix for the block, and its errors in plain words."""
    made = Scratch(client(), place)
    with plain_errors(f"trying s3://{made.where['Bucket']}/{made.where['Key']}"):
        try:
            yield made
        finally:
            made.remove()


def try_put(place: str) -> list[str]:
    """Put an object, once more where it is, and with a checksum that is another's; and remove it.

    Args:
        place: `s3://bucket/prefix`.

    Returns:
        What S3 does not do as it should, in words; nothing if all is well.

    Raises:
        InputError: If S3 does not answer, or refuses what must be allowed.
    """
    faults = []
    with scratch(place) as tried:
        tried.put(IfNoneMatch="*")
        if not tried.is_refused(IfNoneMatch="*"):
            faults.append("it puts one object over another in spite of If-None-Match")
        if not tried.is_refused(ChecksumSHA256=OTHER_SHA256):
            faults.append("it takes bytes that are not those of their checksum")
    return faults


def try_lock(place: str) -> str:
    """Lock an object for some seconds, unless the bucket has no object lock, and see that it cannot be removed meanwhile.

    Args:
        place: `s3://bucket/prefix`.

    Returns:
        "works", "fails", "none" where the bucket has no object lock, or "always" where it locks everything by a rule of its
        own, so that nothing was tried.

    Raises:
        InputError: If S3 does not answer, or refuses.
    """
    from botocore.exceptions import ClientError

    with scratch(place) as tried:
        s3 = tried.s3
        try:
            found = s3.get_object_lock_configuration(Bucket=tried.where["Bucket"]).get("ObjectLockConfiguration", {})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
            found = {}
        if found.get("ObjectLockEnabled") != "Enabled":
            return "none"
        if "Rule" in found:
            return "always"
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=LOCKED_SECONDS)
        tried.put(ObjectLockMode=COMPLIANCE, ObjectLockRetainUntilDate=until)
        try:
            s3.delete_object(**tried.where, **tried.versions[0])
        except ClientError:
            time.sleep(LOCKED_SECONDS + 1)
            return "works"
        tried.versions.clear()
        return "fails"
