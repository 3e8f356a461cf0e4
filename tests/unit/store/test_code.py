import json
import subprocess
import sys

import pytest

from longspan.corpora.source import SOURCE_KINDS
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.store import code as code_digests
from longspan.store.code import PACKAGES, code_digest, source_files, stage_version
from longspan.weighting.variant import LOSS_VARIANTS
from longspan_workflow.running.project import SCRIPTS

SCRIPT_NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
KINDS = (EVALUATION_TASKS, LOSS_VARIANTS, SCORER_KINDS, SELECTION_METHODS, SOURCE_KINDS)
PLUG_INS = [kind.source_file(name) for kind in KINDS for name in kind.names()]
READ_SETTINGS = {"estimate"}
# For each script: run its imports, then, one by one, what its functions import, and see what came. One
# process serves all, because torch takes seconds to import.
PROGRAM = """
import ast, importlib, json, pathlib, runpy, sys
loaded = {}
for name in sys.argv[1:]:
    for module in [module for module in sys.modules if module.startswith("longspan")]:
        del sys.modules[module]
    path = pathlib.Path(name)
    runpy.run_path(str(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(("longspan.", "longspan_workflow.")):
            importlib.import_module(node.module)
    loaded[path.stem] = [module for module in sys.modules if module.startswith("longspan.")]
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded_modules():
    command = [sys.executable, "-c", PROGRAM, *(str(SCRIPTS / f"{script}.py") for script in SCRIPT_NAMES)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("script", SCRIPT_NAMES)
def test_the_files_of_a_digest_are_all_that_the_script_imports(loaded_modules, script):
    paths = {PACKAGES / f"{name.replace('.', '/')}.py" for name in loaded_modules[script]}
    # Who reads settings asks for every plug-in, others for those alone that they are told.
    files = set(source_files(SCRIPTS / f"{script}.py", *(PLUG_INS if script in READ_SETTINGS else ())))
    # Packages in the library hold no code.
    assert {path for path in paths if path.exists()} <= files
    assert SCRIPTS / f"{script}.py" in files
    assert all(path.is_file() for path in files)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A script over two modules, one imported inside a function, in a workflow of their own."""
    monkeypatch.setattr(code_digests, "PACKAGES", tmp_path)
    monkeypatch.setattr(code_digests, "LIBRARY", tmp_path / "longspan")
    contents = {
        "scripts/make.py": "from longspan.near import f\nimport json\n",
        "longspan/near.py": "def f():\n    from longspan import far\n    import longspan.third as third\n",
        "longspan/far.py": "STAGE_VERSION = 3\n",
        "longspan/third.py": "",
        "longspan/other.py": "",
        "longspan/kinds/mine.py": "from longspan.fourth import g\n",
        "longspan/fourth.py": "",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(content)

    def digest(*plug_ins):
        forget()
        return code_digest(tmp_path / "scripts/make.py", *(tmp_path / name for name in plug_ins))

    yield tmp_path, digest
    forget()


def forget():
    for function in (code_digest, source_files, code_digests.imported_modules, stage_version):
        function.cache_clear()


def test_imports_are_followed_at_every_depth(sources):
    folder, digest = sources
    digest()
    assert [str(path.relative_to(folder)) for path in source_files(folder / "scripts/make.py")] == [
        "longspan/far.py",
        "longspan/near.py",
        "longspan/third.py",
        "scripts/make.py",
    ]


@pytest.mark.parametrize("edited", ["scripts/make.py", "longspan/near.py", "longspan/far.py"])
def test_a_digest_follows_the_content_and_a_revert(sources, edited):
    folder, digest = sources
    before = digest()
    content = (folder / edited).read_text()
    (folder / edited).write_text(content + "# a comment\n")
    assert digest() != before
    (folder / edited).write_text(content)
    assert digest() == before


def test_a_module_that_is_not_imported_changes_no_digest(sources):
    folder, digest = sources
    before = digest()
    (folder / "longspan/other.py").write_text("x = 1\n")
    assert digest() == before


def test_a_digest_follows_the_plug_ins_that_a_script_is_told(sources):
    """A script imports them by name, so that nothing in its source tells which."""
    folder, digest = sources
    without, before = digest(), digest("longspan/kinds/mine.py")
    assert without != before
    for edited in ("longspan/kinds/mine.py", "longspan/fourth.py"):
        content = (folder / edited).read_text()
        (folder / edited).write_text(content + "# a comment\n")
        assert digest("longspan/kinds/mine.py") != before
        assert digest() == without
        (folder / edited).write_text(content)
        assert digest("longspan/kinds/mine.py") == before


def test_stage_versions_are_read_without_importing(sources):
    _, digest = sources
    digest()
    assert stage_version("far") == 3
    with pytest.raises(AssertionError, match="other has no STAGE_VERSION"):
        stage_version("other")


def test_a_stage_may_be_a_module_of_another_package(tmp_path, monkeypatch):
    (tmp_path / "another_package.py").write_text("STAGE_VERSION = 7\nraise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert stage_version("another_package") == 7


@pytest.mark.parametrize("module", [*(kind.stage for kind in SCORER_KINDS), "training.loop"])
def test_the_stages_on_gpus_have_a_version(module):
    assert stage_version(module) >= 1
