"""An installed package carries what it needs, and says what only a clone of the project has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the project installed from its wheel."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("flows", "mucs", "tasks"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    for command in (build, [*pip, "install", "--no-deps", "--target", folder / "target"]):
        wheel = list(folder.glob("*.whl"))
        subprocess.run([*command, *(wheel if command is not build else [])], check=True)
    return folder / "target"


def test_the_package_has_every_file_of_the_source(installed):
    def files(root):
        return {
            str(path.relative_to(root))
            for name in ("flows", "mucs", "tasks")
            for path in (root / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    assert files(installed) == files(ROOT)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "nonsense"), "There is no study 'nonsense'; use one of: quick, payments, openmoji"),
        pytest.param(
            ("evaluate", "--quick"),
            "is missing; run the study from a clone of the project",
            marks=pytest.mark.slow,
        ),
        pytest.param(("demo",), "is missing; run the demo from a clone of the project", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("prefect_server")
def test_what_only_a_clone_has_is_named(installed, tmp_path, words, said):
    command = [sys.executable, "-m", "flows.cli", *words, "--folder", tmp_path / "out"]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.heavy
def test_what_is_built_is_what_its_scripts_would_build():
    """If this fails, `dvc repro` builds it anew; `dvc commit STAGE` where a change of the code cannot change what it builds."""
    found = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip(), found.stderr) == (0, "Data and pipelines are up to date.", "")
