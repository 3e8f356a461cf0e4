"""Which versions are installed where."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(pin for _, pin, _ in pins)
    return {canonical(name): version for name, _, version in pins}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def environment(name):
    (packages,) = (
        item["pip"]
        for item in yaml.safe_load((ROOT / "envs" / name).read_text())["dependencies"]
        if isinstance(item, dict)
    )
    return {canonical(pin.partition("==")[0]): pin.partition("==")[2] for pin in packages}


@pytest.mark.parametrize("name", ["cpu.yaml", "gpu.yaml"])
def test_environments_are_pinned_as_the_constraints_are(name):
    pins = constraints()
    for package, version in environment(name).items():
        if package == "flash-attn":
            assert version  # it needs CUDA, and is no part of what the tests ran with
        else:
            assert version == pins[package]


@pytest.mark.parametrize("name", ["cpu.yaml", "gpu.yaml"])
def test_environments_hold_what_the_project_needs(name):
    needed = {canonical(Requirement(text).name) for text in project()["dependencies"]}
    assert needed <= environment(name).keys()


def test_the_gpu_environment_is_the_cpu_one_with_flash_attention():
    assert environment("gpu.yaml").keys() - environment("cpu.yaml").keys() == {"flash-attn"}


@pytest.mark.parametrize("extra", ["", "fast", "slurm", "dev"])
def test_the_constraints_fit_the_projects_ranges(extra):
    requirements = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
    pins = constraints()
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), requirement


def test_the_gpu_environment_fits_the_projects_ranges():
    for requirement in map(Requirement, project()["optional-dependencies"]["flash"]):
        assert requirement.specifier.contains(environment("gpu.yaml")[canonical(requirement.name)])
