import pytest

from longspan.reporting.page.content import cost_section, funnel_section, overlaps


def shard(documents, dropped):
    return {
        "categories": {
            "prose": {
                "documents": documents,
                "tokens": 100 * documents,
                "characters": 400 * documents,
                "windows_cut": 8 * documents,
                "windows": 4 * documents,
            }
        },
        "reasons": {"duplicate": {"documents": dropped, "characters": 5 * dropped}} if dropped else {},
        "examples": {"duplicate": [{"document_id": f"d{number}"} for number in range(dropped)][:3]},
    }


def test_the_funnel_sums_shards_and_takes_examples_of_several():
    settings = {"window_tokens": 10, "sources": [{"category": "prose", "origin": "a folder"}]}
    held_out = {"categories": {"prose": {"tokens": 7}}, "reasons": {}, "examples": {}}
    kept = {"best": {"categories": [{"name": "prose", "kept": 3}]}}
    found = funnel_section("w", settings, [shard(1, 4), shard(2, 5)], held_out, kept)
    (prose,) = found["categories"]
    assert prose == {
        "name": "prose",
        "sources": ["a folder"],
        "documents": 3,
        "tokens": 300,
        "held_out": 7,
        "cut": 240,
        "drawn": 120,
        "kept": {"best": 30},
    }
    (reason,) = found["reasons"]
    assert (reason["name"], reason["documents"], reason["characters"]) == ("duplicate", 9, 45)
    assert len(reason["examples"]) == 6


def test_overlaps_are_of_sets():
    (pair,) = overlaps({"a": {"1", "2", "3"}, "b": {"3", "4"}})
    assert pair == {"a": "a", "b": "b", "both": 1, "either": 4, "kept": [3, 2]}


def test_costs_stand_beside_what_was_estimated():
    costs = [
        {
            "rule": "train",
            "jobs": "2",
            "wall_seconds": "1,000.0",
            "cpu_seconds": "9",
            "largest_memory_mb": "",
        },
        {
            "rule": "report",
            "jobs": "1",
            "wall_seconds": "1.0",
            "cpu_seconds": "1",
            "largest_memory_mb": "500",
        },
    ]
    estimate = [
        {"stage": "train", "jobs": "1", "tokens": "5000.0", "gpu_hours": "0.5", "host_gb": "7.0"},
        {"stage": "train", "jobs": "1", "tokens": "unknown", "gpu_hours": "0.25", "host_gb": "9.0"},
    ]
    train, report = cost_section(costs, estimate)
    assert train["memory_gb"] is None
    assert (train["expected_gpu_hours"], train["expected_memory_gb"], train["expected_jobs"]) == (
        0.75,
        9.0,
        2,
    )
    assert train["tokens_per_second"] == pytest.approx(5.0)
    assert (report["memory_gb"], report["expected_gpu_hours"]) == (0.5, None)
