"""That contract tests give the scripts what the rules' commands give them."""

import json
import re

import pytest

from rule_commands import as_config, recorded_command, rule_command
from tiny_chain import NAMES, ROOT, RULES, SCORE_RULES, SCORERS, TINY, Chain, script_of


def test_arguments_are_those_that_the_shell_passes():
    command = """
        trap '' TERM
        TOKEN="${TOKEN:-}" python -m some.launcher 1 \\
            python "${NOWHERE:-/a folder/scripts}"/score.py --settings '{"a": "b c"}' --quote "it's" \\
            --none '' --lines $'a\\nb' --empty --count 2 2>&1 | (
            trap '' TERM
            tee no/such/folder.log
        )
        """
    assert recorded_command(command) == [
        "score",
        *("--settings", '{"a": "b c"}', "--quote", "it's", "--none", "", "--lines", "a\nb"),
        *("--empty", "--count", "2"),
    ]


def test_a_command_that_calls_no_script_is_refused():
    for command in ("python elsewhere/other.py", "python -m json.tool", "true scripts/score.py"):
        with pytest.raises(ValueError, match=f"^the command calls no script: {command}$"):
            recorded_command(command)


def test_the_rules_of_the_kinds_of_scorers_share_a_script():
    for rule in RULES:
        if rule in SCORE_RULES:
            names = {"scorer": SCORERS[rule]}
            assert rule_command(rule, frozenset((NAMES | names).items()), as_config(TINY))[:3] == (
                script_of(rule),
                "--kind",
                SCORE_RULES[rule],
            )


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


def test_no_rule_hands_settings_over_in_an_argument():
    """They go to a file, which may be of any size."""
    found = 0
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text()
        for name in set(re.findall(r"(\w+)=as_json\(", text)):
            lines = [line.strip() for line in text.splitlines() if f"{{params.{name}:q}}" in line]
            written = f"printf %s {{params.{name}:q}} > {{log:q}}.{name}.json"
            assert lines == [written] * len(lines) != [], f"{path.name}: {lines}"
            found += len(lines)
    assert found > 15


def test_workflows_of_several_settings_do_not_get_into_each_others_way():
    """Functions of a rule see the settings of their own workflow, whichever was read last."""
    half, run = TINY["selections"]["half"], TINY["runs"]["main"]
    quick = {key: value for key, value in half.items() if key != "scorer"} | {"method": "gzip"}
    other = TINY | {
        "seed": 12345,  # settings that no other test reads
        "selections": {"quick": quick},
        "runs": {"main": run | {"selection": "quick"}},
        "exports": {},
        "report": {},
    }
    first, second = Chain(TINY | {"seed": 54321}), Chain(other)
    for selections in ("half", "quick"), ("drawn", "quick"):
        for chain, name, method in zip(
            (first, second), selections, (TINY["selections"][selections[0]]["method"], "gzip"), strict=True
        ):
            settings = chain.options("select_windows", selection=name)["--settings"][0]
            assert json.loads(settings)["method"] == method
