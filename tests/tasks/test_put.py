"""Publishing never writes over other bytes."""

import os

import pytest
from botocore.exceptions import ClientError

from mucs import InputError
from tasks.put import check_retention, put_once, until_days
from tasks.s3 import client


def test_the_same_bytes_may_come_twice_and_others_never(s3):
    put_once("evidence", "put-once", b"first")
    put_once("evidence", "put-once", b"first")
    with pytest.raises(InputError, match="holds other bytes"):
        put_once("evidence", "put-once", b"second")
    assert client().get_object(Bucket="evidence", Key="put-once")["Body"].read() == b"first"


def test_what_is_there_already_is_locked_too_and_never_for_less(s3):
    days = {name: until_days(count) for name, count in (("short", 1), ("long", 5), ("between", 3))}
    client().create_bucket(Bucket="keeps", ObjectLockEnabledForBucket=True)
    put_once("keeps", "later", b"first")
    for name, kept in (("short", "short"), ("long", "long"), ("between", "long")):
        put_once("keeps", "later", b"first", days[name])
        found = client().get_object_retention(Bucket="keeps", Key="later")["Retention"]
        assert found["Mode"] == "COMPLIANCE"
        assert abs((found["RetainUntilDate"] - days[kept]).total_seconds()) < 2
    version = client().head_object(Bucket="keeps", Key="later")["VersionId"]
    with pytest.raises(ClientError):
        client().delete_object(Bucket="keeps", Key="later", VersionId=version)


def test_a_bucket_is_asked_for_its_lock(s3):
    client().create_bucket(Bucket="locks", ObjectLockEnabledForBucket=True)
    check_retention("locks", 1)
    with pytest.raises(InputError, match="has no object lock"):
        check_retention("evidence", 1)
    with pytest.raises(InputError, match="give at least 1"):
        check_retention("locks", 0)
    with pytest.raises(InputError, match="no such bucket"):
        check_retention("nowhere", 1)


def test_a_file_that_is_too_large_for_one_request_goes_up_in_parts_and_never_over_another(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.put.ONE_PUT", 6 << 20)
    monkeypatch.setattr("tasks.put.PART", 5 << 20)
    client().create_bucket(Bucket="parts", ObjectLockEnabledForBucket=True)
    path = tmp_path / "edges.parquet"
    path.write_bytes(os.urandom(13 << 20))
    for _ in range(2):
        put_once("parts", "edges.parquet", path, until_days(1))
    found = client().get_object(Bucket="parts", Key="edges.parquet")
    assert found["ETag"].endswith('-3"')
    assert (found["ObjectLockMode"], found["Body"].read()) == ("COMPLIANCE", path.read_bytes())
    path.write_bytes(os.urandom(13 << 20))
    with pytest.raises(InputError, match="holds other bytes"):
        put_once("parts", "edges.parquet", path)
    assert not client().list_multipart_uploads(Bucket="parts").get("Uploads")


def test_a_file_is_put_as_its_bytes_are(s3, tmp_path):
    (tmp_path / "bank").write_bytes(b"noise")
    put_once("evidence", "a-file", tmp_path / "bank")
    put_once("evidence", "a-file", b"noise")
    assert client().get_object(Bucket="evidence", Key="a-file")["Body"].read() == b"noise"
