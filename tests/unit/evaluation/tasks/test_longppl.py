"""LongPPL, against PyPI's `longppl` 0.3.0 on the same texts. Write its numbers anew, where it is installed:

PYTHONPATH=workflow:tests python tests/unit/evaluation/tasks/test_longppl.py
"""

import contextlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from longspan.evaluation.tasks.longppl import LongPPL
from longspan.store.tables import open_table, write_table
from longspan.tokens.tokenization import DocumentTokenizer
from longspan.windows.assignment import tokens_digest
from longspan.windows.shard import Shard
from longspan.windows.store import WindowStore
from tiny_models import formula_llama

STORED = Path(__file__).with_name("longppl.json")
# Weights of a formula give neither likely tokens nor large gains.
KINDS = ("documents", "tokens")
THRESHOLDS = {"min_gain": 0.05, "max_nll": 6}
SHORT, SHARED = 24, 8
LETTERS = " .,abcdefghijklmnopqrstuvwxyzéø0123456789"
MERGES = [("t", "h"), ("th", "e"), (" ", "the"), ("a", "n"), ("an", "d"), ("e", "r"), ("o", "f")]


def tokenizer_of(merges) -> Tokenizer:
    """Letters, and some pairs of them."""
    vocabulary = {letter: number for number, letter in enumerate(LETTERS)}
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^ ]+| "), "isolated")
    return tokenizer


def texts() -> list[str]:
    """Texts of a formula, the second one shorter than the short context, the last with an odd end."""
    words = ["the", "sand", "of", "their", "other", "land", "ran", "é7", "and", "over", "a", "theft."]
    return [
        " ".join(words[(k * k + 3 * k + start) % 12] for k in range(count))
        for start, count in ((0, 40), (5, 4), (2, 33))
    ]


class Case:
    """An evaluator and a model with tokenizers of their own, as folders and as the package takes them."""

    def __init__(self, folder: Path, evaluator_merges, model_merges):
        self.evaluator, self.model = formula_llama(), formula_llama()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(0.9)
        self.folders = folder / "evaluator", folder / "model"
        for path, merges in zip(self.folders, (evaluator_merges, model_merges), strict=True):
            path.mkdir(parents=True)
            fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer_of(merges))
            fast.save_pretrained(path)

    def theirs(self, text: str) -> dict:
        """What the package says."""
        from longppl.longppl import compute_longppl

        tokenizers = [PreTrainedTokenizerFast.from_pretrained(path) for path in self.folders]
        with contextlib.redirect_stdout(io.StringIO()):
            found = compute_longppl(
                text,
                self.model,
                self.evaluator,
                tokenizer=tokenizers[1],
                evaluator_tokenizer=tokenizers[0],
                trunc_len=SHORT,
                sliding_window=SHARED,
                alpha=THRESHOLDS["min_gain"],
                beta=-THRESHOLDS["max_nll"],
            )
        numbers = {key: None if value is None else float(value) for key, value in found.items()}
        return numbers | {"n_key_token": found["n_key_token"] or 0}

    def ours(self, text: str, folder: Path) -> dict:
        """The same of our row, from tables of one window that is the whole text."""
        shard, store = one_window(text, self.folders[1], folder)
        task = LongPPL(short_context=SHORT, shared_tokens=SHARED, **THRESHOLDS)
        prepared = [{"data_id": "w", "key_positions": []}]
        with contextlib.suppress(ValueError):  # there is no key token
            prepared = task.prepare(self.evaluator, self.folders[0], shard, seed=0)
        (row,) = task.measure(self.model, store, seed=0, prepared=prepared)
        count = row["key_tokens"]
        return {
            "longppl": math.exp(row["key_nll_sum"] / count) if count else None,
            "n_key_token": count,
            "ppl": math.exp(row["nll_sum"] / row["tokens"]),
            "n_token": row["tokens"] + 1,
        }


def one_window(text: str, tokenizer: Path, folder: Path) -> tuple[Shard, WindowStore]:
    """Tables of a document that is one window, without BOS."""
    folder.mkdir(parents=True)
    tokens = DocumentTokenizer(tokenizer).encode(text)
    paths = [folder / f"{kind}.parquet" for kind in (*KINDS, "windows")]
    about = {"source": "s", "category": "c", "license": "l", "title": "t"}
    write_table(paths[0], "documents", [{"document_id": "d", "text": text, **about}], settings={})
    row = {"document_id": "d"} | {
        name: getattr(tokens, name) for name in ("input_ids", "char_deltas", "split_positions")
    }
    write_table(paths[1], "tokens", [row], settings={}, tokenizer="t")
    window = {
        "data_id": "w",
        "document_id": "d",
        "category": "c",
        "token_start": 0,
        "token_stop": len(tokens.input_ids),
        "char_start": 0,
        "char_stop": len(text),
        "tokens_digest": tokens_digest(tokens.input_ids),
    }
    write_table(
        paths[2],
        "windows",
        [window],
        settings={"window_tokens": len(tokens.input_ids), "bos_token_id": None},
        inputs={
            kind: open_table(path, kind)[1].data_digest for kind, path in zip(KINDS, paths, strict=False)
        },
        tokenizer="t",
    )
    shard = Shard("held_out", paths[2], tokens=paths[1], documents=paths[0])
    return shard, WindowStore.of(shard, paths[2])


CASES = {
    "same tokenizer": (MERGES, MERGES),
    "finer model": (MERGES, []),
    "coarser model": (MERGES[:2], MERGES),
}


def theirs(folder: Path) -> dict:
    found = {}
    for name, merges in CASES.items():
        case = Case(folder / name, *merges)
        found[name] = [case.theirs(text) for text in texts()]
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_the_package_gives(tmp_path, name):
    case, stored = Case(tmp_path, *CASES[name]), json.loads(STORED.read_text())[name]
    assert [numbers["n_key_token"] > 0 for numbers in stored] == [True, False, True]
    for number, (text, expected) in enumerate(zip(texts(), stored, strict=True)):
        found = case.ours(text, tmp_path / str(number))
        assert found["n_key_token"] == expected["n_key_token"]
        assert found["n_token"] == expected["n_token"]
        assert found["ppl"] == pytest.approx(expected["ppl"], rel=1e-5)
        assert found["longppl"] == (
            None if expected["longppl"] is None else pytest.approx(expected["longppl"], rel=1e-5)
        )


def test_the_stored_numbers_are_the_packages(tmp_path):
    pytest.importorskip("longppl", reason="needs the extra 'eval'")
    stored = json.loads(STORED.read_text())
    for name, found in theirs(tmp_path).items():
        for numbers, expected in zip(found, stored[name], strict=True):
            assert {key: value for key, value in numbers.items() if value is not None} == pytest.approx(
                {key: value for key, value in expected.items() if value is not None}, rel=1e-5
            )


def test_a_text_without_key_tokens_alone_is_refused(tmp_path):
    case = Case(tmp_path, MERGES, MERGES)
    shard, _ = one_window(texts()[1], case.folders[1], tmp_path / "one")
    with pytest.raises(ValueError, match="the evaluator finds no key token in 1 held-out windows; hold out"):
        LongPPL(short_context=SHORT, shared_tokens=SHARED).prepare(
            case.evaluator, case.folders[0], shard, seed=0
        )


def table(**changes):
    rows = pd.DataFrame(
        {
            "data_id": ["w1", "w2", "w3"],
            "document_id": ["d1", "d1", "d2"],
            "category": "c",
            "tokens": [100, 100, 50],
            "nll_sum": [200.0, 300.0, 100.0],
            "key_tokens": [4, 0, 1],
            "key_nll_sum": [2.0, 0.0, 3.0],
        }
    )
    return rows.assign(**changes)


def test_means_of_its_values_are_longppl_and_plain_nll():
    found = LongPPL().checked_values(table(), "rows")
    key, every = found.loc["longppl"], found.loc["nll"]
    assert key.index.tolist() == ["w1", "w3"]  # w2 has no key token, whatever the model
    assert np.average(key["value"], weights=key["weight"]) == pytest.approx(5 / 5)
    assert np.average(every["value"], weights=every["weight"]) == pytest.approx(600 / 250)
    assert every["cluster"].tolist() == ["d1", "d1", "d2"]


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"longppl of sample w1 is nan with weight 4\.0"):
        LongPPL().checked_values(table(key_nll_sum=[math.nan, 0.0, 3.0]), "rows")


def test_the_summary_has_both_perplexities():
    trained = table(key_nll_sum=[0.0, 0.0, 0.0], nll_sum=[250.0, 0.0, 0.0])
    assert LongPPL().summary(table().to_dict("records"), trained.to_dict("records")) == [
        ("LongPPL", "2.718 → 1.000 (5 key tokens of 3 windows)"),
        ("perplexity of all tokens", "11.023 → 2.718"),
    ]


def test_windows_that_are_no_longer_than_the_short_context_are_refused():
    LongPPL(short_context=127).check_window(128)
    with pytest.raises(ValueError, match=r"windows of 128 tokens have no token with more than 128 before it"):
        LongPPL(short_context=128).check_window(128)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        STORED.write_text(json.dumps(theirs(Path(folder)), indent=1) + "\n")
