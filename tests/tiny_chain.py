"""The scripts with the arguments that the rules give them, over the settings of configs/tiny.yaml."""

import copy
import importlib.util
import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from longspan.process.command_line import run_script
from longspan.store.code import SCRIPTS
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.exports import Exports
from longspan_workflow.wiring.layout import Layout, as_json
from longspan_workflow.wiring.reports import Reports
from longspan_workflow.wiring.runs import Runs
from longspan_workflow.wiring.training_cards import training_card

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
    "export": "kept",
    "ending": "jsonl.zst",
}


@dataclass(frozen=True)
class Result:
    """How a script ended, and what it said, without the line of its time and memory."""

    code: int
    stdout: str
    stderr: str


class Chain:
    """Runs scripts in the current folder, as the rules would under some settings."""

    def __init__(self, config: dict | None = None):
        self.layout = Layout(load_settings(copy.deepcopy(config or TINY)))
        self.runs = Runs(self.layout)
        self.reports = Reports(self.layout, self.runs)
        self.exports = Exports(self.layout)

    def path(self, template: str, **names: str) -> Path:
        """A path of the layout for these names, the tiny run's where none are given."""
        homes = (self.layout, self.runs, self.reports, self.exports)
        home = next(home for home in homes if hasattr(home, template))
        return Path(getattr(home, template).format(**{**NAMES, **names}))

    def arguments(self, script: str, **names: str) -> list[str]:
        """The script's arguments for these names."""
        wildcards = SimpleNamespace(**{**NAMES, **names})
        if script == "score_attention" and "scorer" not in names:
            wildcards.scorer = "tiny-layer0"
        return [str(argument) for argument in _ARGUMENTS[script](self, wildcards)]

    def run(self, script: str, *more: str, **names: str) -> Result:
        """Run a script in this process, as its command line would."""
        return run_main(script, [*self.arguments(script, **names), *more])

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
        self.make("summarize_results")
        self.make("draw_figures")
        self.make("record_settings")

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
    return Result(code, without_time(script, stdout.getvalue()), stderr.getvalue())


def without_time(script: str, stdout: str) -> str:
    """What a script said, without the line of its time and memory."""
    return re.sub(rf"{script}: [\d.]+ s, at most [\d,]+ MB of memory\n$", "", stdout)


def _parent(template: str, names: SimpleNamespace) -> Path:
    return Path(template.format(**vars(names))).parent


def _options(paths: dict[str, str]) -> list[str]:
    return [part for name, path in paths.items() for part in (f"--{name}", path)]


def _scoring(chain: Chain, names: SimpleNamespace) -> list:
    inputs = chain.layout.scoring_inputs(names)
    return [
        *("--settings", as_json(chain.layout.scorer_settings(names)), "--model", inputs["model"]),
        *("--tokens", inputs["tokens"], "--windows", chain.layout.windows.format(**vars(names))),
        *("--documents", *inputs["documents"]),
        *("--scores", chain.layout.scores.format(**vars(names)), "--threads", 1),
    ]


def _kept(chain: Chain, names: SimpleNamespace) -> list:
    return ["--kept", *chain.layout.windows_to_score(names)]


def _guard(chain: Chain, names: SimpleNamespace) -> list:
    held_out = chain.runs.held_out(names)
    if not held_out["held_out_tokens"]:
        return []
    return [
        *("--guard", as_json(chain.runs.guard(names))),
        *("--held-out-tokens", *held_out["held_out_tokens"]),
        *("--held-out-windows", *held_out["held_out_windows"]),
    ]


def _train(chain: Chain, names: SimpleNamespace) -> list:
    windowing = chain.runs.windowing(names)
    index = chain.runs.scores(names)["index"]
    kept = chain.runs.kept(names)
    return [
        *("--settings", as_json(chain.runs.settings(names))),
        *("--execution", as_json(chain.runs.execution(names)), "--model", chain.runs.model(names)),
        *("--tokens", Path(chain.layout.all_tokens(windowing)[0]).parent),
        *("--windows", Path(chain.layout.all_windows(windowing)[0]).parent),
        *("--shards", chain.layout.shard_count(windowing)),
        *(["--kept", *kept] if kept else []),
        *(["--index", *index] if index else []),
        *_guard(chain, names),
        *chain.runs.short_arguments(names),
        *("--card", as_json(training_card(chain.layout.settings, names))),
        *("--run-folder", chain.runs.run.format(**vars(names)), "--threads", 1),
    ]


def _export_windows(chain: Chain, names: SimpleNamespace) -> list:
    exports = chain.exports
    names.ending = exports.ending(names)
    inputs = exports.inputs(names)
    tables = {name: inputs[name] for name in ("documents", "tokens", "windows")}
    return [
        *("--settings", as_json(exports.export_settings(names)), "--shard", names.shard),
        *_options(tables),
        *("--kept", *inputs["kept"], "--index", *inputs["index"]),
        *("--export", exports.data.format(**vars(names))),
        *("--manifest", exports.manifest.format(**vars(names))),
    ]


def _publish_export(chain: Chain, names: SimpleNamespace) -> list:
    exports = chain.exports
    return [
        *("--settings", as_json(exports.publication_settings(names))),
        *("--folder", exports.folder.format(**vars(names)), "--shards", exports.shard_count(names)),
        *("--ending", exports.ending(names), "--record", exports.publication.format(**vars(names))),
    ]


def _write_data_card(chain: Chain, names: SimpleNamespace) -> list:
    exports = chain.exports
    return [
        *("--settings", as_json(exports.card_settings(names))),
        *("--manifests", _parent(exports.manifest, names), "--shards", exports.shard_count(names)),
        *("--ending", exports.ending(names), "--card", exports.card.format(**vars(names))),
    ]


# As in workflow/rules: a rule's command line for its wildcards.
_ARGUMENTS: dict[str, Callable[[Chain, SimpleNamespace], list]] = {
    "download_model": lambda chain, names: [
        *(
            "--settings",
            as_json(chain.layout.model_settings(names)),
            "--archives",
            chain.layout.model_archives,
        ),
        *("--manifest", chain.layout.model.format(**vars(names))),
    ],
    "plan_shards": lambda chain, names: [
        *("--settings", as_json(chain.layout.plan_settings(names.corpus))),
        *("--plan-folder", _parent(chain.layout.plan, names)),
        *("--index", chain.layout.plan_index.format(**vars(names))),
    ],
    "read_documents": lambda chain, names: [
        *(
            "--settings",
            as_json(chain.layout.reading_settings(names)),
            "--plan",
            chain.layout.plan.format(**vars(names)),
        ),
        *("--documents", chain.layout.documents.format(**vars(names))),
        *("--dropped", chain.layout.dropped.format(**vars(names))),
        *("--references", *chain.layout.reading_references(names)),
    ],
    "index_references": lambda chain, names: [
        *("--settings", as_json(chain.layout.reference_settings(names))),
        *("--documents", chain.layout.documents.format(**{**vars(names), "shard": "held_out"})),
        *("--ngrams", chain.layout.reference_ngrams.format(**vars(names))),
    ],
    "tokenize_documents": lambda chain, names: [
        *("--documents", chain.layout.documents.format(**vars(names))),
        *(
            "--model",
            chain.layout.model_of(names.tokenizer),
            "--tokens",
            chain.layout.tokens.format(**vars(names)),
        ),
    ],
    "assign_windows": lambda chain, names: [
        *("--settings", as_json(chain.layout.windowing_settings(names))),
        *_options(chain.layout.windowing_inputs(names)),
        *("--id-prefix", chain.layout.id_prefix(names)),
        *("--windows", chain.layout.windows.format(**vars(names))),
    ],
    "score_short": lambda chain, names: [*_scoring(chain, names), *_kept(chain, names)],
    "score_attention": _scoring,
    "collect_weights": lambda chain, names: [
        *("--windows", _parent(chain.layout.windows, names), "--scores", _parent(chain.layout.scores, names)),
        *("--shards", chain.layout.shard_count(names.windowing), *_kept(chain, names)),
        *("--index", chain.layout.score_index.format(**vars(names))),
    ],
    "record_frozen_weights": lambda chain, names: [
        *("--indexes", *chain.layout.score_indexes(), "--done", chain.layout.frozen_weights)
    ],
    "select_windows": lambda chain, names: [
        *("--settings", as_json(chain.layout.selection_settings(names))),
        *("--windows", Path(chain.layout.selection_windows(names)[0]).parent),
        *(
            argument
            for name, paths in chain.layout.selection_sources(names).items()
            for argument in (f"--{name}", Path(paths[0]).parent)
        ),
        *("--shards", chain.layout.shard_count(chain.layout.selection_windowing(names))),
        *("--selection", chain.layout.selection.format(**vars(names))),
    ],
    "export_windows": _export_windows,
    "write_data_card": _write_data_card,
    "publish_export": _publish_export,
    "list_kept_windows": lambda chain, names: [
        *("--selection", chain.layout.selection.format(**vars(names))),
        *("--kept", chain.layout.kept.format(**vars(names))),
    ],
    "train": _train,
    "evaluate": lambda chain, names: [
        *(
            "--settings",
            as_json(chain.runs.evaluation_settings(names)),
            "--model",
            chain.runs.evaluated_model(names),
        ),
        *("--tokens", chain.layout.tokens_of(chain.runs.windowing(names), "held_out")),
        *("--windows", chain.layout.windows.format(windowing=chain.runs.windowing(names), shard="held_out")),
        *("--evaluation", chain.runs.evaluation.format(**vars(names)), "--threads", 1),
    ],
    "summarize_results": lambda chain, names: [
        *("--settings", as_json(chain.reports.summary_settings())),
        *("--text", chain.reports.summary, "--table", chain.reports.summary_table),
        *("--funnel", chain.reports.funnel),
    ],
    "draw_figures": lambda chain, names: [
        *(
            "--settings",
            as_json(chain.reports.figure_settings()),
            "--folder",
            _parent(chain.reports.figures, SimpleNamespace(figure="f")),
        )
    ],
    "record_settings": lambda chain, names: [
        *("--settings", as_json(chain.layout.settings), "--record", chain.reports.settings_record)
    ],
}
