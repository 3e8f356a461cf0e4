"""A task of our own by the real package; skipped where that is not installed."""

import json
import sys

import pandas as pd
import pytest
import torch

from longspan.evaluation.tasks.lm_eval import VERSION, LMEval
from longspan.models.loading import load_model
from longspan.store.contracts import CONTRACTS

CHOICES = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{ test: {data} }}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: choices
metric_list:
  - metric: acc
  - metric: acc_norm
metadata: {{ version: 2.0 }}
"""
WRITTEN = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{ test: {data} }}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{ until: ["\\n"], max_gen_toks: {new_tokens}, do_sample: false }}
metric_list:
  - metric: exact_match
"""
PERPLEXITY = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{ test: {data} }}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list:
  - metric: word_perplexity
"""
QUESTIONS = [
    {"question": "The river is", "choices": ["winding", "an evening"], "answer": 0},
    {"question": "In the morning the captain", "choices": ["gathered", "window", "garden"], "answer": 1},
    {"question": "A stone and a", "choices": ["letter", "voice"], "answer": 1},
]


@pytest.fixture(scope="module")
def harness():
    return pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra lm-eval)")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder of tasks, and their data."""
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "questions.json"
    data.write_text("\n".join(json.dumps(row) for row in QUESTIONS))
    for name, template, tokens in (
        ("tales_choices", CHOICES, 0),
        ("tales_written", WRITTEN, 8),
        ("tales_endless", WRITTEN, 600),
        ("tales_perplexity", PERPLEXITY, 0),
    ):
        text = template.format(name=name, data=data, new_tokens=tokens)
        (folder / f"{name}.yaml").write_text(text)
    (folder / "tales_empty.yaml").write_text(CHOICES.format(name="tales_empty", data=folder / "missing.json"))
    return folder


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def model(model_folder):
    return load_model(model_folder, dtype="float32", attention="sdpa", rope_theta=None, device="cpu").eval()


def measure(task, model, model_folder):
    task.require_ready()
    rows = task.measure(model, model_folder / "longspan.json", seed=5)
    pa_schema = CONTRACTS["lm_eval"].columns
    assert all(set(row) == set(pa_schema.names) for row in rows)
    return pd.DataFrame(rows)


def test_choices_are_those_of_the_models_own_log_likelihoods(
    harness, environment, tasks, model, model_folder, tokenizer
):
    task = LMEval(tasks=["tales_choices"], task_folder=str(tasks))
    rows = measure(task, model, model_folder)
    right = []
    for question in QUESTIONS:
        prompt = tokenizer.prompt(question["question"])
        nll = []
        for choice in question["choices"]:
            answer = tokenizer.answer(prompt, f" {choice}")
            ids_1T = torch.tensor([[*prompt.input_ids, *answer]], dtype=torch.int64)
            with torch.no_grad():
                logits_TV = model(ids_1T).logits[0, len(prompt.input_ids) - 1 : -1]
            nll.append(
                torch.nn.functional.cross_entropy(logits_TV, ids_1T[0, -len(answer) :], reduction="sum")
            )
        right.append(float(torch.stack(nll).argmin()) == question["answer"])
    samples = rows[rows["sample_id"].notna() & (rows["metric"] == "acc")]
    assert samples["sample_id"].tolist() == ["0", "1", "2"]
    assert samples["value"].tolist() == right
    whole = rows[rows["sample_id"].isna() & (rows["metric"] == "acc")]
    assert whole["value"].tolist() == [sum(right) / 3]
    assert set(rows["version"]) == {"2.0"}
    values = task.checked_values(rows, "table")
    assert values["value"].tolist() == right
    assert set(values["group"]) == {"tales_choices"}
    ((quantity, value),) = task.summary(rows.to_dict("records"), rows.to_dict("records"))
    assert quantity == "lm-eval tales_choices, acc"
    assert value == f"{sum(right) / 3:.4f} → {sum(right) / 3:.4f}"


def test_a_perplexity_is_a_log_likelihood_a_word_of_each_sample(
    harness, environment, tasks, model, model_folder
):
    task = LMEval(tasks=["tales_perplexity"], task_folder=str(tasks))
    rows = measure(task, model, model_folder)
    values = task.checked_values(rows, "table")
    assert values["weight"].tolist() == [3, 5, 4]
    assert (values["value"] < 0).all()


def test_an_answer_is_written(harness, environment, tasks, model, model_folder):
    rows = measure(LMEval(tasks=["tales_written"], task_folder=str(tasks)), model, model_folder)
    samples = rows[rows["sample_id"].notna()]
    assert samples["metric"].tolist() == ["exact_match"] * 3
    assert samples["value"].isin([0.0, 1.0]).all()


def test_what_would_be_cut_is_refused(harness, environment, tasks, model, model_folder):
    for options in ({"tasks": ["tales_choices"], "max_length": 4}, {"tasks": ["tales_endless"]}):
        task = LMEval(task_folder=str(tasks), **options)
        with pytest.raises(
            ValueError, match=r"a prompt of \d+ tokens with its answer .* would be cut to \d+"
        ):
            task.measure(model, model_folder / "longspan.json", seed=0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tales_choice"], rf"lm-eval {VERSION} has no task 'tales_choice'; did you mean .*tales_choices"),
        (
            ["tales_empty"],
            r"task 'tales_empty' of lm-eval cannot be loaded \(FileNotFoundError: .*missing.json",
        ),
    ],
)
def test_tasks_and_data_that_are_not_there_are_named(harness, environment, tasks, names, message):
    with pytest.raises(ValueError, match=message):
        LMEval(tasks=names, task_folder=str(tasks)).require_ready()


def test_a_chat_template_that_is_missing_is_named(harness, environment, tasks, model, model_folder):
    task = LMEval(tasks=["tales_choices"], task_folder=str(tasks), apply_chat_template=True)
    with pytest.raises(ValueError, match="has no chat template; set apply_chat_template: false"):
        task.measure(model, model_folder / "longspan.json", seed=0)


def test_another_version_is_refused(harness, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.4.9")
    with pytest.raises(ValueError, match=rf"needs lm-eval=={VERSION}, installed is 0.4.9, whose numbers may"):
        LMEval(tasks=["arc_easy"]).require_ready()


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"run pip install 'longspan\[lm-eval\]'"):
        LMEval(tasks=["arc_easy"]).require_ready()


def test_a_folder_that_is_not_there_is_named_before_any_job(tmp_path):
    for key in ("task_folder", "data_folder"):
        with pytest.raises(ValueError, match=f"{key}: there is no folder .*; correct the path"):
            LMEval(tasks=["arc_easy"], **{key: str(tmp_path / "none")}).check_window(128)


def test_offline_data_lies_in_its_folder(tmp_path):
    environment = LMEval(tasks=["arc_easy"], data_folder=str(tmp_path)).environment
    assert environment["HF_DATASETS_CACHE"] == str(tmp_path)
    assert environment["HF_DATASETS_OFFLINE"] == environment["HF_HUB_OFFLINE"] == "1"
    assert LMEval(tasks=["arc_easy"]).environment == {}


def test_it_is_a_guard_where_the_settings_say_so():
    assert LMEval(tasks=["arc_easy"], guard=True).is_guard
    assert not LMEval(tasks=["arc_easy"]).is_guard


def test_files_of_the_users_tasks_are_told(tasks):
    files = LMEval(tasks=["x"], task_folder=str(tasks)).files
    assert [path.rpartition("/")[2] for path in files] == [
        "questions.json",
        *(f"tales_{name}.yaml" for name in ("choices", "empty", "endless", "perplexity", "written")),
    ]


def test_importing_the_plug_in_imports_no_harness():
    assert "longspan.evaluation.tasks.lm_eval" in sys.modules
    assert not any(
        name.startswith("lm_eval") for name in vars(sys.modules["longspan.evaluation.tasks.lm_eval"])
    )
