"""The scripts with the arguments that their rules' own commands give them, over configs/tiny.yaml."""

import copy
import importlib.util
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from longspan.evaluation.task import EVALUATION_TASKS
from longspan.process.command_line import run_script
from longspan.reporting.page.document import page_files
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.store.code import code_digest
from longspan.weighting.variant import LOSS_VARIANTS
from longspan_workflow.running.project import SCRIPTS
from rule_commands import as_config, rule_command

ROOT = Path(__file__).parents[1]
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
NAMES = {
    "model": "tiny",
    "corpus": "short",
    "tokenizer": "tiny",
    "windowing": "short-128",
    "scorer": "tiny-32",
    "selection": "half",
    "run": "main",
    "loss": "dense",
    "seed": "0",
    "shard": "00000",
    "trained": "dense/seed0",
    "evaluation": "position_nll",
    "export": "kept",
    "ending": "jsonl.zst",
}
# Where users find what the workflow makes.
PATHS = {
    "text_archive": "downloads/texts/{archive}",
    "revisions": "downloads/revisions.json",
    "model": "results/models/{model}/longspan.json",
    "plan_index": "results/corpora/{corpus}/plan.json",
    "plan": "results/corpora/{corpus}/plan/{shard}.json",
    "documents": "results/corpora/{corpus}/documents/{shard}.parquet",
    "dropped": "results/corpora/{corpus}/dropped/{shard}.parquet",
    "reference_ngrams": "results/corpora/{corpus}/reference_ngrams.parquet",
    "tokens": "results/tokens/{corpus}/{tokenizer}/{shard}.parquet",
    "windows": "results/windows/{windowing}/{shard}.parquet",
    "scores": "results/scores/{windowing}/{scorer}/{shard}.parquet",
    "score_index": "results/scores/{windowing}/{scorer}/index.parquet",
    "frozen_weights": "results/frozen_weights.done",
    "selection": "results/selections/{selection}.parquet",
    "kept": "results/selections/{selection}.kept.parquet",
    "run": "results/runs/{run}/{loss}/seed{seed}",
    "evaluation": "results/evaluations/{run}/{trained}/{evaluation}.parquet",
    "data": "results/exports/{export}/data/{shard}.{ending}",
    "manifest": "results/exports/{export}/manifests/{shard}.{ending}.json",
    "card": "results/exports/{export}/README.md",
    "publication": "results/exports/{export}/published.json",
    "estimate": "results/estimate.tsv",
    "prepared_task": "results/tasks/{evaluation}/{windowing}.parquet",
    "evaluation_table": "results/evaluation.tsv",
    "evaluation_markdown": "results/evaluation.md",
    "verdict": "results/verdict.txt",
    "settings_record": "results/settings.yaml",
    "summary": "results/summary.txt",
    "summary_table": "results/summary.tsv",
    "funnel": "results/funnel.tsv",
    "figures": "results/figures/{figure}.svg",
    "shard_aggregate": "results/aggregates/windows/{windowing}/{shard}.json",
    "selection_aggregate": "results/aggregates/selections/{selection}.json",
    "costs": "results/costs.tsv",
    "page": "results/report.html",
}
# Rules that have no script of their name: those of the kinds of scorers, whose one script is told the kind.
SCORE_RULES = {kind.rule: kind.name for kind in SCORER_KINDS}
RULES = sorted({path.stem for path in SCRIPTS.glob("*.py")} - {"score_windows"} | SCORE_RULES.keys())


def script_of(rule: str) -> str:
    """Name of the script that a rule runs, with which its errors begin."""
    return "score_windows" if rule in SCORE_RULES else rule


# Files of plug-ins that rules use under the tiny settings, with the names of NAMES.
_METHODS = [SELECTION_METHODS.source_file(name) for name in SELECTION_METHODS.names()]
_TASKS = [EVALUATION_TASKS.source_file(name) for name in EVALUATION_TASKS.names()]
_PLUG_INS = {
    **{rule: [SCORER_KINDS.source_file(kind)] for rule, kind in SCORE_RULES.items()},
    "select_windows": [SELECTION_METHODS.source_file("longattn")],
    "evaluate": [EVALUATION_TASKS.source_file("position_nll")],
    "prepare_task": [EVALUATION_TASKS.source_file("longppl")],
    "compare_models": _TASKS,
    "summarize_results": _TASKS,
    "draw_figures": [*_METHODS, *_TASKS],
    "aggregate_shard": [LOSS_VARIANTS.source_file("dense")],
    "aggregate_selection": [SELECTION_METHODS.source_file("longattn")],
    "build_report": [*page_files(), *_TASKS, *map(LOSS_VARIANTS.source_file, LOSS_VARIANTS.names())],
}


def code_of(rule: str, *plug_ins: Path) -> str:
    """Digest of a rule's code: its script, the plug-ins that it uses, and what these import."""
    return code_digest(SCRIPTS / f"{script_of(rule)}.py", *_PLUG_INS.get(rule, ()), *plug_ins)


@dataclass(frozen=True)
class Result:
    """How a script ended, and what it said."""

    code: int
    stdout: str
    stderr: str


class Chain:
    """Runs scripts in the current folder, as the rules would under some settings."""

    def __init__(self, config: dict | None = None):
        self._settings = copy.deepcopy(config or TINY)
        self._config = as_config(self._settings)

    def path(self, template: str, **names: str) -> Path:
        """A path of PATHS for these names, the tiny run's where none are given."""
        return Path(PATHS[template].format(**{**NAMES, **names}))

    def arguments(self, rule: str, **names: str) -> list[str]:
        """Arguments of a rule's script for these names, by the rule's command."""
        return self._command(rule, **names)[1:]

    def _command(self, rule: str, **names: str) -> list[str]:
        wildcards = {**NAMES, "ending": self._ending(names.get("export", NAMES["export"])), **names}
        if rule == "score_attention" and "scorer" not in names:
            wildcards["scorer"] = "tiny-layer0"
        return list(rule_command(rule, frozenset(wildcards.items()), self._config))

    def options(self, script: str, **names: str) -> dict[str, list[str]]:
        """Values of each of these arguments, by its option."""
        found: dict[str, list[str]] = {}
        for argument in self.arguments(script, **names):
            if argument.startswith("--"):
                values = found[argument] = []
            else:
                values.append(argument)
        return found

    def _ending(self, export: str) -> str:
        export_format = self._settings.get("exports", {}).get(export, {}).get("format", "parquet")
        return "parquet" if export_format == "tokens" else export_format

    def run(self, rule: str, *more: str, **names: str) -> Result:
        """Run a rule's script in this process, as its command line would."""
        script, *arguments = self._command(rule, **names)
        return run_main(script, [*arguments, *more])

    def make(self, script: str, *more: str, **names: str) -> str:
        """Run a script that must succeed; what it printed."""
        result = self.run(script, *more, **names)
        assert result.code == 0, result.stderr
        return result.stdout

    def make_all(self) -> None:
        """Run every script of the chain, in order."""
        self.make_windows()
        for shard in ("00000", "00001"):
            self.make("score_attention", shard=shard)
        self.make("select_windows")
        self.make("list_kept_windows")
        self.make("select_windows", selection="drawn")
        for shard in ("00000", "00001"):
            self.make("score_short", shard=shard)
        self.make("collect_weights")
        self.make("record_frozen_weights")
        for shard in ("00000", "00001"):
            self.make("export_windows", shard=shard)
        self.make("write_data_card")
        self.make("train")
        self.make("evaluate", trained="base")
        self.make("evaluate")
        self.make("compare_models")
        self.make("summarize_results")
        self.make("draw_figures")
        self.make("record_settings")
        self.make_page()

    def make_page(self) -> None:
        """Run the scripts of the page, over what the chain made."""
        for shard in ("00000", "00001", "held_out"):
            self.make("aggregate_shard", shard=shard)
        for selection in ("half", "drawn"):
            self.make("aggregate_selection", selection=selection)
        # Snakemake's own measures of its jobs, of which there are none here.
        Path("results/benchmarks").mkdir(exist_ok=True)
        self.make("tabulate_costs")
        self.make("build_report")

    def make_windows(self) -> None:
        """Run the chain up to its windows."""
        self.make("download_model")
        self.make("plan_shards")
        for shard in ("00000", "00001", "held_out"):
            for script in ("read_documents", "tokenize_documents", "assign_windows"):
                self.make(script, shard=shard)


def run_main(script: str, arguments: list[str]) -> Result:
    """Run a script's main with its error handling, in this process."""
    specification = importlib.util.spec_from_file_location(f"script_{script}", SCRIPTS / f"{script}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", [f"{script}.py", *arguments])
        patch.delenv("LONGSPAN_TRACEBACK", raising=False)
        try:
            run_script(module.main)
        except SystemExit as stop:
            code = stop.code
    return Result(code, stdout.getvalue(), stderr.getvalue())
