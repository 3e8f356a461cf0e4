import json
import shutil

import numpy as np
import pandas as pd
import pytest

from longspan.corpora.documents import Document
from longspan.evaluation.generated import TaskSources, input_rows
from longspan.evaluation.prompts import PromptTokenizer
from longspan.evaluation.ruler.niah import NOISE
from longspan.evaluation.ruler.published import ARCHIVES, TASKS
from longspan.evaluation.ruler.samples import Room, RulerSamples
from longspan.evaluation.samples import Sample
from longspan.evaluation.tasks import ruler
from longspan.evaluation.tasks.ruler import Ruler
from longspan.models.folders import finish_model
from tiny_inputs import make_model
from tiny_ruler import tiny_published, write_archives

TEMPLATE = "{% for m in messages %}<s>[{{ m.role }}] {{ m.content }}</s>{% endfor %}[answer]"
LENGTH = 3000
LENGTHS = (4096, 8192)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return write_archives(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(autouse=True)
def small_archives(archives, monkeypatch):
    """The small wheels are the pinned ones."""
    monkeypatch.setattr(ruler, "ARCHIVES", archives[1])


@pytest.fixture(scope="module")
def sources(archives, tmp_path_factory):
    """Small wheels, a tokenizer that puts a BOS in front, and a book."""
    paths, _ = archives
    folder = tmp_path_factory.mktemp("beginning") / "model"
    assignments = "VAR ABCDE = VAR QWERT Answer: variables have the value and they are"
    pages = " ".join(f"Page {number} of it." for number in range(500))
    make_model(folder, [pages, *[NOISE, assignments] * 60])
    content = json.loads((folder / "tokenizer.json").read_text())
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text, text],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    finish_model(folder, source={"kind": "folder"}, license="CC0-1.0")
    book = " ".join(f"Page {number} of it." for number in range(3000))
    tokenizer = PromptTokenizer(folder / "longspan.json")
    works = [Document("work", "books", "prose", "CC0-1.0", "Work", book)]
    return TaskSources(tokenizer, works, {path.name: path for path in paths})


def rows(task, sources, length=LENGTH):
    return list(input_rows(task, sources, length=length, seed=0))


def test_every_task_at_a_length_with_the_tokenizers_beginning(sources):
    task = Ruler(samples=3)
    made = rows(task, sources)
    assert [row["group"] for row in made] == [name for name in TASKS for _ in range(3)]
    assert len(made) == task.cost(LENGTH).samples
    for row in made:
        assert row["prompt_ids"][0] == 1
        assert len(row["prompt_ids"]) + row["new_tokens"] <= LENGTH
        assert row["answers"]
    text = sources.tokenizer.decode(made[3]["prompt_ids"])
    assert "Page 2 of it. Page 3 of it." in text
    assert sources.tokenizer.prompt(text).input_ids.tolist() == made[3]["prompt_ids"].tolist()


@pytest.mark.parametrize("adds_space", [False, True], ids=["fastokens", "tokenizers"])
def test_prompts_are_those_of_the_samples_by_the_tokenizer_itself(
    sources, archives, tmp_path, capsys, adds_space
):
    # A space in front is nothing that fastokens stands in for.
    folder = shutil.copytree(sources.tokenizer.model.parent, tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"]["add_prefix_space"] = adds_space
    (folder / "tokenizer.json").write_text(json.dumps(content))
    finish_model(folder, source={"kind": "folder"}, license="CC0-1.0")
    tokenizer = PromptTokenizer(folder / "longspan.json")
    task = Ruler(samples=2, haystack="essays", tasks=["niah_multiquery", "vt", "fwe", "qa_2"])
    made = rows(task, TaskSources(tokenizer, sources.documents, sources.archives))
    assert f"with {'tokenizers, not ' if adds_space else ''}fastokens" in capsys.readouterr().out
    paths, pinned = archives
    published = ruler.Published(*paths, archives=pinned)
    maker = RulerSamples(
        published, lambda texts: [tokenizer.encode(text)[0] for text in texts], haystack="essays"
    )
    samples = [one for name in task.tasks for one in maker.make(name, 2, Room(LENGTH, beginning_tokens=1))]
    for row, sample in zip(made, samples, strict=True):
        assert row["prompt_ids"].tolist() == [1, *sample.input_ids.tolist()]
        assert row["answers"] == sample.answers


def test_a_chat_has_the_templates_words_around_the_task(sources, tmp_path):
    folder = shutil.copytree(sources.tokenizer.model.parent, tmp_path / "chat")
    content = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(content | {"chat_template": TEMPLATE}))
    chat = TaskSources(PromptTokenizer(folder / "longspan.json"), sources.documents, sources.archives)
    for row in rows(Ruler(samples=1, prompt="chat"), chat):
        decode = chat.tokenizer._tokenizer.tokenizer.decode
        text = decode(row["prompt_ids"].tolist(), skip_special_tokens=False)
        assert text.startswith("<s>[user] ")
        assert row["prompt_ids"].tolist().count(1) == (2 if row["group"] == "cwe" else 1)
        assert "</s>[answer] " in text


def test_a_chat_without_a_template_is_refused(sources):
    with pytest.raises(ValueError, match="has no chat template; set prompt: base"):
        rows(Ruler(prompt="chat"), sources)


def test_another_draw_seed_draws_others_and_the_root_seed_none(sources):
    def prompts(seed, root):
        task = Ruler(samples=2, tasks=["vt"], draw_seed=seed)
        return [row["prompt_ids"].tolist() for row in input_rows(task, sources, length=LENGTH, seed=root)]

    assert prompts(42, 0) == prompts(42, 1) != prompts(43, 0)


def test_lengths_without_room_are_refused_before_any_job():
    with pytest.raises(ValueError, match="a length is 512 tokens, and RULER's shortest prompts do not fit"):
        Ruler(lengths=[512, 4096]).check_window(2048)
    Ruler().check_window(2048)


def test_books_that_do_not_fill_a_length_are_refused(sources):
    few = TaskSources(sources.tokenizer, sources.documents[:0], sources.archives)
    with pytest.raises(ValueError, match=r"niah_single_2 at 3,000 tokens: .* words of the held-out works"):
        rows(Ruler(), few)


def test_archives_are_pinned_wheels(monkeypatch):
    monkeypatch.setattr(ruler, "ARCHIVES", ARCHIVES)
    found = [(source.archive_name, source.fetched) for source in Ruler().archives]
    assert found == [
        (one.archive, {"kind": "pypi", "requirement": one.requirement, "sha256": one.sha256})
        for one in ARCHIVES
    ]


def sample(group, answers):
    none = np.zeros(0, np.int64)
    return Sample("name", group, None, 4096, None, None, none, None, [], answers, [], [], 128)


def test_all_answers_count_or_any_of_a_questions():
    task = Ruler()
    assert task.score(sample("niah_multivalue", ["123", "456"]), [], " 123, and 45\x07") == 0.5
    assert task.score(sample("qa_1", ["Sea", "a lamp"]), [], "the SEA") == 1.0
    assert task.score(sample("qa_2", ["yes"]), [], "") == 0.0
    assert task.score(sample("vt", ["AB", "CD"]), [], "ab cd") == 1.0


def answers(scores):
    return [
        {"sample_id": f"{name}-{length}", "group": name, "length": length, "score": score, "text": "x"}
        for (name, length), score in scores.items()
    ]


def test_retrieval_aggregation_and_questions_are_measures_apart():
    scores = {"niah_single_1": 1.0, "cwe": 0.25, "vt": 0.75, "qa_1": 0.0}
    found = answers({(name, 4096): score for name, score in scores.items()})
    values = Ruler().checked_values(pd.DataFrame(found), "rows")["value"]
    assert values.groupby("measure").mean().to_dict() == {"retrieval": 1.0, "aggregation": 0.5, "qa": 0.0}


def test_the_summary_has_a_line_for_each_measure_that_there_is():
    base = answers({(name, length): 0.5 for name in ("vt", "qa_1", "qa_2") for length in LENGTHS})
    questions = {(name, length): 1.0 for name in ("qa_1", "qa_2") for length in LENGTHS}
    trained = answers({("vt", 4096): 0.75, ("vt", 8192): 0.25} | questions)
    trained[0]["text"] = " "
    assert Ruler().summary(base, trained) == [
        ("RULER, aggregation: vt, cwe, fwe (score)", "4096: 0.500 → 0.750, 8192: 0.500 → 0.250"),
        ("RULER, questions: qa (score)", "4096: 0.500 → 1.000, 8192: 0.500 → 1.000"),
        ("RULER, empty answers", "0 → 1 of 6"),
    ]


def test_the_figure_has_a_line_for_each_model_and_measure():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    scores = {(name, length): 0.5 for name in ("vt", "niah_single_1") for length in LENGTHS}
    rows = pd.DataFrame(answers(scores))
    Ruler().draw(axes, {"base": rows, "dense": rows})
    assert [line.get_label() for line in axes.lines] == [
        "base, retrieval",
        "base, aggregation",
        "dense, retrieval",
        "dense, aggregation",
    ]
    assert [list(line.get_xdata()) for line in axes.lines] == [[4096, 8192]] * 4


def test_the_estimate_knows_what_the_published_tasks_write(tmp_path):
    for name, task in tiny_published(tmp_path).tasks.items():
        assert Ruler(tasks=[name], samples=1).cost(4096).new_tokens == task.tokens_to_generate
