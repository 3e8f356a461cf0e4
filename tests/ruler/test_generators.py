"""The short form of the comparison, over small texts and word lists."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from longspan.evaluation.ruler.niah import NOISE
from longspan.evaluation.ruler.published import ARCHIVES, TASKS, Published
from tiny_inputs import make_model
from tiny_ruler import write_archives

# Where `compare.py --folder` put the wheel and what its generators need.
FOLDER = os.environ.get("LONGSPAN_RULER")


def compare_module():
    file = Path(__file__).with_name("compare.py")
    specification = importlib.util.spec_from_file_location("ruler_compare", file)
    module = sys.modules[specification.name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.skipif(FOLDER is None, reason="LONGSPAN_RULER names no folder of the published generators")
@pytest.mark.parametrize(("length", "is_chat"), [(3000, True), (6000, False)])
def test_samples_are_the_published_ones(tmp_path, length, is_chat):
    compare = compare_module()
    (tmp_path / "wheels").mkdir()
    paths, pinned = write_archives(tmp_path / "wheels")
    published = Published(*paths, archives=pinned)
    # The scripts of the real wheel, with the small ones' texts over theirs.
    generators = compare.PublishedGenerators.unpacked(
        [Path(FOLDER, ARCHIVES[0].archive), *paths], tmp_path / "unpacked", Path(FOLDER, "site")
    )
    assignments = "VAR ABCDE = VAR QWERT Answer: variables have the value and they are"
    make_model(tmp_path / "model", [published.essays[:8000], *[NOISE, assignments] * 60])
    drawn = (TASKS, length, 6, 42, compare.CHAT if is_chat else compare.BASE_FORM)
    own = compare.own_samples(published, compare.encoder(tmp_path / "model"), *drawn)
    assert own == generators.samples(published, tmp_path / "model", *drawn)
