"""Serve: a real S3 (SeaweedFS, from its wheel) on loopback, for the demo and the tests."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from mucs import InputError
from mucs.files import check_writable, replacing
from mucs.text import for_terminal
from tasks.s3 import BUCKET, client, plain_errors

STARTUP_SECONDS = 60
CONFIG, PORTS, LOCK = "identities.json", "ports.json", ".lock"  # of a server, in its folder


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however it ends (Linux)."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def is_free(port: int) -> bool:
    """Whether a loopback port and its neighbour 10,000 above, which the server takes too, are free."""
    with socket.socket() as low, socket.socket() as high, contextlib.suppress(OSError):
        for end, number in ((low, port), (high, port + 10_000)):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind(("127.0.0.1", number))
        return True
    return False


def choose_ports(folder: Path) -> list[int]:
    """Four free ports (S3, master, volume, filer), the same as last time for the same folder if they are still free.

    All lie below the range from which the system picks ports for outgoing connections.
    """
    kept = folder / PORTS
    ports: list[int] = json.loads(kept.read_text()) if kept.exists() else []
    if not ports or not all(is_free(port) for port in ports):
        ports = []
        while len(ports) < 4:
            port = 10_000 + secrets.randbelow(12_000)
            if port not in ports and is_free(port):
                ports.append(port)
        with replacing(kept) as partial:
            partial.write_text(json.dumps(ports))
    return ports


def choose_keys(folder: Path) -> tuple[str, str]:
    """An access key and its secret, the same as last time for the same folder, so that shells need be told once."""
    try:
        (identity,) = json.loads((folder / CONFIG).read_text())["identities"]
        (keys,) = identity["credentials"]
        return str(keys["accessKey"]), str(keys["secretKey"])
    except (OSError, ValueError, LookupError, TypeError):
        return secrets.token_hex(10), secrets.token_hex(20)


def check_served(folder: Path, buckets: Iterable[str]) -> None:
    """See whether a server may have a folder, which it fills with files of its own, and whether these can be its buckets.

    Raises:
        InputError: If the folder is neither new nor empty, and was not served before; or if one is no name for a bucket.
    """
    for name in buckets:
        if not BUCKET.fullmatch(name):
            raise InputError(
                f"{for_terminal(name, 100)!r} is no name for a bucket; use small letters, digits, . and -."
            )
    if folder.is_dir() and not (folder / LOCK).exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds other files than a server's; give a folder that is empty or new.")
    check_writable(folder, "the server's objects")


def make_buckets(names: Iterable[str]) -> None:
    """Make buckets on the S3 of this process's variables, unless they are there. Raises InputError where S3 refuses."""
    s3 = client()
    for name in names:
        with plain_errors(f"making the bucket {name}"), contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=name)


class S3Server:
    """A SeaweedFS server over one folder, with credentials of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port: int | None = None
        self.access_key, self.secret_key = choose_keys(folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.lock: TextIO | None = None  # two servers would write over each other's volumes

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs, in boto3's usual names."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start and wait until it answers; InputError if it does not within a minute, or the folder is served already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = (self.folder / LOCK).open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self.folder} is served by another process already; stop that one first.") from None
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        config = self.folder / CONFIG
        config.touch(mode=0o600)
        keys = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        config.write_text(
            json.dumps(
                {
                    "identities": [
                        {"name": "mucs", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
                    ]
                }
            )
        )
        self.port, master, volume, filer = choose_ports(self.folder)
        command = [
            *(str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server", f"-dir={data}"),
            *(
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-master.port={master}",
                f"-volume.port={volume}",
                f"-filer.port={filer}",
            ),
            *("-s3", f"-s3.port={self.port}", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(
                "-s3.autoCreateBucket=false",
                "-master.telemetry=false",
                "-master.resumeState=false",  # there is one master; looking for the peers of its last life takes 15 s
                "-master.volumeSizeLimitMB=256",
                "-volume.max=1024",
            ),
        ]
        # it would take credentials from the environment as those of another owner, and lock this one out of its buckets
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (self.folder / "server.log").open("wb") as log:
            try:
                self.process = subprocess.Popen(
                    command,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    preexec_fn=die_with_parent,
                )
            except FileNotFoundError:
                raise InputError("The embedded S3 server is not installed; run `pip install mucs[demo]`.") from None
        self._wait()

    def _wait(self) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=1),
        )
        deadline = time.monotonic() + STARTUP_SECONDS
        probe = "mucs-probe"  # always the same one: every bucket takes volumes of its own
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(BotoCoreError, ClientError):
                with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket=probe)
                client.put_object(Bucket=probe, Key="probe", Body=b"probe")  # the first write waits for a volume
                return
            time.sleep(0.1)
        self.stop()
        raise InputError(f"The embedded S3 server did not come up; see {self.folder / 'server.log'} for the reason.")

    def stop(self) -> None:
        """End it. Every write that was answered is with the operating system by then; asked politely it takes 15 s."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.lock is not None:
            self.lock.close()
            self.lock = None


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A running server whose environment is also this process's, until the block ends."""
    server = S3Server(folder)
    kept = {name: os.environ.get(name) for name in (*server.environment, "AWS_PROFILE", "AWS_SESSION_TOKEN")}
    try:
        server.start()
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        os.environ.update(server.environment)
        yield server
    finally:
        server.stop()
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
