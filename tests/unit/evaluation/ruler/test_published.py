import shutil

import pytest

from longspan.evaluation.ruler.published import TASKS, Published
from tiny_ruler import write_archives


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return write_archives(tmp_path_factory.mktemp("wheels"), essay_words=300)


def test_tasks_are_read_without_running_anything(archives):
    paths, pinned = archives
    tasks = Published(*paths, archives=pinned).tasks
    assert tuple(tasks) == TASKS
    assert tasks["vt"].arguments == {"num_chains": 1, "num_hops": 4}
    assert tasks["vt"].answer_prefix.endswith("they are: ")
    assert (tasks["qa_1"].tokens_to_generate, tasks["qa_1"].metric) == (32, "string_match_part")
    assert {tasks[name].metric for name in TASKS if not name.startswith("qa")} == {"string_match_all"}


def test_words_sentences_and_questions(archives):
    paths, pinned = archives
    published = Published(*paths, archives=pinned)
    assert published.words("noun")[:3] == ["sea", "flung-sea", "river"]
    assert published.punkt.collocations == {("##number##", "river")}
    assert published.punkt.orthography["river"] == 32
    assert set(published.questions("squad")) == {"data"}
    assert len(published.essays.split()) >= 300


def test_another_wheel_is_refused(archives, tmp_path):
    paths, pinned = archives
    other = tmp_path / paths[1].name
    shutil.copy(paths[1], other)
    with open(other, "ab") as file:
        file.write(b"x")
    with pytest.raises(
        ValueError, match=rf"{other} has sha256 \w+, that of wonderwords.* is {pinned[1].sha256}"
    ):
        Published(paths[0], other, paths[2], archives=pinned)
    with pytest.raises(ValueError, match="delete the file to fetch it again"):
        Published(*paths)


def test_a_wheel_cut_short_is_refused(archives, tmp_path):
    paths, pinned = archives
    short = tmp_path / paths[0].name
    short.write_bytes(paths[0].read_bytes()[:-1000])
    with pytest.raises(ValueError, match=f"{short} has sha256"):
        Published(short, *paths[1:], archives=pinned)
