"""How a plug-in is found by its name: in the library, or by an entry point of an installed package."""

import subprocess
import sys
from pathlib import Path

import pytest

from longspan.corpora.source import SOURCE_KINDS
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.plugins import registry
from longspan.plugins.registry import PlugIn
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.weighting.variant import LOSS_VARIANTS
from refusals import refused

KINDS = (EVALUATION_TASKS, LOSS_VARIANTS, SCORER_KINDS, SELECTION_METHODS, SOURCE_KINDS)
MINE = '''
from typing import ClassVar
import numpy as np
from longspan.plugins.options import option
from longspan.selection.method import SelectionMethod

class Mine(SelectionMethod):
    """By the length of an id."""

    name: ClassVar[str] = "mine"
    label: ClassVar[str] = "characters"
    factor: int = option(2, "What it is multiplied by.", ge=1)

    def score(self, windows, *, seed):
        return np.array([self.factor * len(data_id) for data_id in windows["data_id"]])

class Foreign:
    name = "foreign"

class Misnamed(Mine):
    name: ClassVar[str] = "another"
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Puts packages with entry points of selection methods where Python finds them, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(entry_points: dict[str, str], name="some-package", content=MINE):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(content)
        information = tmp_path / f"{module}-1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        lines = [f"{key} = {value}" for key, value in entry_points.items()]
        (information / "entry_points.txt").write_text("\n".join(["[longspan.selection_methods]", *lines, ""]))
        # A process that looks for them is one that began after pip.
        registry._entry_points.cache_clear()

    yield install
    registry._entry_points.cache_clear()
    for module in ("some_package", "second_package"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_every_member_is_a_file_of_its_name(kind):
    assert kind.names()
    for member in kind:
        assert issubclass(member, kind.base)
        assert kind[member.name] is member
        assert kind.source_file(member.name).stem == member.name
        assert member.description()
    package = Path(kind.source_file(kind.names()[0])).parent
    assert {path.stem for path in package.glob("*.py")} - {"__init__"} == set(kind.names())


def test_only_the_member_that_is_asked_for_is_imported():
    code = (
        "import sys; from longspan.selection.method import SELECTION_METHODS; SELECTION_METHODS.names(); "
        "SELECTION_METHODS['random']; home = 'longspan.selection.methods.'; "
        "print([name for name in sys.modules if name.startswith(home)])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "['longspan.selection.methods.random']\n"


def test_an_unknown_name_is_told_with_the_nearest_or_all():
    with refused("there is no selection method 'longatn'; did you mean 'longattn'?"):
        SELECTION_METHODS["longatn"]
    with refused("there is no scorer kind 'x'; valid are: attention, ladm, prolong, short_nll"):
        SCORER_KINDS["x"]


@pytest.mark.parametrize("name", ["", ".", "..", "a.b", "__init__", "../random", "random.x", "Random"])
def test_what_is_no_name_of_a_member_is_an_unknown_one(name):
    with pytest.raises(ValueError, match=r"^there is no selection method "):
        SELECTION_METHODS[name]


def test_an_installed_package_adds_a_member(package):
    built_in = SELECTION_METHODS.names()
    package({"mine": "some_package:Mine"})
    assert SELECTION_METHODS.names() == [*built_in, "mine"]
    mine = SELECTION_METHODS["mine"]
    assert mine(factor=3).factor == 3
    assert mine.description() == "By the length of an id."
    assert SELECTION_METHODS.source_file("mine").name == "some_package.py"
    assert SELECTION_METHODS.of_settings("method", {"method": "mine", "factor": 5, "keep": {}}).factor == 5
    with refused("there is no selection method 'mime'; did you mean 'mine'?"):
        SELECTION_METHODS["mime"]


def test_two_members_of_one_name_are_refused(package):
    package({"random": "some_package:Mine"})
    message = (
        "two selection methods are called 'random': some_package:Mine, longspan.selection.methods.random; "
        "remove one package"
    )
    with refused(message):
        SELECTION_METHODS.names()
    # Which of the two a job would take must not depend on who asks.
    with refused(message):
        SELECTION_METHODS["random"]


def test_two_packages_that_add_one_name_are_refused(package):
    package({"mine": "some_package:Mine"})
    package({"mine": "second_package:Mine"}, name="second-package")
    with pytest.raises(ValueError, match=r"two selection methods are called 'mine': .*; remove one package"):
        SELECTION_METHODS["mine"]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("nowhere:Mine", "No module named 'nowhere'"),
        ("some_package:Nothing", "module 'some_package' has no attribute 'Nothing'"),
    ],
)
def test_an_entry_point_that_cannot_be_loaded_is_named(package, value, error):
    package({"mine": value})
    with refused(f"selection method 'mine' of some-package cannot be loaded ({value}: {error})"):
        SELECTION_METHODS["mine"]


def test_a_package_that_fails_is_named_with_its_error(package):
    package({"mine": "some_package:Mine"}, content="1 / 0\n")
    with refused(
        "selection method 'mine' of some-package cannot be loaded (some_package:Mine: division by zero)"
    ):
        SELECTION_METHODS["mine"]


@pytest.mark.parametrize("member", ["Foreign", "Misnamed"])
def test_a_member_of_another_base_or_name_is_refused(package, member):
    package({"mine": f"some_package:{member}"})
    with refused(
        "selection method 'mine' must be a class derived from longspan.selection.method.SelectionMethod "
        "with name = 'mine'"
    ):
        SELECTION_METHODS["mine"]


def test_a_member_without_a_name_is_refused(package):
    assert not hasattr(PlugIn, "name")
    package({"mine": "longspan.selection.method:SelectionMethod"})
    with pytest.raises(ValueError, match=r"with name = 'mine'$"):
        SELECTION_METHODS["mine"]


@pytest.mark.parametrize(
    ("lacking", "misspelt"),
    [("label", MINE.replace("label:", "lable:")), ("score", MINE.replace("score(", "scores("))],
)
def test_a_member_that_lacks_what_every_one_has_is_refused(package, lacking, misspelt):
    # Before any job starts, not when a figure is drawn behind a training.
    package({"mine": "some_package:Mine"}, content=misspelt)
    with refused(
        f"selection method 'mine' lacks {lacking}, which longspan.selection.method.SelectionMethod describes"
    ):
        SELECTION_METHODS["mine"]
