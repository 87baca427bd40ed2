"""Containers: what can be said of the Dockerfile and of what is applied on Kubernetes where neither runs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from flows.cli import cli
from mucs import __version__

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
THINGS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))
RAY = yaml.safe_load((ROOT / "deploy/kuberay.yaml").read_text())
SETTINGS = [{"configMapRef": {"name": "mucs"}}, {"secretRef": {"name": "mucs"}}]
POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}


def containers(thing) -> list[dict]:
    spec = thing.get("spec", {}).get("template", {}).get("spec", {})
    return [*spec.get("containers", []), *spec.get("initContainers", [])]


def test_the_dockerfile_is_as_hadolint_wants_it():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "deploy/Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_dockerfile_installs_what_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert set(project["optional-dependencies"]) - set(extras.split(",")) == {"deploy", "evaluation", "demo", "dev"}
    for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line
    python = re.findall(r"FROM python:(\d+\.\d+)", DOCKERFILE)
    assert len(set(python)) == 1
    assert project["requires-python"] == f">={python[0]}"
    assert f"mucs:{__version__}" in DOCKERFILE


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: f"{thing['kind']} {thing['metadata']['name']}")
def test_what_is_applied_is_of_kubernetes_schema(thing):
    kubernetes_validate.validate(thing, "1.34", strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found():
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**POD, "spec": {"containers": [{"name": "x", "comand": ["y"]}]}}, "1.34", strict=True
        )


def test_ray_is_the_version_that_is_installed_and_its_pods_are_of_kubernetes_schema():
    pins = dict(re.findall(r"^([\w-]+)(?:\[[^]]*\])?==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert RAY["spec"]["rayVersion"] == pins["ray"]
    for group in (RAY["spec"]["headGroupSpec"], *RAY["spec"]["workerGroupSpecs"]):
        kubernetes_validate.validate({**POD, "spec": group["template"]["spec"]}, "1.34", strict=True)


def test_commands_settings_and_volumes_are_those_that_there_are():
    settings = {name for thing in THINGS for part in ("data", "stringData") for name in thing.get(part, {})}
    source = "".join(
        path.read_text() for folder in ("flows", "mucs", "tasks") for path in (ROOT / folder).rglob("*.py")
    )
    deployments = (ROOT / "prefect.yaml").read_text()
    for name in settings:
        assert not name.startswith("MUCS_") or name in source + deployments, name
    claims = {thing["metadata"]["name"] for thing in THINGS if thing["kind"] == "PersistentVolumeClaim"}
    images = set()
    for thing in THINGS:
        volumes = thing.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in volumes} <= claims
        for container in containers(thing):
            images.add(container["image"])
            assert container.get("envFrom") == SETTINGS or container["name"] == "first-token"
            if "args" in container:
                command, *options = container["args"]
                told = CliRunner().invoke(cli, [command, "--help"])
                assert told.exit_code == 0, told.output
                assert all(word in told.output for word in options if word.startswith("--"))
    assert images == {f"mucs:{__version__}"}
