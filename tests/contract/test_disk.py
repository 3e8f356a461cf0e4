"""benchmarks/disk.py: bytes a token by stage."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from longspan.store.tables import read_table, write_table
from longspan_workflow.settings.loading import load_settings

ROOT = Path(__file__).parents[2]


def load_disk():
    specification = importlib.util.spec_from_file_location("disk", ROOT / "benchmarks" / "disk.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_file_of_the_stores_is_counted_over_the_tokens_that_it_covers(chain):
    settings = load_settings(yaml.safe_load(chain.path("settings_record").read_text()))
    found = {(stage, name): (size, tokens) for stage, name, size, tokens in load_disk().measure(settings)}

    def size_of(folder):
        return sum(path.stat().st_size for path in Path(folder).glob("*.parquet"))

    tokens = sum(
        len(row["input_ids"])
        for path in Path("results/tokens/short/tiny").glob("*.parquet")
        for row in read_table(path, "tokens")[0].to_pylist()
    )
    assert found["texts", "short"] == (size_of("results/corpora/short/documents"), tokens)
    ids, offsets = found["token ids", "short/tiny"], found["offsets", "short/tiny"]
    assert ids[0] + offsets[0] == size_of("results/tokens/short/tiny")
    assert ids[1] == offsets[1] == tokens
    assert found["scores", "short-128/tiny-32"] == (size_of("results/scores/short-128/tiny-32"), 16 * 128)
    assert found["scores", "short-128/tiny-layer0"] == (
        size_of("results/scores/short-128/tiny-layer0"),
        16 * 128,
    )
    assert found["export", "kept"][1] == 8 * 128
    assert Counter(stage for stage, _ in found) == {
        "texts": 1, "token ids": 1, "offsets": 1, "windows": 1, "scores": 4, "export": 1
    }  # fmt: skip


def test_a_score_takes_two_bytes_and_a_token_id_what_its_vocabulary_needs(tmp_path):
    """The stores' share of the 8 bytes, without what a text's content decides."""
    draw = np.random.default_rng(0)
    windows = [
        {
            "data_id": f"b-00000_{n:07d}",
            "tokens_digest": n,
            "short_nll": draw.exponential(3, 4095).astype(np.float16),
        }
        for n in range(64)
    ]
    without = frozenset({"long_nll"})
    write_table(tmp_path / "scores.parquet", "nll_scores", windows, settings={}, without=without)
    sizes = load_disk().column_bytes([tmp_path / "scores.parquet"])
    assert sizes.total() == (tmp_path / "scores.parquet").stat().st_size
    assert sizes.total() / (64 * 4096) <= 2.02
    # Ids of 128k words in no order at all, and the differences of their first characters.
    tokens = {
        "document_id": "a",
        "input_ids": draw.integers(0, 128_000, 200_000),
        "char_deltas": np.append(0, draw.poisson(4.5, 200_000)),
        "split_positions": [],
    }
    write_table(tmp_path / "tokens.parquet", "tokens", [tokens], settings={})
    sizes = load_disk().column_bytes([tmp_path / "tokens.parquet"])
    assert sizes["input_ids"] / 200_000 <= 2.8
    assert sizes["char_deltas"] / 200_000 <= 0.8
    assert sizes.total() / 200_000 == pytest.approx(
        (sizes["input_ids"] + sizes["char_deltas"]) / 200_000, rel=0.01
    )
