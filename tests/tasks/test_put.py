"""Publishing never writes over other bytes."""

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
