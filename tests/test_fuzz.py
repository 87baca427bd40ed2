"""A fuzz of the readers: whatever the bytes are, they give a value or one error, soon.

A valid file is taken apart and spoiled: parts left out, doubled, of another kind, nested, huge, in odd letters; or it is any
bytes at all. A few seconds here; a minute with `pytest -m slow`.
"""

import copy
import itertools
import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.cli.jobs import read_settings
from mucs import InputError
from mucs.attribution import Calibration, NoiseBank
from mucs.attribution.bounds import check_config
from mucs.attribution.checkpoint import read_scheduler, weight_files
from mucs.evidence import holds
from mucs.evidence.signing import open_envelope, read_private_key, read_public_key
from mucs.images import ImageSet
from mucs.images.decode import read_image
from mucs.ledger import Ledger
from mucs.ledger.questions import question
from mucs.ledger.rights import read_rights
from mucs.parse import compose_yaml, load_json
from mucs.royalties import Period, read_contract, read_usage
from tasks.pull import read_listing
from tasks.registry import _outputs, _remote
from tests.factories import load
from tests.mucs.ledger.test_ledger import make_run
from tests.test_corpus import CORPUS, checkpoint

SECONDS_EACH = 1  # that one reading may take; on a machine that does other things, a few more
SHORT, LONG = 25, 60  # examples of each reader, and seconds of all of them
FILES = {name: (CORPUS / name).read_bytes() for name in (
    "contracts/good.yaml", "usage/good.csv", "rights/good.csv", "proofs/good.json", "envelopes/good.json", "keys/good.pub",
    "registries/good.config", "registries/good.dvc", "manifests/good.csv", "images/good.png",
    "configurations/good.network.json", "configurations/good.scheduler.json",
)}  # fmt: skip

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**30, 1e308, -0.0, 0.5, float("nan"), float("inf")]),
    st.sampled_from(["", " ", "\0", "\x1b[2J", "\u202e", "\ud800", "\ufeff", "e\u0301", "٣", "1e999", "0x1", "=1+1"]),
    st.sampled_from(["../x", "/etc/passwd", "a" * 5000, "~", "null", "true", "2026-02-30", "!!python/name:os.system"]),
    st.text(max_size=8),
)
values = st.recursive(odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6)  # fmt: skip
deep = st.integers(1, 100_000).map(lambda depth: "[" * depth)


def places(value, at=()):
    """Every place in a nested value."""
    found = [at] if at else []
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        found += places(each, (*at, key))
    return found


@st.composite
def spoiled(draw, value):
    """A nested value with a few of its parts spoiled."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        found = places(value)
        if not found:
            return value
        *above, last = draw(st.sampled_from(found))
        holder = value
        for key in above:
            holder = holder[key]
        match draw(st.sampled_from(["leave out", "replace", "double", "nest", "rename"])):
            case "leave out":
                del holder[last]
            case "double" if isinstance(holder, list):
                holder.append(holder[last])
            case "nest":
                holder[last] = [holder[last]]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=6))] = holder.pop(last)
            case _:
                holder[last] = draw(values)
    return value


@st.composite
def spoiled_bytes(draw, content: bytes):
    """Bytes, some of them cut, doubled or replaced."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(found))), draw(st.integers(0, 12))
        piece = {
            "cut": b"",
            "double": bytes(found[at : at + size] * 2),
            "replace": draw(st.binary(max_size=12)),
            "odd": draw(
                st.sampled_from([b"\0", b"\n", b'"', b",", b"\xff\xfe", b"{", b"}", b"\xe2\x80\xae", b"9" * 400])
            ),
        }
        found[at : at + size] = piece[draw(st.sampled_from(sorted(piece)))]
    return bytes(found)


def of_json(value):
    """A file of JSON that was spoiled as a value, or as bytes."""
    whole = json.dumps(value).encode()
    made = spoiled(value).map(lambda v: json.dumps(v).encode())
    return made | spoiled_bytes(whole) | st.binary(max_size=60) | deep.map(str.encode)


def of_yaml(content: bytes):
    made = spoiled(yaml.safe_load(content)).map(
        lambda v: yaml.safe_dump(v, allow_unicode=True).encode(errors="surrogatepass")
    )
    return made | spoiled_bytes(content) | st.binary(max_size=60) | deep.map(str.encode)


def of_lines(content: bytes):
    return spoiled_bytes(content) | st.binary(max_size=60)


class World:
    """What the readers need around a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "ledger"
        load(self.path, make_run(folder))
        self.ledger = Ledger.open(self.path)
        self.checkpoint = checkpoint(folder / "checkpoint")

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.ledger.connection.close()


def said(read_it, content):
    """Text, JSON or an object, as those read it that call a reader of it."""
    try:
        return read_it(content)
    except ValueError:
        raise InputError("It cannot be read; restore it.") from None


def proof(world, content):
    holds(said(load_json, content), json.loads(FILES["proofs/good.json"])["root"])


def envelope(world, content):
    found = said(load_json, content)
    if isinstance(found, dict):
        open_envelope(found, CORPUS / "keys/good.pub")


def network(world, content):
    """The part of reading that looks before it builds; building is for the corpus."""
    check_config(read(content), Path("config.json"))
    world.file("config.json", content)


def read(content):
    found = said(lambda text: load_json(text, infinite=True), content)
    if not isinstance(found, dict):
        raise InputError("It is no object; restore it.")
    return found


def scheduler(world, content):
    world.file("checkpoint/scheduler/scheduler_config.json", content)
    read_scheduler(world.checkpoint)


def index(world, content):
    part = world.folder / "indexed"
    if not part.exists():
        shutil.copytree(world.checkpoint / "unet", part)
    world.file("indexed/diffusion_pytorch_model.safetensors.index.json", content)
    weight_files(part)


def parameters(world, content):
    asked = question("unlicensed")
    given = said(load_json, content)
    if isinstance(given, dict):
        world.ledger.ask(asked.name, **given)


def one_setting(world, content):
    read_settings((content.decode(errors="replace"),))


def yaml_node(world, content):
    try:
        compose_yaml(content.decode())
    except yaml.YAMLError:
        raise ValueError from None


MAP = {
    "metadata": {"total_size": 8},
    "weight_map": {"conv_in.bias": "a-1.safetensors", "conv_in.weight": "a-2.safetensors"},
}
LISTING = [{"md5": "0" * 32, "relpath": "a.png"}, {"md5": "1" * 32, "relpath": "b/c.png"}]
LOCK = {"schema": "2.0", "stages": {"a": {"cmd": "x", "outs": [{"path": "made", "hash": "md5", "md5": "0" * 32}]}}}
SAFETENSORS = b"\x38\0\0\0\0\0\0\0" + b'{"noise":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(56) + bytes(4)

# by name: what is read, and from what; each takes the world and the bytes
READERS = {
    "contract": (lambda w, c: read_contract(w.file("contract.yaml", c)), of_yaml(FILES["contracts/good.yaml"])),
    "usage": (lambda w, c: read_usage(w.file("usage.csv", c), Period.month("2026-10")), of_lines(FILES["usage/good.csv"])),
    "rights": (lambda w, c: read_rights(w.ledger, w.file("rights.csv", c)), of_lines(FILES["rights/good.csv"])),
    "proof": (proof, of_json(json.loads(FILES["proofs/good.json"]))),
    "envelope": (envelope, of_json(json.loads(FILES["envelopes/good.json"]))),
    "public key": (lambda w, c: read_public_key(w.file("key.pub", c)), of_lines(FILES["keys/good.pub"])),
    "private key": (lambda w, c: read_private_key(w.file("key", c)), of_lines(FILES["keys/good.pub"].replace(b"PUBLIC", b"PRIVATE"))),
    "registry's configuration": (lambda w, c: _remote(said(bytes.decode, c), "config"), of_lines(FILES["registries/good.config"])),
    "DVC's file": (lambda w, c: _outputs(said(bytes.decode, c), "train.dvc", lock=False), of_yaml(FILES["registries/good.dvc"])),
    "DVC's lock": (lambda w, c: _outputs(said(bytes.decode, c), "dvc.lock", lock=True), of_yaml(yaml.safe_dump(LOCK).encode())),
    "listing": (lambda w, c: read_listing(c, "train"), of_json(LISTING)),
    "manifest": (lambda w, c: ImageSet.open(w.file("set/metadata.csv", c).parent, "set").canonical_rows, of_lines(FILES["manifests/good.csv"])),
    "image": (lambda w, c: read_image(w.file("image", c)), of_lines(FILES["images/good.png"])),
    "network": (network, of_json(json.loads(FILES["configurations/good.network.json"]))),
    "scheduler": (scheduler, of_json(json.loads(FILES["configurations/good.scheduler.json"]))),
    "index": (index, of_json(MAP)),
    "noise bank": (lambda w, c: NoiseBank.read(w.file("bank", c)), of_lines(SAFETENSORS)),
    "calibration": (lambda w, c: Calibration.read(w.file("calibration", c)), of_lines(SAFETENSORS)),
    "parameters": (parameters, of_json({"use": "output", "day": "2026-10-31", "top": "3", "as_of": "infinity"})),
    "setting": (one_setting, st.sampled_from(["screening=[[1, 0.5]]", "seed=1", "trainable=all", "null_loss=1"]).flatmap(lambda s: spoiled_bytes(s.encode()))),
    "JSON": (lambda w, c: load_json(c), of_json(MAP)),
    "YAML": (yaml_node, of_yaml(yaml.safe_dump(LOCK).encode())),
}  # fmt: skip


def late(*_):
    raise AssertionError(f"it took longer than {5 * SECONDS_EACH} seconds")


def is_read_or_refused(name: str, world: World, content: bytes) -> None:
    """The property: a value, or InputError (or another ValueError of a parser)."""
    kept = signal.signal(signal.SIGALRM, late)
    signal.alarm(5 * SECONDS_EACH)
    try:
        READERS[name][0](world, content)
    except InputError as error:
        if not str(error).endswith((".", "?")):
            raise AssertionError(f"it is no sentence: {error}") from error
    except ValueError as error:
        if name not in OF_PARSERS:
            raise AssertionError(f"it is no InputError: {error!r}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, kept)


# which say ValueError
OF_PARSERS = {"JSON", "YAML", "image"}


def fuzz(name: str, world: World, examples: int) -> None:
    unhealthy = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=unhealthy)
    @given(READERS[name][1])
    def every(content: bytes) -> None:
        is_read_or_refused(name, world, content)

    every()


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused(world, name):
    fuzz(name, world, SHORT)


@pytest.mark.slow
def test_any_bytes_are_read_or_refused_for_a_minute(world):
    until = time.monotonic() + LONG
    for name in itertools.cycle(READERS):
        if time.monotonic() > until:
            return
        fuzz(name, world, 2 * SHORT)
