"""That contract tests give the scripts what the rules' commands give them."""

import pytest

from rule_commands import as_config, recorded_arguments
from tiny_chain import TINY, Chain


def test_arguments_are_those_that_the_shell_passes():
    command = """
        trap '' TERM
        TOKEN="${TOKEN:-}" python -m some.launcher 1 \\
            python "${SCRIPTS:-/a folder}"/score.py --settings '{"a": "b c"}' --quote "it's" --none '' \\
            --lines $'a\\nb' --empty --count 2 2>&1 | (
            trap '' TERM
            tee no/such/folder.log
        )
        """
    assert recorded_arguments(command, "score") == [
        *("--settings", '{"a": "b c"}', "--quote", "it's", "--none", "", "--lines", "a\nb"),
        *("--empty", "--count", "2"),
    ]


def test_a_command_that_calls_no_script_of_its_rule_is_refused():
    with pytest.raises(ValueError, match=r"the command of score does not call score\.py"):
        recorded_arguments("python scripts/other.py", "score")


def test_what_a_rule_does_not_make_is_refused():
    with pytest.raises(
        ValueError, match="rule score_short does not make results/scores/short-128/tiny-layer0/"
    ):
        Chain().arguments("score_short", scorer="tiny-layer0")
    scorer = TINY["scorers"]["tiny-32"] | {"base_lenght": 32}
    chain = Chain(TINY | {"scorers": {"tiny-32": scorer}})
    with pytest.raises(ValueError, match=r"did you mean 'base_length'\?"):
        chain.arguments("score_short")


def test_settings_reach_a_rule_as_they_are():
    loss = TINY["losses"]["dense"] | {"interpolation": 1.0e-5}
    assert "1e-05" in Chain(TINY | {"losses": {"dense": loss}}).options("train")["--settings"][0]
    assert as_config({"a": 1.0e-5}) == "a: 1.0e-05\n"
