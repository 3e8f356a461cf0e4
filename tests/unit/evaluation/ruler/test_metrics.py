import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation.ruler.metrics import as_scored, string_match_all, string_match_part

TEXT = st.text("aB c1", max_size=12)


@given(TEXT, st.lists(TEXT, min_size=1, max_size=5))
def test_matches_are_counted_in_any_case(text, answers):
    found = [answer.casefold() in text.casefold() for answer in answers]
    assert string_match_all(text, answers) == pytest.approx(sum(found) / len(found))
    assert string_match_part(text, answers) == max(found)


def test_what_cannot_be_printed_is_a_line_end():
    assert as_scored(" \x00 12\x0734\t\n ") == "12\n34"
    assert as_scored("") == ""
