"""The short form of tests/mutants/run.py: two mutants, one of which must die and one of which cannot."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).with_name("run.py")
RULES = '''
"""A file of rules."""


rule first:
    input:
        unpack(sources),
        # Why.
        kept=lambda wildcards: [
            path for path in wildcards
        ],
    output:
        table="a",
    params:
        settings=1,
    shell:
        """
        HF_TOKEN="$t" python "$SCRIPTS"/first.py --settings {params.settings:q} --shard {wildcards.shard} \\
            --kept {input.kept:q} {params.more:q} --table {output.table:q} 2>&1 | tee {log:q}
        """


checkpoint second:
    output:
        "b",
    shell:
        "python {output}"
'''


@pytest.fixture
def run(monkeypatch):
    specification = importlib.util.spec_from_file_location("run_mutants", PATH)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "run_mutants", module)
    specification.loader.exec_module(module)
    return module


def lines_gone(text):
    """Lines of the rules that a text has not, and its own that they have not."""
    before, after = RULES.splitlines(), text.splitlines()
    return [line.strip() for line in before if line not in after], [
        line.strip() for line in after if line not in before
    ]


def test_each_input_and_parameter_is_taken_out_in_turn(run):
    found = {mutant.missing: lines_gone(mutant.text) for mutant in run.mutants(Path("a.smk"), RULES)}
    first, second = (line.strip() for line in RULES.splitlines() if "--" in line)
    assert found == {
        "input unpack(sources)": (["unpack(sources),"], []),
        "input kept": (["kept=lambda wildcards: [", "path for path in wildcards", "],"], []),
        "params settings": (["params:", "settings=1,"], []),
        "shell --settings": ([first], [first.replace(" --settings {params.settings:q}", "")]),
        "shell --shard": ([first], [first.replace(" --shard {wildcards.shard}", "")]),
        "shell --kept": ([second], [second.replace("--kept {input.kept:q} ", "")]),
        "shell {params.more:q}": ([second], [second.replace(" {params.more:q}", " ")]),
    }


def test_every_rule_that_has_a_command_has_mutants(run):
    rules = {mutant.rule for mutant in run.all_mutants()}
    scripts = {path.stem for path in (run.ROOT / "workflow/scripts").glob("*.py")}
    assert rules >= scripts
    with pytest.raises(SystemExit) as stop:
        run.main(["--rules", "no_such_rule"])
    assert stop.value.code == 2


def test_a_mutant_dies_and_one_that_no_test_looks_at_is_told(run, monkeypatch, capsys):
    chosen = [mutant for mutant in run.all_mutants() if mutant.missing == "shell --selection"]
    chosen = [mutant for mutant in chosen if mutant.rule == "list_kept_windows"]
    path = chosen[0].path
    chosen.append(run.Mutant("nothing", "params none", path, (run.ROOT / path).read_text()))
    monkeypatch.setitem(run.KILLERS, "nothing", ["tests/contract/test_rule_commands.py"])
    monkeypatch.setattr(run, "all_mutants", lambda: chosen)
    assert run.main(["--workers", "1", "--no-check"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "1/2 list_kept_windows: without shell --selection: dies by test_declared_inputs.py"
    )
    assert said[1:2] == ["2/2 nothing: without params none: SURVIVES"]
    assert said[-1] == "left: nothing: without params none"
