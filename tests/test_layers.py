"""The arrows run one way, and the library stands alone."""

import ast
import subprocess
import sys
from collections.abc import Set
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTER = {"prefect", "dvc", "boto3", "botocore", "great_expectations", "tasks", "flows"}
ALONE = {"torch", "diffusers", "numpy", "safetensors"}
FAMILIES = {"adapter.py": {"peft"}, "prompts.py": {"transformers"}}  # imported only where a checkpoint needs them


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def violations(package: str, forbidden: set[str]) -> list[str]:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for name in imports(path):
            if any(name == f or name.startswith(f + ".") for f in forbidden):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("mucs", OUTER),
        ("tasks", {"flows"}),
        ("mucs/attribution", {"mucs.ledger", "mucs.report", "mucs.canonical"}),
        ("mucs/evidence", {"mucs.ledger", "mucs.evaluation", "mucs.report", "mucs.royalties"}),
        ("mucs/ledger", {"mucs.attribution", "mucs.evaluation", "mucs.report", "mucs.royalties"}),
        ("mucs/evaluation", {"mucs.ledger", "mucs.report", "mucs.royalties"}),
    ],
)
def test_arrows_run_one_way(package, forbidden):
    assert violations(package, forbidden) == []


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def needed(path: Path, files: Set[str]) -> set[str]:
    """Those of our files that a file imports from; of a package's own file only what it takes from that one."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in files else str(node.module) for name in names}
    return found & files


def circles(packages: list[str]) -> list[str]:
    """Files that come back to themselves by their imports, also by those within functions and for types alone."""
    files = {module(path): path for package in packages for path in (ROOT / package).rglob("*.py")}
    imported = {name: needed(path, files.keys()) for name, path in files.items()}
    while True:  # what imports nothing that is left, or is imported by nothing that is left, is in no circle
        used = set().union(*imported.values())
        kept = {name: others & imported.keys() for name, others in imported.items() if name in used and others}
        kept = {name: others for name, others in kept.items() if others}
        if kept == imported:
            return sorted(kept)
        imported = kept


def test_no_files_import_each_other_in_a_circle():
    assert circles(["mucs", "tasks", "flows"]) == []


def test_the_library_needs_only_its_four_packages():
    for path in (ROOT / "mucs/attribution").glob("*.py"):
        direct = {name.split(".")[0] for name in imports(path)}
        assert direct - sys.stdlib_module_names - ALONE - FAMILIES.get(path.name, set()) <= {"mucs"}, path.name


def test_importing_the_library_loads_nothing_of_the_service():
    code = "import sys, mucs, mucs.attribution; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (
        OUTER
        | {"datafusion", "duckdb", "pyarrow", "pandas", "jinja2", "rfc8785", "rich", "click", "transformers", "peft"}
    )
