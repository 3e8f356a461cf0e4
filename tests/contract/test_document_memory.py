"""benchmarks/document_memory.py: peak memory of each rule on one long document."""

import importlib.util
import json
from pathlib import Path

from longspan.models.folders import finish_model
from tiny_inputs import make_model

ROOT = Path(__file__).parents[2]
# Megabytes of memory a megabyte of text. The tiny tokenizer gives three times as many tokens as a real one.
LIMITS = {
    "plan_shards": 9,
    "read_documents": 12,
    "tokenize_documents": 30,
    "assign_windows": 30,
    "export_windows": 25,
}


def load_benchmark():
    path = ROOT / "benchmarks" / "document_memory.py"
    specification = importlib.util.spec_from_file_location("document_memory", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_memory_grows_little_with_a_document(tmp_path):
    benchmark = load_benchmark()
    text = benchmark.long_text(8)
    make_model(tmp_path / "model", [text[:100_000]])
    finish_model(tmp_path / "model", source={}, license="MIT")
    peaks = []
    for length in (len(text) // 8, len(text)):
        path = tmp_path / f"{length}.jsonl"
        path.write_text(json.dumps({"text": text[:length]}) + "\n")
        peaks.append(benchmark.measure(path.with_suffix(""), path, tmp_path / "model"))
    growth = {rule: (peaks[1][rule][1] - peaks[0][rule][1]) / 7 for rule in peaks[0]}
    assert growth.keys() == LIMITS.keys()
    assert all(growth[rule] < limit for rule, limit in LIMITS.items()), growth


def test_a_line_that_is_passed_over_takes_no_memory(tmp_path):
    benchmark = load_benchmark()
    path = tmp_path / "line.jsonl"
    benchmark.write_long_line(path, 400)
    found = benchmark.measure(tmp_path / "line", path, None)
    assert all(peak < 420 for _, peak in found.values()), found
