import numpy as np
import pytest

from longspan.evaluation.generated import Cost, GeneratedTask, TaskSources, input_rows
from longspan.evaluation.samples import RAGGED_TOKENS, PromptTables
from longspan.store.tables import write_table

ROW = {
    "sample_id": "a",
    "group": "g",
    "document_id": None,
    "length": 100,
    "depth": None,
    "distance": None,
    "prompt_ids": [3, 4, 5],
    "control_ids": None,
    "candidate_ids": [[6], [7, 8]],
    "answers": ["x"],
    "evidence_starts": [0],
    "evidence_stops": [2],
    "new_tokens": 4,
}


def write(path, rows, tokenizer="t"):
    write_table(path, "task_inputs", [ROW | row for row in rows], settings={}, tokenizer=tokenizer)
    return path


def test_a_sample_comes_back_as_it_was_written(tmp_path):
    tables = PromptTables([write(tmp_path / "100.parquet", [{}, {"sample_id": "b", "control_ids": [40]}])])
    first, second = tables["a"], tables["b"]
    np.testing.assert_array_equal(first.prompt_ids, [3, 4, 5])
    assert [ids.tolist() for ids in first.candidate_ids] == [[6], [7, 8]]
    assert first.control_ids is None
    assert second.control_ids.tolist() == [40]
    assert (first.answers, first.evidence_stops, first.new_tokens) == (["x"], [2], 4)
    assert tables.largest_id == 40


def test_batches_hold_each_sample_once_and_prompts_of_about_one_length(tmp_path):
    sizes = np.random.default_rng(0).integers(10, 400, 60)
    rows = [{"sample_id": f"s{n}", "prompt_ids": [1] * size} for n, size in enumerate(sizes)]
    tables = PromptTables([write(tmp_path / "500.parquet", rows)])
    batches = tables.batches(1000)
    assert sorted(name for batch in batches for name in batch) == sorted(tables.ids)
    for batch in batches:
        tokens = [len(tables[name].prompt_ids) for name in batch]
        assert max(tokens) - min(tokens) <= RAGGED_TOKENS
        assert len(batch) == 1 or max(tokens) * len(batch) <= 1000
    assert len(tables[batches[0][0]].prompt_ids) == max(sizes)
    assert tables.batches(1) == [[name] for batch in tables.batches(1) for name in batch]


def test_tables_of_two_tokenizers_or_with_one_sample_are_refused(tmp_path):
    first = write(tmp_path / "100.parquet", [{}])
    with pytest.raises(ValueError, match="has prompts of another tokenizer than"):
        PromptTables([first, write(tmp_path / "200.parquet", [{"sample_id": "b"}], tokenizer="u")])
    with pytest.raises(ValueError, match="holds sample a, which another length has already"):
        PromptTables([first, write(tmp_path / "300.parquet", [{}])])


class Given(GeneratedTask):
    """Rows as they are given."""

    name = "given"
    rows: list[dict]

    def make_inputs(self, sources, *, length, seed):
        return self.rows

    def cost(self, length):
        return Cost(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"prompt_ids": [1] * 97},
            "sample a needs 101 tokens with its answer, and its length is 100: it would",
        ),
        ({"control_ids": [1] * 97}, "sample a needs 101 tokens"),
        ({"candidate_ids": [[1] * 98]}, "sample a needs 101 tokens"),
        ({"candidate_ids": [], "new_tokens": 0}, "sample a has neither an answer to score nor new tokens"),
        ({"candidate_ids": [[]]}, "sample a has an empty prompt or answer"),
        ({"prompt_ids": []}, "sample a has an empty prompt or answer"),
        ({"evidence_stops": [9]}, "sample a has evidence outside its prompt"),
    ],
)
def test_prompts_that_would_be_cut_or_ask_nothing_are_refused(change, message):
    row = {name: value for name, value in (ROW | change).items() if name != "length"}
    with pytest.raises(ValueError, match=message):
        list(input_rows(Given(rows=[row]), TaskSources(None), length=100, seed=0))


def test_a_name_that_comes_twice_and_no_sample_at_all_are_refused():
    row = {name: value for name, value in ROW.items() if name != "length"}
    with pytest.raises(ValueError, match="sample a is there twice"):
        list(input_rows(Given(rows=[row, row]), TaskSources(None), length=100, seed=0))
    with pytest.raises(ValueError, match="task given makes no sample of 100 tokens"):
        list(input_rows(Given(rows=[]), TaskSources(None), length=100, seed=0))
