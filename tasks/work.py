"""Work store: results of units of work by content address, in a folder or on S3, shared by all who work on them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mucs import InputError
from mucs.files import check_writable, creating
from tasks import s3

PROBE = "writable"  # an object whose writing shows that a store on S3 takes any


class WorkStore(Protocol):
    """Where a unit's result is kept, whole or not at all; of several that are put under one name, the first stays."""

    def get(self, name: str) -> bytes | None:
        """Read a result.

        Args:
            name: Its address, with slashes and a suffix, such as `items/ab12.safetensors`.

        Returns:
            Its bytes, or None if there is none yet.

        Raises:
            InputError: If the store does not answer or refuses.
        """

    def has(self, name: str) -> bool:
        """Whether there is a result; arguments and errors as `get`."""

    def put(self, name: str, body: bytes) -> None:
        """Keep a result, unless there is one under its name.

        Args:
            name: Its address, as `get` takes it.
            body: Its bytes.

        Raises:
            InputError: If the store does not answer, refuses, or has no room.
        """

    def check(self) -> None:
        """See whether the store can be written to.

        Raises:
            InputError: If it cannot.
        """


class Folder:
    """A store in a folder, for one machine, or for several that mount it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(
                f"The result {self.folder / name} cannot be read ({error.strerror}); remove it, and it is computed again."
            ) from None

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def put(self, name: str, body: bytes) -> None:
        try:
            with creating(self.folder / name) as partial:
                partial.write_bytes(body)
        except OSError as error:
            raise InputError(
                f"The work store {self.folder} cannot be written to ({error.strerror}); give another as --work, or mend it."
            ) from None

    def check(self) -> None:
        check_writable(self.folder, "the work store")


class Bucket:
    """A store under a prefix of an S3 bucket, for any number of machines; conditional puts keep the first."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.bucket, self.prefix = s3.split_url(url)

    def get(self, name: str) -> bytes | None:
        return s3.get(self.bucket, self._key(name))

    def has(self, name: str) -> bool:
        return s3.exists(self.bucket, self._key(name))

    def put(self, name: str, body: bytes) -> None:
        from botocore.exceptions import ClientError

        with s3.plain_errors(f"writing {self.url}/{name}"):
            try:
                s3.client().put_object(Bucket=self.bucket, Key=self._key(name), Body=body, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] != "PreconditionFailed":
                    raise

    def check(self) -> None:
        s3.check_bucket(self.url, f"the work store {self.url}")
        self.put(PROBE, b"")

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


def work_store(place: str) -> WorkStore:
    """The store at a place.

    Args:
        place: A folder, or `s3://bucket/prefix`.

    Returns:
        The store; nothing has been asked of it yet.

    Raises:
        InputError: If the place is of neither form.
    """
    return Bucket(place) if "://" in place else Folder(Path(place))
