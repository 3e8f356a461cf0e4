"""The short form of the comparison, over small texts and word lists."""

import importlib.util
import os
import random
import runpy
import sys
import zipfile
from pathlib import Path

import pytest

from longspan.evaluation.ruler.metrics import string_match_all, string_match_part
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


@pytest.mark.skipif(FOLDER is None, reason="LONGSPAN_RULER names no folder of the published generators")
def test_scores_are_the_published_ones(tmp_path):
    with zipfile.ZipFile(Path(FOLDER, ARCHIVES[0].archive)) as archive:
        file = archive.extract("long_context_eval/eval/synthetic/constants.py", tmp_path)
    published = runpy.run_path(file)
    draw = random.Random(0)
    for own in (string_match_all, string_match_part):
        theirs = published[f"{own.__name__}_per_sample"]
        for _ in range(500):
            text = "".join(draw.choices("aAbB 12İß", k=draw.randint(0, 8)))
            answers = [
                "".join(draw.choices("aAbB1", k=draw.randint(0, 2))) for _ in range(draw.randint(1, 4))
            ]
            assert own(text, answers) == pytest.approx(theirs([text], [answers])[0] / 100)
