"""The index, from decoys to a provisional answer and its measured one, on real parts: S3, DVC, Prefect, DuckDB."""

import contextlib
import hashlib
import json
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import torch
from prefect.utilities.callables import get_parameter_defaults

from flows.audit import audit
from flows.calibrate import calibrate
from flows.index import index
from flows.provisional import Answering, Apart
from mucs import InputError
from mucs.attribution import Screening, Settings
from mucs.images.request import Request
from mucs.index import Index
from mucs.ledger import Ledger
from mucs.ledger.verify import verify
from tasks.ledgers import open_log
from tasks.stores import open_store
from tests.conftest import FAST
from tests.flows.test_audit import asked

pytestmark = pytest.mark.usefixtures("prefect_server")

SETTINGS = Settings.from_record(FAST | {"decoys": 8, "calibration_noises": 4})


@pytest.fixture(scope="module")
def folder(registry, prefect_server, tmp_path_factory):
    return tmp_path_factory.mktemp("indexed")


@pytest.fixture(scope="module")
def inputs(registry, folder):
    return {
        "registry": str(registry),
        "revision": "v1",
        "log": str(folder / "log"),
        "settings": SETTINGS,
        "device": "cpu",
        "cache": folder / "cache",
    }


@pytest.fixture(scope="module")
def given(inputs, folder):
    """The parameters of all flows that work on a ledger."""
    return inputs | {"licences": ["CC-BY-4.0"], "ledger": str(folder / "ledger")}


@pytest.fixture(scope="module")
def bare(given):
    """An index of before anything was measured."""
    return index(**given)


@pytest.fixture(scope="module")
def indexed(given, inputs, bare, folder):
    """The one that is fitted to decoys."""
    calibrate(**inputs, licences=["CC-BY-4.0"])
    return index(**given)


@pytest.fixture(scope="module")
def whole(given):
    """The same with all that is left to its default, as deployments have it."""
    return audit.validate_parameters(get_parameter_defaults(audit.fn) | given | {"batch": ""})


def words(inputs: dict, folder, *more: object) -> list[object]:
    told = [f"{name}={json.dumps(value)}" for name, value in (FAST | {"decoys": 8, "calibration_noises": 4}).items()]
    places = ["--registry", inputs["registry"], "--revision", "v1", "--log", inputs["log"], "--device", "cpu"]
    return [*places, "--ledger", folder / "ledger", *(word for each in told for word in ("--set", each)), *more]


def test_before_anything_is_measured_it_goes_by_likeness_and_is_replaced_then(bare, indexed, folder):
    assert (bare.made, bare.pictures, bare.measured) == (True, 0, None)
    assert (indexed.made, indexed.pictures, indexed.measured["pictures"], indexed.training) == (True, 8, 8, 24)
    assert asked(folder / "ledger", "SELECT sha256, pictures, spearman IS NULL FROM indexes ORDER BY position") == [
        (bare.index, 0, True),
        (indexed.index, 8, False),
    ]


def test_nothing_new_replaces_nothing_and_embeds_nothing(given, indexed, folder, said):
    again = index(**given)
    assert (again.made, again.index, again.pictures) == (False, indexed.index, 8)
    assert sum("made before" in line for line in said()) == 2
    assert asked(folder / "ledger", "SELECT count(*) FROM indexes") == [(2,)]


def test_what_is_gone_from_the_work_store_is_made_again_the_same(given, indexed, folder):
    with open_log(given["log"]).file(indexed.index) as path:
        before = Index.read(path)
    store = open_store(str(folder / "cache" / "work"))
    for name in list(store.names("vectors/")):
        store.delete(name)
    assert index(**given).made is False
    anew = [open_store(str(folder / "cache" / "work")).get(name) for name in store.names("vectors/")]
    assert len(anew) == 3
    vectors = torch.frombuffer(
        bytearray(next(body for body in anew if len(body) == 24 * 4 * before.items.shape[1])), dtype=torch.float32
    )
    torch.testing.assert_close(vectors.reshape(24, -1) - before.middle, before.items)


def test_a_picture_is_answered_and_then_measured(mucs, given, inputs, indexed, folder, world):
    picture = world.generated / "g0.png"  # nearly t03
    command = ["ask-image", picture, *words(inputs, folder, "--class", "1")]
    status, out, error = mucs(*command, "--json", "--top", "24")
    assert (status, error) == (0, "")
    rows = json.loads(out)
    assert [row["rank"] for row in rows] == list(range(1, 25))
    assert sorted(row["training"] for row in rows) == [f"t{k:02d}" for k in range(24)]
    assert [row["predicted"] for row in rows] == sorted((row["predicted"] for row in rows), reverse=True)
    assert all(row["low"] <= row["high"] and row["measured_score"] is None for row in rows)
    assert {(row["pictures"], row["index_sha256"]) for row in rows} == {(8, indexed.index)}

    batch = next(entry for entry in open_log(given["log"]).after() if entry.kind == "provisional")
    assert batch.body["generated"]["row_sha256"] == rows[0]["row_sha256"]
    asked_again = mucs(*command)
    assert "Provisional: what the index estimates. It is no evidence, and is never paid." in asked_again[1]
    assert "It was fitted to 8 measured pictures." in asked_again[1]
    assert asked(folder / "ledger", "SELECT count(*) FROM provisional_answers") == [(1,)]  # which it was told once
    assert asked(folder / "ledger", "SELECT count(*) FROM edges") == [(0,)]

    request = Request(picture.read_bytes(), "1")
    sent, shard = request.row["id"], hashlib.sha256(request.to_shard()).hexdigest()
    assert request.address == rows[0]["row_sha256"]
    audit(**given, batch=f"object:{shard}", reports=folder / "reports")
    with Ledger.open(folder / "ledger") as ledger:
        measured = ledger.ask("provisional", generated=sent, top=24)
        edges = {row["training"]: (row["rank"], row["score"]) for row in ledger.ask("why", generated=sent, top=24)}
        assert {row["training"]: (row["measured_rank"], row["measured_score"]) for row in measured} == edges
        assert verify(ledger, open_log(given["log"])).fault is None
    with (
        Ledger.rebuild(folder / "rebuilt", open_log(given["log"])) as rebuilt,
        Ledger.open(folder / "ledger") as ledger,
    ):
        for table in ("indexes", "provisional_answers", "provisional_edges"):
            assert rebuilt.rows(f"FROM {table} ORDER BY ALL") == ledger.rows(f"FROM {table} ORDER BY ALL")


@pytest.mark.slow
def test_what_was_attributed_without_screening_is_fitted_to_as_well(given, indexed, folder):
    audit(**given, batch="generated", reports=folder / "reports")
    done = index(**given, batch="generated")
    converged = asked(
        folder / "ledger",
        "SELECT count(*) FROM attributions WHERE converged AND generated_id IN (SELECT generated_id FROM generated_items WHERE id IN ('g0', 'g1', 'g2'))",
    )
    assert done.pictures == 8 + converged[0][0]


def named(given: dict, **changed: object) -> dict:
    """The parameters of an audit whose candidates an index names."""
    settings = replace(SETTINGS, screening=Screening(**{"candidates": 4} | changed))
    return given | {"settings": settings, "batch": "generated"}


def test_candidates_that_an_index_names_are_measured_and_what_is_missed_is_on_record(
    mucs, given, indexed, folder, monkeypatch
):
    monkeypatch.setattr("mucs.attribution.missed.SAMPLED", 2)  # of the 24 training items, 10 are measured so
    monkeypatch.setenv("MUCS_CACHE", str(folder / "cache"))
    done = audit(**named(given), reports=folder / "reports")
    with Ledger.open(folder / "ledger") as ledger:
        record = ledger.rows("SELECT record FROM runs WHERE sha256 = $run", {"run": done.run})[0]["record"]
        rows = ledger.ask("missed")
        edges = ledger.rows(
            "SELECT count(*) AS n FROM edges JOIN runs USING (run_id) WHERE sha256 = $run GROUP BY generated_id",
            {"run": done.run},
        )
        assert verify(ledger, open_log(given["log"])).fault is None
    (current,) = asked(folder / "ledger", "SELECT sha256 FROM indexes ORDER BY position DESC LIMIT 1")[0]
    assert json.loads(record)["index"] == current
    assert {row["n"] for row in edges} == {10}
    assert sorted(row["generated"] for row in rows) == ["g0", "g1", "g2"]
    for row in rows:
        assert (row["training_items"], row["measured"], row["sampled"], row["run"]) == (24, 10, 6, done.run)
        for name in ("excess", "score"):
            assert 0 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1
    page = done.report.read_text()
    assert (
        "An index named the training images that are likeliest behind this one. Of 24, 10 were measured in full, 6 of them"
        in page
    )
    status, out, _ = mucs("replay", done.run, "--ledger", folder / "ledger", "--json")
    assert (status, json.loads(out)["verdict"]) == (0, "identical")


@pytest.mark.slow
def test_where_too_much_is_missed_all_are_measured(given, indexed, folder, monkeypatch):
    monkeypatch.setattr("mucs.attribution.missed.SAMPLED", 2)
    done = audit(**named(given, most_missed=1e-9), reports=folder / "reports")
    found = asked(
        folder / "ledger",
        f"SELECT a.survivors, a.missed->'excess'->>'estimate' FROM attributions a JOIN runs USING (run_id) WHERE sha256 = '{done.run}'",
    )
    assert all(10 <= survivors <= 24 and float(estimate) <= 1e-9 for survivors, estimate in found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"screening": Screening(candidates=25)}, "25 candidates are asked of 24 training items"),
        ({"screening": Screening(candidates=4), "seed": 5}, "The setting candidates needs an index"),
    ],
)
def test_candidates_that_no_index_can_name_are_refused_before_anything_is_attributed(
    given, indexed, folder, changed, message
):
    before = asked(folder / "ledger", "SELECT count(*) FROM runs")
    with pytest.raises(InputError, match=message):
        audit(**named(given) | {"settings": replace(SETTINGS, **changed)}, reports=folder / "reports")
    assert asked(folder / "ledger", "SELECT count(*) FROM runs") == before


def test_an_index_of_other_settings_answers_nothing(whole, indexed, world):
    other = whole | {"settings": replace(SETTINGS, seed=5)}
    shard = Request((world.generated / "g1.png").read_bytes(), "0").to_shard()
    with pytest.raises(InputError, match="There is no index of this checkpoint"):
        Answering(other).ask(f"object:{open_log(whole['log']).keep(shard)}")


@pytest.mark.slow
def test_a_process_apart_answers_and_is_there_again_when_it_was_killed(whole, indexed):
    apart = Apart(whole)
    batch = f"object:{'0' * 64}"
    with pytest.raises(InputError, match="missing"):
        apart.ask(batch).result(120)
    (process,) = apart._pool._processes.values()
    process.kill()
    process.join()
    with contextlib.suppress(BrokenProcessPool, InputError):  # that it is no more may be seen a little later
        apart.ask(batch).result(120)
    with pytest.raises(InputError, match="missing"):
        apart.ask(batch).result(120)
    (process,) = apart._pool._processes.values()
    apart.close()
    assert not process.is_alive()
