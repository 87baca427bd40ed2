"""A corpus of bad input: each case is one sentence that says what to do, and status 2, and changes nothing.

tests/corpus has a folder of files for each kind of input, and beside it a table of what is said of each: a case, and a part of
the sentence. Of commands and settings there is the table alone. What would be huge, or a device, is made here.
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import diffusers
import duckdb
import pytest
import torch
from safetensors.torch import save_file

from flows.cli.jobs import read_settings
from mucs import InputError
from mucs.attribution import Calibration, DiffusionModel, NoiseBank
from mucs.evidence.signing import keygen
from mucs.ledger import Ledger
from mucs.ledger.catalogue import SCHEMA
from tasks.pull import as_pulled, read_listing
from tasks.read import Source, read_images
from tasks.registry import open_registry
from tasks.validate import ImageSpec, try_out, validate_training
from tests.factories import load, staged_run
from tests.mucs.ledger.test_ledger import attached, make_run

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 30
SPEC = ImageSpec(8, 8, None, prompts=False)


def table(kind: str) -> list:
    """The cases of a kind, each with a part of what is said of it."""
    lines = (CORPUS / f"{kind}.txt").read_text().splitlines()
    cases = [line.split("  →  ") for line in lines if line and not line.startswith("#")]
    return [pytest.param(case, words, id=case) for case, words in cases]


def of(kind: str, *suffixes: str) -> pytest.MarkDecorator:
    cases = [each for each in table(kind) if not suffixes or each.values[0].endswith(suffixes)]
    return pytest.mark.parametrize(("case", "words"), cases)


def is_one_sentence(sentence: str, words: str) -> None:
    assert words in sentence
    assert sentence.isprintable()
    assert len(sentence) < 2000
    assert sentence.endswith((".", "?"))
    assert ";" in sentence or ":" in sentence  # what is wrong, and what to do


def says(attempt, words: str) -> None:
    """The attempt is refused, as a command would say it."""
    with pytest.raises(InputError) as refused:
        attempt()
    is_one_sentence(str(refused.value), words)


@pytest.fixture(autouse=True)
def _in_time():
    """Nothing waits for good."""

    def late(*_):
        raise AssertionError(f"it took longer than {SECONDS} seconds")

    kept = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, kept)


class World:
    """A ledger with a run in it and its log, a folder to write to and a cache, and a copy of all that is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder, folder / "ledger"
        self.run = make_run(folder)
        load(self.ledger, self.run)
        (folder / "cache" / "objects").mkdir(parents=True)
        (folder / "cache" / "objects" / "kept").write_text("kept")
        keygen(folder / "key")
        self.before = self.listing()

    def listing(self) -> dict[str, object]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes() if path.is_file() else None
            for path in self.folder.rglob("*")
            if not path.name.startswith("catalogue.sqlite-")  # which SQLite keeps for whoever reads
        }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("corpus")
        patch.setenv("MUCS_LEDGER", str(folder / "ledger"))
        patch.setenv("MUCS_CACHE", str(folder / "cache"))
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.chdir(folder)
        yield World(folder)


@pytest.fixture
def refused(mucs, whole):
    """Run a command that is refused, or whose check fails, and look at all that it should leave alone."""

    def run(words, *command, status=2) -> None:
        found, out, err = mucs(*command)
        assert found == status, (out, err)
        if status == 2:
            assert out == ""
            assert err.startswith("mucs: ")
            is_one_sentence(err.removesuffix("\n"), words)
        else:
            assert (words in out, out.count("\n"), err) == (True, 1, "")
        assert whole.listing() == whole.before

    return run


def test_every_file_of_the_corpus_is_a_case():
    for folder in (path for path in CORPUS.iterdir() if path.is_dir()):
        cases = {case.values[0] for case in table(folder.name)}
        assert {path.name for path in folder.iterdir() if not path.name.startswith("good.")} == cases, folder.name


def test_what_the_cases_spoil_is_good(mucs, whole, tmp_path):
    given = ("--contract", CORPUS / "contracts/good.yaml", "--usage", CORPUS / "usage/good.csv")
    assert mucs("royalties", *given, "--period", "2026-10", "--dry-run")[0] == 0
    own, log = (shutil.copytree(whole.folder / name, tmp_path / name) for name in ("ledger", "log"))
    assert mucs("rights", CORPUS / "rights/good.csv", "--ledger", own, "--log", log)[0] == 0
    proof = CORPUS / "proofs/good.json"
    assert mucs("verify", "--proof", proof, "--root", json.loads(proof.read_text())["root"])[0] == 0
    signed = ("--envelope", CORPUS / "envelopes/good.json", "--key", CORPUS / "keys/good.pub")
    assert mucs("verify", *signed)[0] == 0
    assert open_registry(str(registry(tmp_path)), "HEAD", "train").outputs
    folder = images(tmp_path / "images", (CORPUS / "manifests/good.csv").read_bytes(), CORPUS / "images/good.png")
    assert all(v["success"] for v in validate_training.fn(as_pulled(folder), "training set", SPEC, ["CC0"], tmp_path))
    assert DiffusionModel.from_pretrained(checkpoint(tmp_path / "checkpoint")).shape == (3, 8, 8)


@of("contracts")
def test_contracts(refused, case, words):
    usage = ("--usage", CORPUS / "usage/good.csv", "--period", "2026-10")
    refused(words, "royalties", "--contract", CORPUS / "contracts" / case, *usage)


@of("usage")
def test_usage_reports(refused, case, words):
    contract = ("--contract", CORPUS / "contracts/good.yaml", "--period", "2026-10", "--dry-run")
    refused(words, "royalties", "--usage", CORPUS / "usage" / case, *contract)


@of("rights")
def test_rights(refused, case, words):
    refused(words, "rights", CORPUS / "rights" / case)


@of("proofs")
def test_proofs(refused, case, words):
    root = json.loads((CORPUS / "proofs/good.json").read_text())["root"]
    status = 1 if case.startswith("fails-") else 2
    refused(words, "verify", "--proof", CORPUS / "proofs" / case, "--root", root, status=status)


@of("envelopes")
def test_envelopes(refused, case, words):
    status = 1 if case.startswith("fails-") else 2
    envelope = CORPUS / "envelopes" / case
    refused(words, "verify", "--envelope", envelope, "--key", CORPUS / "keys/good.pub", status=status)


@of("keys")
def test_public_keys(refused, case, words):
    refused(words, "verify", "--envelope", CORPUS / "envelopes/good.json", "--key", CORPUS / "keys" / case)


@of("commands")
def test_commands(refused, whole, case, words):
    """In a folder with a ledger; {run} is its run, {checkpoint} and {train} what that was made from."""
    digests = {kind: f"{kind:f<64}" for kind in ("checkpoint", "training_set")}
    names = {"run": whole.run.sha256, "checkpoint": digests["checkpoint"], "train": digests["training_set"]}
    given = shlex.split(case.replace("\\e", "\x1b"))
    refused(words, *(word.format(**names, corpus=CORPUS) if word[:1] == "{" else word for word in given))


@of("queries")
def test_queries(whole, case, words):
    """As `mucs sql` has them answered in a process of its own, which takes half a second to start."""
    with Ledger.open("ledger") as ledger:
        says(lambda: ledger.select(case.replace("\\e", "\x1b")), words)
    assert whole.listing() == whole.before


@of("settings")
def test_settings(case, words):
    says(lambda: read_settings((case,)), words)


def test_settings_are_refused_by_the_command(refused):
    given = ("audit", "--registry", "x", "--log", "s3://b/x", "--licence", "x", "--set")
    refused("is not a setting; write name=value", *given, "learning_rat=1")
    refused("cannot be", *given, "max_steps=" + "[" * 100_000)


def registry(folder: Path, **files: bytes) -> Path:
    """A Git repository as DVC has it, with some of its files another."""
    made = folder / "registry"
    for name, file in {"config": ".dvc/config", "dvc": "train.dvc", "lock": "dvc.lock"}.items():
        good = CORPUS / "registries" / f"good.{name}"
        content = files.get(name) or (good.read_bytes() if good.exists() else None)
        if content is not None:
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            (made / file).write_bytes(content)
    for words in (("init", "-q"), ("add", "-Af"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")):
        subprocess.run(("git", "-c", "core.hooksPath=/dev/null", *words), cwd=made, check=True, capture_output=True)
    return made


@of("registries", ".config", ".dvc", ".lock")
def test_registries(tmp_path, case, words):
    content = (CORPUS / "registries" / case).read_bytes()
    made = registry(tmp_path, **{Path(case).suffix[1:]: content})
    says(lambda: open_registry(str(made), "HEAD", "train"), words)


@of("registries", ".listing")
def test_listings(case, words):
    says(lambda: read_listing((CORPUS / "registries" / case).read_bytes(), "train"), words)


def images(folder: Path, manifest: bytes, image: Path) -> Path:
    folder.mkdir()
    (folder / "metadata.csv").write_bytes(manifest)
    shutil.copy(image, folder / image.name)
    return folder


@of("manifests")
def test_manifests(tmp_path, case, words):
    folder = images(tmp_path / "train", (CORPUS / "manifests" / case).read_bytes(), CORPUS / "images/good.png")
    says(lambda: validate_training.fn(as_pulled(folder), "training set", SPEC, ["CC0"], tmp_path), words)


@of("images")
def test_images(tmp_path, case, words):
    image = CORPUS / "images" / case
    row = f"a,{case},{hashlib.sha256(image.read_bytes()).hexdigest()},Ada,CC0,2024-01-01"
    manifest = f"id,file_name,sha256,rights_holder,licence,date\n{row}\n".encode()
    folder = images(tmp_path / "train", manifest, image)
    says(lambda: validate_training.fn(as_pulled(folder), "training set", SPEC, ["CC0"], tmp_path), words)
    says(lambda: read_images(Source(folder)), case)  # as a study reads them


def checkpoint(folder: Path) -> Path:
    """A tiny class-conditional network of 8×8 images."""
    torch.manual_seed(0)
    for name, part, file in (("network", "unet", "config"), ("scheduler", "scheduler", "scheduler_config")):
        (folder / part).mkdir(parents=True)
        shutil.copy(CORPUS / f"configurations/good.{name}.json", folder / part / f"{file}.json")
    network = diffusers.UNet2DModel.from_config(json.loads((folder / "unet/config.json").read_text()))
    save_file(network.state_dict(), folder / "unet/diffusion_pytorch_model.safetensors")
    return folder


PLACES = {
    "network": "unet/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "index": "unet/diffusion_pytorch_model.safetensors.index.json",
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # torch, of a network without channels
@of("configurations")
def test_configurations(tmp_path, case, words):
    folder = checkpoint(tmp_path / "checkpoint")
    shutil.copy(CORPUS / "configurations" / case, folder / PLACES[case.split(".")[1]])
    says(lambda: try_out(DiffusionModel.from_pretrained(folder)), words)


TENSORS = {"null_scores": torch.zeros(3, 2), "decoys": torch.tensor([0, 1])}
ABOUT = {"address": "a", "entries": 4, "code": "c"}
CALIBRATIONS = {
    "no scores": ({"decoys": TENSORS["decoys"]}, ABOUT),
    "no decoys": ({"null_scores": TENSORS["null_scores"]}, ABOUT),
    "scores of one decoy": (TENSORS | {"null_scores": torch.zeros(3)}, ABOUT),
    "fewer decoys": (TENSORS | {"decoys": torch.tensor([0])}, ABOUT),
    "decoys with a fraction": (TENSORS | {"decoys": torch.tensor([0.5, 1])}, ABOUT),
    "decoys below nothing": (TENSORS | {"decoys": torch.tensor([-1, 0])}, ABOUT),
    "scores of whole numbers": (TENSORS | {"null_scores": torch.zeros(3, 2, dtype=torch.int64)}, ABOUT),
    "scores that are not finite": (TENSORS | {"null_scores": torch.full((3, 2), torch.nan)}, ABOUT),
    "imaginary scores": (TENSORS | {"null_scores": torch.zeros(3, 2, dtype=torch.complex64)}, ABOUT),
    "no scores of any": (TENSORS | {"null_scores": torch.zeros(0, 2)}, ABOUT),
    "unseen scores of one decoy": (TENSORS | {"unseen_null_scores": torch.zeros(2, 1)}, ABOUT),
    "a decoy that is no held-out item": (TENSORS | {"unseen_null_scores": torch.zeros(1, 2)}, ABOUT),
    "no word": (TENSORS, None),
    "a list": (TENSORS, [1]),
    "entries as text": (TENSORS, ABOUT | {"entries": "four"}),
    "no entries": (TENSORS, ABOUT | {"entries": 0}),
    "entries and a half": (TENSORS, ABOUT | {"entries": 1.5}),
    "entries below nothing": (TENSORS, ABOUT | {"entries": -4}),
    "an address that is none": (TENSORS, ABOUT | {"address": [1]}),
    "no code": (TENSORS, {"address": "a", "entries": 4}),
}


@pytest.mark.parametrize("fault", CALIBRATIONS)
def test_calibrations(tmp_path, fault):
    tensors, about = CALIBRATIONS[fault]
    save_file(tensors, tmp_path / "calibration", None if about is None else {"about": json.dumps(about)})
    says(lambda: Calibration.read(tmp_path / "calibration"), "is not a calibration; make it anew")


BANK = {"noise": torch.zeros(2, 3, 8, 8), "levels": torch.zeros(2)}
BANKS = {
    "no noise": ({"levels": BANK["levels"]}, "is not a noise bank"),
    "no levels": ({"noise": BANK["noise"]}, "is not a noise bank"),
    "nothing": ({"noise": torch.zeros(0, 3, 8, 8), "levels": torch.zeros(0)}, "M ≥ 1"),
    "fewer levels": (BANK | {"levels": torch.zeros(1)}, "needs noise (M, C, H, W)"),
    "flat noise": (BANK | {"noise": torch.zeros(2, 3)}, "needs noise (M, C, H, W)"),
    "imaginary noise": (BANK | {"noise": torch.zeros(2, 3, 8, 8, dtype=torch.complex64)}, "of real numbers"),
    "infinite levels": (BANK | {"levels": torch.full((2,), torch.inf)}, "not finite; draw it anew"),
}
HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
SAFETENSORS = {
    "empty": b"",
    "text": b"tensors\n",
    "a header without end": (2**62).to_bytes(8, "little") + HEADER,
    "a header of 100 MB": (100_000_000).to_bytes(8, "little") + HEADER,
    "no tensor after the header": len(HEADER).to_bytes(8, "little") + HEADER,
    "a deep header": (10**5).to_bytes(8, "little") + b"[" * 10**5,
    "a header that is none": (4).to_bytes(8, "little") + b"null",
}


@pytest.mark.parametrize("fault", [*BANKS, *SAFETENSORS])
def test_noise_banks(tmp_path, fault):
    path = tmp_path / "bank"
    if fault in BANKS:
        save_file(BANKS[fault][0], path)
        return says(lambda: NoiseBank.read(path), BANKS[fault][1])
    path.write_bytes(SAFETENSORS[fault])
    says(lambda: NoiseBank.read(path), "is not a noise bank; give")
    says(lambda: Calibration.read(path), "is not a calibration; make it anew")
    folder = checkpoint(tmp_path / "checkpoint")
    shutil.copy(path, folder / "unet/diffusion_pytorch_model.safetensors")
    says(lambda: DiffusionModel.from_pretrained(folder), "is not a whole safetensors file; fetch it again")


Make = Callable[[Path, "World"], object]


def catalogue(change: Callable[[Path], object]) -> Make:
    """A folder with this in the catalogue's place."""

    def make(ledger: Path, _: World) -> None:
        ledger.mkdir()
        change(ledger / "catalogue.sqlite")

    return make


def altered(change: Callable[[bytes], bytes]) -> Make:
    """A ledger whose catalogue has other bytes."""

    def make(ledger: Path, whole: World) -> None:
        shutil.copytree(whole.ledger, ledger)
        path = ledger / "catalogue.sqlite"
        path.write_bytes(change(path.read_bytes()))

    return make


def by_sql(*statements: str, whole: bool = False, sqlite: bool = False) -> Make:
    """What these statements make of nothing or of a whole ledger, as DuckDB has it or as the catalogue has it."""

    def make(ledger: Path, of: World) -> None:
        shutil.copytree(of.ledger, ledger) if whole else ledger.mkdir()
        if sqlite:
            with sqlite3.connect(ledger / "catalogue.sqlite") as catalogue:
                catalogue.executescript("; ".join(statements))
            catalogue.close()
        else:
            with attached(ledger) as connection:
                for statement in statements:
                    connection.execute(statement)

    return make


def old_one(path: Path, _: World) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE ledger (schema_version INTEGER); INSERT INTO ledger VALUES (7)")


FILE, NONE = "is a file, and a ledger is a folder; if it is one of before there was a log", "There is no ledger at"
DAMAGED, NO_LEDGER = "cannot be opened as a ledger", "is a DuckLake but not a ledger; give another --ledger"
LEDGERS: dict[str, tuple[Make, str]] = {
    "an empty file": (lambda path, _: path.touch(), FILE),
    "of before there was a log": (old_one, FILE),
    "a pipe": (lambda path, _: os.mkfifo(path), NONE),
    "a device": (lambda path, _: path.symlink_to("/dev/zero"), NONE),
    "a circle of links": (lambda path, _: path.symlink_to(path), NONE),
    "nothing": (lambda *_: None, NONE),
    "an empty folder": (lambda path, _: path.mkdir(), NONE),
    "a folder for a catalogue": (catalogue(Path.mkdir), NONE),
    "a pipe for a catalogue": (catalogue(os.mkfifo), NONE),
    "a device for a catalogue": (catalogue(lambda path: path.symlink_to("/dev/zero")), NONE),
    "a circle of links for a catalogue": (catalogue(lambda path: path.symlink_to(path)), NONE),
    "an empty catalogue": (catalogue(Path.touch), DAMAGED),
    "half a catalogue": (altered(lambda found: found[: len(found) // 2]), DAMAGED),
    "a header alone": (altered(lambda found: found[:4096]), DAMAGED),
    "zeros": (altered(lambda _: bytes(2**20)), DAMAGED),
    "text": (altered(lambda _: b"text " * 5000), DAMAGED),
    "another SQLite": (by_sql("CREATE TABLE edges (x INTEGER)", sqlite=True), DAMAGED),
    "a lake to come": (by_sql("UPDATE ducklake_metadata SET value = '99.0' WHERE key = 'version'", whole=True, sqlite=True), DAMAGED),
    "an empty lake": (by_sql(), NO_LEDGER),
    "another lake": (by_sql("CREATE TABLE file.edges (x INTEGER)"), NO_LEDGER),
    "a view for a ledger": (by_sql("CREATE VIEW file.ledger AS SELECT 10 AS schema_version"), NO_LEDGER),
    "no version": (by_sql("DELETE FROM file.ledger", whole=True), "was altered: its table ledger has 0 rows"),
    "two versions": (by_sql("INSERT INTO file.ledger FROM file.ledger", whole=True), "was altered: its table ledger has 2 rows"),
    "a version to come": (by_sql("UPDATE file.ledger SET schema_version = 99", whole=True), "is of schema 99, this program's is"),
    "a version in text": (by_sql("CREATE TABLE file.ledger (schema_version VARCHAR)", "INSERT INTO file.ledger VALUES (chr(27) || '[2J')"), "is of schema \\x1b[2J, this program"),
    "a version of many digits": (by_sql("CREATE TABLE file.ledger (schema_version HUGEINT)", "INSERT INTO file.ledger VALUES (10::HUGEINT ** 37)"), "this program's is"),
    "a version of another name": (by_sql("CREATE TABLE file.ledger (v INTEGER)", f"INSERT INTO file.ledger VALUES ({SCHEMA})"), DAMAGED),
    "the version alone": (by_sql("CREATE TABLE file.ledger (schema_version INTEGER)", f"INSERT INTO file.ledger VALUES ({SCHEMA})"), "was altered: its table"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LEDGERS)
def test_ledgers(refused, mucs, whole, tmp_path, fault):
    make, words = LEDGERS[fault]
    path = tmp_path / "ledger"
    make(path, whole)
    refused(words, "why", "g0", "--ledger", path)
    refused(words, "withdraw", whole.run.sha256, "--reason", "x", "--ledger", path)
    status, _, err = mucs("verify", "--ledger", path, "--log", whole.folder / "log")
    alone = words == NONE
    assert (status, "Traceback" in err) == (0 if alone else 1 if "altered" in words else 2, False)


FILES = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """The folder of a ledger of more rows than its catalogue takes in, so that they are in files."""
    folder = tmp_path_factory.mktemp("large")
    load(folder / "ledger", staged_run(folder, training=30, edges=30))
    return folder


@pytest.mark.parametrize("fault", FILES)
def test_files_of_ledgers(refused, mucs, large, tmp_path, fault):
    for name in ("ledger", "log"):
        shutil.copytree(large / name, tmp_path / name)
    path, log = tmp_path / "ledger", tmp_path / "log"
    files = list((path / "data").rglob("*.parquet"))
    assert files
    for file in files:
        FILES[fault](file)
    refused("The ledger cannot be read", "why", "g0", "--ledger", path)
    status, out, _ = mucs("verify", "--ledger", path, "--log", log)
    assert (status, "the ledger is damaged" in out) == (1, True), out
    assert mucs("rebuild", "--ledger", path, "--log", log)[0] == 0
    assert mucs("verify", "--ledger", path)[0] == 0


PRIVATE = {
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("key\n"),
    "a folder": lambda path: path.mkdir(),
    "half": lambda path: path.write_bytes(keygen(path).with_suffix("").read_bytes()[:60]),
    "the public one": lambda path: path.write_bytes(keygen(path.with_name("other")).read_bytes()),
    "without end": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("fault", PRIVATE)
def test_private_keys(refused, tmp_path, fault):
    PRIVATE[fault](tmp_path / "key")
    given = ("--contract", CORPUS / "contracts/good.yaml", "--usage", CORPUS / "usage/good.csv")
    command = ("royalties", *given, "--period", "2026-10", "--sign", tmp_path / "key")
    refused("is not an Ed25519 private key without a password; make one", *command)


ENDLESS = {
    ("verify", "--proof", "/dev/zero", "--root", "0" * 64): "cannot be read as JSON",
    ("verify", "--envelope", "/dev/zero", "--key", "key.pub"): "cannot be read as JSON",
    ("verify", "--envelope", CORPUS / "envelopes/good.json", "--key", "/dev/zero"): "is not an Ed25519 public key",
    ("royalties", "--contract", "/dev/zero", "--usage", "x", "--period", "2026-10"): "it has more than 20,000,000 bytes",
    ("royalties", "--contract", CORPUS / "contracts/good.yaml", "--usage", "/dev/zero", "--period", "2026-10"): "cannot be read as CSV",
    ("rights", "/dev/zero"): "cannot be read as CSV",
}  # fmt: skip


@pytest.mark.parametrize("command", ENDLESS, ids=lambda words: " ".join(str(Path(w).name) for w in words))
def test_files_without_end(refused, command):
    refused(ENDLESS[command], *command)


PLACES_TO_WRITE = {
    ("prove", "g0", "t0", "--output", "pipe"): "is there and is not a file; give another place",
    ("prove", "g0", "t0", "--output", "."): "give another",
    ("prove", "g0", "t0", "--output", "key/proof"): "cannot be written; give another --output",
    ("keygen", "key"): "is there already, and a key is never overwritten; give another name",
    ("keygen", "no/such/folder"): "cannot be written; give another place",
    ("keygen", "."): "is a folder; give the name of a file",
    ("evaluate", "openmoji", "--folder", "key"): "is not a folder; give another place",
    ("demo", "--folder", "key"): "is not a folder; give another place",
}


@pytest.mark.parametrize("command", PLACES_TO_WRITE, ids=" ".join)
def test_places_to_write(refused, whole, command):
    os.mkfifo(whole.folder / "pipe")
    whole.before = whole.listing()
    try:
        refused(PLACES_TO_WRITE[command], *command)
        assert (whole.folder / "pipe").is_fifo()
    finally:
        (whole.folder / "pipe").unlink()
        whole.before = whole.listing()
