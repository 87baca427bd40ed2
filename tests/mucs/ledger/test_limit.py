"""A query that takes too long ends, and what comes after it goes on."""

import time
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from mucs.ledger.limit import Limit

LONG = "SELECT count(*) FROM range(100000000000) t(x) WHERE x * x % 7 = 3"


def test_it_ends_what_takes_too_long_and_nothing_else():
    limit, database = Limit(), duckdb.connect()

    def ask(seconds):
        connection = database.cursor()
        with limit.of(connection, seconds):
            return connection.execute(LONG if seconds < 1 else "SELECT 1").fetchall()

    with ThreadPoolExecutor(3) as readers:
        began = time.monotonic()
        slow = [readers.submit(ask, 0.2) for _ in range(2)]
        assert readers.submit(ask, 60).result() == [(1,)]
        for each in slow:
            with pytest.raises(TimeoutError):
                each.result(20)
        assert time.monotonic() - began < 15
        assert readers.submit(ask, 60).result() == [(1,)]
