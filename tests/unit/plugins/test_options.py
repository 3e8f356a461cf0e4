import pytest

from longspan.plugins.options import Number, Options, option, optional, own_options


class Inner(Options):
    """A block."""

    size: int = option(1, "A size.", ge=1)


class Outer(Options):
    """A block with another."""

    share: Number = option(0.5, "A share.", gt=0, le=1)
    inner: Inner = option(Inner(), "A block in it.")
    given: int | None = optional("Only if it is given.")
    null: int | None = option(None, "None by default.")
    words: list[str] = option([], "Words.")
    by_name: dict[str, Inner] = option({}, "Blocks.")
    other: str = option("x", "Under another name.", alias="key")


def test_a_block_comes_back_with_its_defaults():
    assert Outer().as_settings() == {
        "share": 0.5,
        "inner": {"size": 1},
        "null": None,
        "words": [],
        "by_name": {},
        "key": "x",
    }
    block = {"share": 1, "inner": {"size": 2}, "given": 3, "by_name": {"a": {"size": 4}}, "key": "y"}
    assert Outer(**block).as_settings() == block | {"null": None, "words": []}
    assert Outer().as_settings("share", "inner", "key").keys() == {"null", "words", "by_name"}


def test_a_whole_number_stays_one_and_a_word_with_an_exponent_becomes_one():
    assert repr(Outer(share=1).share) == "1"
    assert repr(Outer(share=1.0).share) == "1.0"
    assert Outer(share="5e-1").share == 0.5
    assert Outer(share="+1.E-2").share == 0.01


@pytest.mark.parametrize("value", [True, "0.5", "half", None, float("nan"), float("inf"), "1e999", [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="not a finite number"):
        Outer(share=value)


@pytest.mark.parametrize("block", [{"shar": 1}, {"other": "y"}, {"inner": {"sizes": 2}}])
def test_a_block_is_closed(block):
    with pytest.raises(ValueError, match="not permitted"):
        Outer(**block)


def test_the_options_of_a_class_are_told_from_others():
    assert own_options(Outer, {"share": 1, "key": "y", "other": "z", "more": 2}) == {"share": 1, "key": "y"}
