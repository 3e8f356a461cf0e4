import re
from pathlib import Path

import pytest

from longspan.costs.needs import ATTENTION_BYTES, NLL_BYTES, TEXT_STAGES, requested_minutes


def test_bytes_a_token_are_those_of_the_page():
    page = (Path(__file__).parents[3] / "docs" / "disk.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| ([0-9.]+) \|$", page, re.MULTILINE))
    measured = {name: float(value) for name, value in rows.items()}
    assert TEXT_STAGES["read_documents"].token_bytes == measured["texts"]
    ids = measured["token ids, once"] + measured["offsets, as differences"]
    assert TEXT_STAGES["tokenize_documents"].token_bytes == pytest.approx(ids)
    assert TEXT_STAGES["assign_windows"].token_bytes == measured["windows, as spans"]
    assert measured["LongAttn's statistics"] == ATTENTION_BYTES
    both = measured["short and long NLL in fp16, of scored windows"]
    assert pytest.approx(both, rel=0.01) == 2 * NLL_BYTES


def test_collecting_ten_thousand_windows_is_near_what_was_measured():
    none, many = (TEXT_STAGES["collect_weights"].needs(0, windows) for windows in (0, 10_000))
    assert many.host_bytes - none.host_bytes == pytest.approx(0.14e9, rel=0.05)
    assert many.seconds == pytest.approx(1.8, rel=0.15)


def test_unknown_tokens_give_no_time():
    for stage in TEXT_STAGES.values():
        assert stage.needs(None).seconds is None
    assert requested_minutes(0) == 60
    assert requested_minutes(3600) == 240
