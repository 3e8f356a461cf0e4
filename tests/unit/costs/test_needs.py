import re
from pathlib import Path

import pytest

from longspan.costs.needs import ATTENTION_BYTES, NLL_BYTES, TEXT_STAGES, answering_needs, requested_minutes
from longspan.costs.shape import DecoderShape


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


SMALL = DecoderShape(49152, 576, 1536, 30, 9, 3, 64, tie_word_embeddings=True)


def answers(lengths, tokens_per_batch=32768, dtype="bfloat16"):
    return answering_needs(
        SMALL, lengths, tokens_per_batch=tokens_per_batch, dtype=dtype, device_flops=798e12
    )


def test_answers_take_longer_for_more_samples_lengths_passes_and_words():
    seconds = answers({4096: (1000, 2, 8)}).seconds
    for more in ({4096: (2000, 2, 8)}, {8192: (1000, 2, 8)}, {4096: (1000, 4, 8)}, {4096: (1000, 2, 64)}):
        assert answers(more).seconds > seconds
    both = answers({4096: (1000, 2, 8), 8192: (1000, 2, 8)}).seconds
    start = answers({}).seconds
    assert both - start == pytest.approx(
        seconds - start + answers({8192: (1000, 2, 8)}).seconds - start, rel=1e-9
    )


def test_a_batch_shares_the_steps_of_writing_and_takes_memory():
    few, many = (answers({4096: (64, 1, 128)}, tokens) for tokens in (4096, 65536))
    assert few.seconds > many.seconds
    assert few.device_bytes < many.device_bytes
    # A prompt goes through whole, however few tokens a batch has.
    assert answers({65536: (1, 1, 0)}, 1).device_bytes == answers({65536: (1, 1, 0)}, 65536).device_bytes
    assert answers({4096: (64, 1, 8)}, dtype="float32").seconds > answers({4096: (64, 1, 8)}).seconds
