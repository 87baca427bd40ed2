"""A training set as Croissant: the format's own library finds nothing wrong, and loads the images' rows."""

import csv
import json

import mlcroissant
import pytest

from flows.cli.export import write
from mucs import InputError
from mucs.exports.croissant import describe
from mucs.ledger import Ledger
from mucs.ledger.rights import Right, say_rights
from tests.factories import fault, load, staged_run, training_row, writing
from tests.flows.test_cli import refused

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib"),  # of the library that reads it
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlcroissant"),
]
DAY = "2026-11-30"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ledger of a training set of nine images, of which one was opted out, and one goes by a name that is a formula."""
    folder = tmp_path_factory.mktemp("croissant")
    load(folder / "ledger", staged_run(folder, training=9))
    with writing(folder / "ledger") as ledger:
        opted = Right(2, training_row(1)["sha256"], "Ben", "CC0", "opted out", None, "2026-01-01", None)
        named = Right(3, training_row(2)["sha256"], "=Ada()", "CC0", "granted", None, "2026-01-01", None)
        say_rights(ledger, [opted, named])
    return folder


@pytest.fixture
def written(mucs, folder, tmp_path):
    place = tmp_path / "set.json"
    status, out, _ = mucs("export", "croissant", "--ledger", folder / "ledger", "--day", DAY, "--output", place)
    assert (status, out) == (0, f"{place}: 9 images, which are in {place.with_suffix('.csv')}.\n")
    return place


def test_the_formats_own_library_finds_nothing_wrong_and_loads_the_rows(written):
    read = mlcroissant.Dataset(jsonld=str(written))
    assert read.metadata.ctx.issues.errors == set()
    (warning,) = read.metadata.ctx.issues.warnings  # a revision of DVC is no semantic version
    assert "MAJOR.MINOR.PATCH" in warning
    rows = [
        {name.removeprefix("image/"): value.decode() for name, value in row.items()} for row in read.records("image")
    ]
    with written.with_suffix(".csv").open(newline="") as file:
        assert rows == [*csv.DictReader(file)]
    assert len(rows) == 9
    by_digest = {row["sha256"]: row for row in rows}
    assert by_digest[training_row(1)["sha256"]]["standing"] == "opted out"
    assert by_digest[training_row(2)["sha256"]]["rights_holder"] == "'=Ada()"  # no formula in a spreadsheet
    said = json.loads(written.read_text())
    assert said["license"] == ["CC0"]
    assert "8 granted, 1 opted out" in said["rai:dataReleaseMaintenancePlan"]


def test_it_is_as_rights_stood_on_the_day_and_the_same_each_time(folder):
    with Ledger.open(folder / "ledger") as ledger:
        sha256 = ledger.one("SELECT sha256 FROM artifacts WHERE kind = 'training_set'")
        now = describe(ledger, sha256, "set.csv", DAY)
        assert describe(ledger, sha256, "set.csv", DAY) == now
        before = describe(ledger, sha256, "set.csv", "2025-12-31")
        assert b"opted out," not in before.table
        assert b"opted out," in now.table


def test_the_log_is_told_and_bad_input_is_one_sentence(mucs, written, folder, tmp_path):
    with Ledger.open(folder / "ledger") as ledger:
        assert ledger.one("SELECT what FROM accesses ORDER BY position DESC LIMIT 1") == "croissant"
    assert fault(folder / "ledger") is None
    given = ("--ledger", folder / "ledger", "--output", tmp_path / "out.json")
    assert "--day cannot be 'tomorrow'" in refused(mucs("export", "croissant", "--day", "tomorrow", *given))
    assert "The ledger has 0 training sets called 'beef'" in refused(
        mucs("export", "croissant", "--training-set", "beef", *given)
    )
    with pytest.raises(InputError, match="cannot be written"):
        write({written / "file": b""})  # in a file
    assert not (tmp_path / "out.json").exists()
