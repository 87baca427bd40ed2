"""Publishing never writes over other bytes."""

import pytest

from mucs import InputError
from tasks.publish import put_once
from tasks.s3 import client


def test_the_same_bytes_may_come_twice_and_others_never(s3):
    put_once("evidence", "put-once", b"first")
    put_once("evidence", "put-once", b"first")
    with pytest.raises(InputError, match="holds other bytes"):
        put_once("evidence", "put-once", b"second")
    assert client().get_object(Bucket="evidence", Key="put-once")["Body"].read() == b"first"
