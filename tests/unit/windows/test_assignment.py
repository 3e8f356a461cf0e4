import bisect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.windows.assignment import Windowing, bos_token_of, sample_windows, tokens_digest, windows_of
from longspan.windows.policies import both_ends
from refusals import refused


def document(num_tokens, document_id="a", category="prose", splits=(), characters=3):
    """Tokens of so many characters each; those in `splits` begin inside the one before's last character."""
    widths = np.full(num_tokens, characters)
    starts = np.cumsum(widths) - characters
    starts[list(splits)] -= 1
    return {
        "document_id": document_id,
        "category": category,
        "input_ids": np.arange(num_tokens, dtype=np.int32) + 100,
        "char_deltas": np.diff([*starts, num_tokens * characters], prepend=0),
        "split_positions": np.array(splits, dtype=np.int32),
    }


def windows(*documents, prefix="books-00000", **windowing):
    return list(windows_of(documents, Windowing(**windowing), prefix))


def spans(rows):
    return [(row["token_start"], row["token_stop"]) for row in rows]


def test_rows_hold_the_span_its_characters_and_its_origin():
    rows = windows(document(7, "a.txt", "prose"), window_tokens=3, policy="stride")
    common = {"document_id": "a.txt", "category": "prose"}
    assert rows == [
        {
            "data_id": "books-00000_0000001",
            **common,
            "token_start": 0,
            "token_stop": 3,
            "char_start": 0,
            "char_stop": 9,
            "tokens_digest": tokens_digest([100, 101, 102]),
        },
        {
            "data_id": "books-00000_0000002",
            **common,
            "token_start": 3,
            "token_stop": 6,
            "char_start": 9,
            "char_stop": 18,
            "tokens_digest": tokens_digest([103, 104, 105]),
        },
    ]
    assert all(type(value) in (int, str) for row in rows for value in row.values())


def test_a_digest_is_that_of_the_tokens_and_their_order_with_bos_in_front():
    (plain,) = windows(document(4), window_tokens=4, policy="stride")
    (with_bos,) = windows(document(3), window_tokens=4, policy="stride", bos_token_id=7)
    assert plain["tokens_digest"] == tokens_digest(np.arange(100, 104, dtype=np.int32))
    assert with_bos["tokens_digest"] == tokens_digest([7, 100, 101, 102])
    # Stored by another process, it must stay what it was.
    assert tokens_digest([1, 2, 3]) == -5405627362230748553
    assert len({tokens_digest(ids) for ids in ([], [0], [1, 2], [2, 1], [1, 2, 0], [2**31])}) == 6
    assert all(-(2**63) <= tokens_digest([number]) < 2**63 for number in range(100))
    assert min(tokens_digest([number]) for number in range(100)) < 0


def test_ids_are_numbered_in_document_order_without_gaps():
    lengths = [9, 2, 3, 12]
    documents = [document(length, name) for name, length in zip("zybc", lengths, strict=True)]
    rows = windows(*documents, window_tokens=3, policy="stride", prefix="poems-held_out")
    assert [row["data_id"] for row in rows] == [f"poems-held_out_{number:07d}" for number in range(1, 9)]
    assert [row["document_id"] for row in rows] == list("zzz" + "b" + "cccc")
    # A document behind the others renumbers nothing.
    assert windows(*documents, document(6, "new"), window_tokens=3, policy="stride")[:8] == windows(
        *documents, window_tokens=3, policy="stride"
    )


def test_a_cut_character_belongs_to_both_windows():
    text = "aéb"  # tokens: a, first byte of é, second byte of é, b
    cut = {
        "document_id": "a",
        "category": "c",
        "input_ids": np.arange(4),
        "char_deltas": np.diff([0, 1, 1, 2, 3], prepend=0),
        "split_positions": np.array([2]),
    }
    rows = windows(cut, window_tokens=2, policy="stride")
    assert spans(rows) == [(0, 2), (2, 4)]
    assert [text[row["char_start"] : row["char_stop"]] for row in rows] == ["aé", "éb"]


def test_a_tokenizer_that_adds_several_tokens_is_refused_under_auto():
    tokenizer = {"bos_token_id": 7, "adds_bos": False, "prefix_token_ids": [5, 6]}
    with refused(
        "the tokenizer of m puts 2 tokens in front of a text (5, 6), and a window holds one at most; set "
        "add_bos: true for its BOS token alone, or false for none"
    ):
        bos_token_of("auto", tokenizer, "m")
    assert bos_token_of(True, tokenizer, "m") == 7
    assert bos_token_of(False, tokenizer, "m") is None


@given(
    num_tokens=st.integers(0, 60),
    window_tokens=st.integers(1, 20),
    splits=st.sets(st.integers(1, 59)),
    policy=st.sampled_from(["stride", "both_ends"]),
)
def test_character_spans_are_those_of_the_first_and_last_token(num_tokens, window_tokens, splits, policy):
    splits = sorted(token for token in splits if token < num_tokens)
    source = document(num_tokens, splits=splits)
    starts = np.cumsum(source["char_deltas"])
    rows = windows(source, window_tokens=window_tokens, policy=policy)
    for row in rows:
        first, stop = row["token_start"], row["token_stop"]
        assert stop - first == window_tokens
        assert row["char_start"] == starts[first]
        # The character in which the next token begins belongs to the window too.
        assert row["char_stop"] == starts[stop] + (stop in splits)
    if policy == "both_ends":
        assert spans(rows) == both_ends(num_tokens, window_tokens)


@given(num_tokens=st.integers(0, 200), window_tokens=st.integers(2, 30), stride_tokens=st.integers(1, 40))
def test_with_bos_no_text_token_is_lost_between_windows(num_tokens, window_tokens, stride_tokens):
    """methods.md: a window is BOS and chunk_size - 1 text tokens, stepped by min(stride, chunk_size - 1)."""
    found = spans(
        windows(
            document(num_tokens),
            window_tokens=window_tokens,
            policy="stride",
            stride_tokens=stride_tokens,
            bos_token_id=1,
        )
    )
    text_tokens = window_tokens - 1
    assert all(stop - start == text_tokens for start, stop in found)
    step = min(stride_tokens, text_tokens)
    assert [start for start, _ in found] == [step * number for number in range(len(found))]
    # Only a rest shorter than a window, or one that the last window holds, comes to an end without one.
    reached = found[-1][1] if found else 0
    assert num_tokens - reached < (step if found else text_tokens)


def test_without_a_stride_a_window_is_stepped_over():
    plain = {"window_tokens": 4, "policy": "stride"}
    assert spans(windows(document(8), **plain)) == [(0, 4), (4, 8)]
    assert spans(windows(document(8), **plain, bos_token_id=1)) == [(0, 3), (3, 6)]
    assert spans(windows(document(8), **plain, stride_tokens=2)) == [(0, 4), (2, 6), (4, 8)]
    assert spans(windows(document(8), **plain, discard_first=True)) == [(4, 8)]


def test_both_ends_obeys_overlap_and_bos():
    limited = {"window_tokens": 4, "policy": "both_ends", "max_overlap_tokens": 1}
    assert spans(windows(document(6), window_tokens=4, policy="both_ends")) == [(0, 4), (2, 6)]
    assert spans(windows(document(6), **limited)) == [(0, 4)]
    assert spans(windows(document(6), **limited, bos_token_id=1)) == [(0, 3), (3, 6)]


def rows_of(count, categories=("a", "b")):
    return [
        {"data_id": f"x-00000_{number:07d}", "category": categories[number % len(categories)]}
        for number in range(count)
    ]


@given(seed=st.integers(0, 2**31 - 1), few=st.integers(0, 20), more=st.integers(0, 20))
def test_a_larger_sample_holds_the_smaller_one(seed, few, more):
    few, more = sorted((few, more))
    rows = rows_of(25)
    small, large = (sample_windows(rows, seed, windows_per_category=count) for count in (few, more))
    assert [row for row in large if row in small] == small
    for category, there in (("a", 13), ("b", 12)):
        assert sum(row["category"] == category for row in small) == min(few, there)
    small, large = (sample_windows(rows, seed, fraction=(count + 1) / 21) for count in (few, more))
    assert [row for row in large if row in small] == small
    assert sample_windows(rows, seed, fraction=1.0) == rows


@given(rows=st.permutations(rows_of(12)), seed=st.integers(0, 99), sampling=st.sampled_from(
    [{"windows_per_category": 3}, {"fraction": 0.4}]
))  # fmt: skip
def test_a_sample_does_not_depend_on_the_order_of_windows(rows, seed, sampling):
    sample = sample_windows(rows, seed, **sampling)
    kept = {row["data_id"] for row in sample_windows(rows_of(12), seed, **sampling)}
    assert {row["data_id"] for row in sample} == kept
    assert sample == [row for row in rows if row["data_id"] in kept]  # in their old order


def test_a_fraction_is_drawn_for_each_window_on_its_own():
    rows = rows_of(2000)
    assert 450 < len(sample_windows(rows, 7, fraction=0.25)) < 550
    # What else is there does not matter.
    part = sample_windows(rows[::3], 7, fraction=0.25)
    assert part == [row for row in sample_windows(rows, 7, fraction=0.25) if row in rows[::3]]
    assert sample_windows(rows, 8, fraction=0.25) != sample_windows(rows, 7, fraction=0.25)


def test_without_sampling_all_windows_stay():
    assert sample_windows(rows_of(5), None) == rows_of(5)


def test_bos_is_put_before_windows_as_set_or_as_the_tokenizer_does():
    adds, has, none = (
        {"adds_bos": adds, "bos_token_id": bos} for adds, bos in ((True, 1), (False, 1), (False, None))
    )
    assert [bos_token_of("auto", tokenizer, "m") for tokenizer in (adds, has, none)] == [1, None, None]
    assert [bos_token_of(False, tokenizer, "m") for tokenizer in (adds, has, none)] == [None, None, None]
    assert bos_token_of(True, has, "m") == 1
    with refused("add_bos is set, but the tokenizer of m has no BOS token"):
        bos_token_of(True, none, "m")


@pytest.mark.parametrize("splits", [[], [2], [1, 2, 5]])
def test_a_character_at_the_documents_end_is_not_counted_twice(splits):
    (row,) = windows(document(6, splits=splits), window_tokens=6, policy="stride")
    assert (row["char_start"], row["char_stop"]) == (0, 18)
    assert bisect.bisect_left(splits, 6) == len(splits)
