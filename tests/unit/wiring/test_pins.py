"""Which versions are installed where."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned():
    """Version and hashes of each package in constraints.txt."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            pin, *hashes = line.split()
            name, is_pinned, version = pin.partition("==")
            assert is_pinned
            found[canonical(name)] = (version, hashes)
    return found


def constraints():
    return {name: version for name, (version, _) in pinned().items()}


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


@pytest.mark.parametrize("extra", ["", "fast", "slurm", "dev", "examples"])
def test_the_constraints_fit_the_projects_ranges(extra):
    requirements = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
    pins = constraints()
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), requirement


def test_the_gpu_environment_fits_the_projects_ranges():
    for requirement in map(Requirement, project()["optional-dependencies"]["flash"]):
        assert requirement.specifier.contains(environment("gpu.yaml")[canonical(requirement.name)])


def test_every_pin_has_hashes_of_its_files():
    for name, (_, hashes) in pinned().items():
        assert hashes, f"{name} has none; run python envs/pin.py"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
        assert hashes == sorted(set(hashes))


def test_the_pins_are_all_that_the_project_needs_with_its_extras():
    """They are installed without looking at what they need themselves."""
    reached, todo = set(), [("longspan", {"dev", "fast", "slurm", "examples"})]
    while todo:
        name, extras = todo.pop()
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                continue
            key = (canonical(requirement.name), frozenset(requirement.extras))
            # The CUDA build's libraries, which torch pins itself.
            if key not in reached and not key[0].startswith(("nvidia-", "cuda-", "triton")):
                reached.add(key)
                todo.append((requirement.name, requirement.extras))
    assert {name for name, _ in reached} - {"longspan"} <= constraints().keys()


# Licences that ask for a notice at most.
PERMISSIVE = {
    *("MIT", "MIT-CMU", "MIT License", "ISC", "ISC License (ISCL)", "0BSD", "Zlib", "CC0-1.0", "BSL-1.0"),
    *("BSD-2-Clause", "BSD-3-Clause", "BSD License", "3-Clause BSD License", "Public Domain"),
    *("Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Apache Software License", "Apache 2.0 License"),
    *("PSF-2.0", "Python Software Foundation License", "CNRI-Python"),
}
# Weak copyleft, of files, which are used as they are and not changed; docutils gives a choice.
COPYLEFT = {
    "certifi": "MPL-2.0: a list of authorities",
    "hypothesis": "MPL-2.0: for tests alone",
    "pathspec": "MPL-2.0: a library of a formatter",
    "tqdm": "MPL-2.0 and MIT: progress bars",
    "docutils": "public domain, but for a few files under BSD and one mode for an editor under GPL, not used",
}
PLUGINS = ("logger", "report", "scheduler", "storage")
# Their metadata say nothing; their files of licence do.
READ_BY_HAND = {
    **dict.fromkeys(("conda-inject", "snakemake-interface-common"), "MIT"),
    **dict.fromkeys((f"snakemake-interface-{part}-plugins" for part in PLUGINS), "MIT"),
    "fastokens": "Apache-2.0",
}


def licences(name):
    """What a package's metadata say, one licence a word of the set."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return set(re.split(r" (?:AND|OR) ", expression.replace("(", "").replace(")", "")))
    classifiers = about.get_all("Classifier") or []
    named = {one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")}
    named -= {"OSI Approved", "DFSG approved"}
    return named or {(about.get("License") or "").strip()} - {""}


@pytest.mark.parametrize("name", sorted(constraints()))
def test_licences_of_what_is_installed_are_permissive_or_have_a_reason(name):
    try:
        found = licences(name)
    except metadata.PackageNotFoundError:
        pytest.skip("is not installed here")
    if name in READ_BY_HAND:
        assert not found, f"{name} says its licence itself now: {found}"
    elif name in COPYLEFT:
        assert found - PERMISSIVE, f"{name} is permissive now: {found}"
    else:
        assert found, f"{name} says no licence: read its files, and list it"
        assert found <= PERMISSIVE, f"{name} is under {found - PERMISSIVE}: replace it, or list it why"
