"""Faults between blocks."""

import copy

import pytest

from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from refusals import refused
from tiny_settings import GAIN, SHA256, tiny

SOURCE = "corpora/short/sources/0"
FILES = "corpora.short.sources.0"
PYPI_KEYS = ("requirement", "archive", "sha256", "files")
OVER, FOR_HALF = "scorers.tiny-32 (over windowing 'short-128')", "scorers.tiny-layer0 (for selection 'half')"
ARCHIVE = {
    "kind": "pypi",
    "requirement": "t==1",
    "archive": "t-1.tar.gz",
    "sha256": SHA256,
    "files": ["*.txt"],
    "category": "c",
    "license": "l",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # sources
        ({f"{SOURCE}/dataset": "o/d"}, f"{FILES}.dataset: not a key of kind files"),
        ({f"{SOURCE}/paths": ...}, f"{FILES}: kind files needs 'paths'"),
        (
            {f"{SOURCE}/kind": "pypi"},
            [
                *(
                    f"{FILES}: kind pypi needs '{key}'"
                    for key in ("requirement", "archive", "sha256", "files")
                ),
                f"{FILES}.paths: not a key of kind pypi",
            ],
        ),
        ({f"{SOURCE}/kind": "hub", f"{SOURCE}/paths": ...}, f"{FILES}: kind hub needs 'dataset'"),
        ({f"{SOURCE}/encoding": "latin-99"}, f"{FILES}.encoding: Python knows no encoding 'latin-99'"),
        (
            {f"{SOURCE}/format": "txt", f"{SOURCE}/group_by": "book"},
            f"{FILES}.group_by: not a key of format txt",
        ),
        (
            {"corpora/other": {"shards": 1, "sources": [ARCHIVE, ARCHIVE | {"sha256": "1" * 64}]}},
            "corpora.other.sources.1: archive 't-1.tar.gz' is pinned in two ways; "
            "give it one requirement and one sha256",
        ),
        # names that are used and not defined
        (
            {"windowings/short-128/corpus": "shrt"},
            "windowings.short-128.corpus: there is no 'shrt' under corpora; did you mean 'short'?",
        ),
        (
            {"windowings/short-128/tokenizer": "gpt"},
            "windowings.short-128.tokenizer: there is no 'gpt' under models; valid are: tiny",
        ),
        (
            {"scorers/tiny-32/model": "tine"},
            "scorers.tiny-32.model: there is no 'tine' under models; did you mean 'tiny'?",
        ),
        (
            {"selections/half/windowing": "short"},
            [
                "selections.half.windowing: there is no 'short' under windowings; did you mean 'short-128'?",
                "runs.main.selection: 'half' selects from windowing 'short', the run's is 'short-128'",
            ],
        ),
        (
            {"selections/half/scorer": "layer"},
            "selections.half.scorer: there is no 'layer' under scorers; did you mean 'tiny-layer0'?",
        ),
        (
            {"selections/half/scorer": "tiny-32"},
            "selections.half.scorer: 'tiny-32' is a scorer of kind short_nll, needed is attention",
        ),
        (
            {"selections/half": GAIN | {"scorer": "tiny-layer0"}},
            "selections.half.scorer: 'tiny-layer0' is a scorer of kind attention, needed is short_nll",
        ),
        (
            {"selections/half": GAIN | {"scorer": "tine-32"}},
            "selections.half.scorer: there is no 'tine-32' under scorers; did you mean 'tiny-32'?",
        ),
        (
            {"losses/dense/scorer": "tiny-layer0"},
            "losses.dense.scorer: 'tiny-layer0' is a scorer of kind attention, needed is short_nll",
        ),
        ({"runs/main/model": "x"}, "runs.main.model: there is no 'x' under models; valid are: tiny"),
        (
            {"runs/main/windowing": "x"},
            "runs.main.windowing: there is no 'x' under windowings; valid are: short-128",
        ),
        (
            {"runs/main/selection": "x"},
            "runs.main.selection: there is no 'x' under selections; valid are: half, drawn",
        ),
        (
            {"runs/main/loss": ["dense", "dens"]},
            "runs.main.loss: there is no 'dens' under losses; did you mean 'dense'?",
        ),
        # windowings
        (
            {"windowings/short-128/max_overlap_tokens": 3},
            "windowings.short-128.max_overlap_tokens: not a key of policy stride",
        ),
        (
            {"windowings/short-128/max_overlap_tokens": 0},
            "windowings.short-128.max_overlap_tokens: not a key of policy stride",
        ),
        (
            {"windowings/short-128/policy": "both_ends", "windowings/short-128/stride_tokens": 3},
            "windowings.short-128.stride_tokens: not a key of policy both_ends",
        ),
        (
            {"windowings/short-128/policy": "both_ends", "windowings/short-128/discard_first": True},
            "windowings.short-128.discard_first: not a key of policy both_ends",
        ),
        # losses
        (
            {"losses/dense": {"variant": "sparse", "interpolation": 0.5, "scorer": "tiny-32"}},
            [
                "losses.dense: variant sparse needs 'sparsification'",
                "losses.dense.interpolation: not a key of variant sparse",
            ],
        ),
        (
            {"losses/dense": {"variant": "plain", "scorer": "tiny-32"}},
            "losses.dense.scorer: plain cross-entropy uses no scores; remove it",
        ),
        (
            {"losses/dense": {"variant": "plain", "self_scoring": {"base_length": 32, "base_stride": 24}}},
            "losses.dense.self_scoring: plain cross-entropy uses no scores; remove it",
        ),
        (
            {"losses/dense": {"variant": "plain", "shuffle_weights": True}},
            "losses.dense.shuffle_weights: all weights of plain cross-entropy are 1; remove it",
        ),
        (
            {"losses/dense": {"interpolation": 1, "shuffle_weights": True}},
            "losses.dense.shuffle_weights: all weights of plain cross-entropy are 1; remove it",
        ),
        (
            {"losses/dense": {"variant": "dense"}},
            "losses.dense: a weighted loss needs either 'scorer' (frozen, of kind short_nll) "
            "or 'self_scoring'",
        ),
        (
            {"losses/dense/self_scoring": {"base_length": 32, "base_stride": 24}},
            "losses.dense: a weighted loss needs either 'scorer' (frozen, of kind short_nll) "
            "or 'self_scoring'",
        ),
        # runs
        (
            {
                "windowings/other": {"corpus": "short", "tokenizer": "tiny", "window_tokens": 128},
                "runs/main/windowing": "other",
            },
            "runs.main.selection: 'half' selects from windowing 'short-128', the run's is 'other'",
        ),
        (
            {"selections/half/keep": {"per_category": {"pros": {"ratio": 0.5}}}},
            "selections.half.keep.per_category: no category 'pros' in corpus 'short'; did you mean 'prose'?",
        ),
        (
            {"selections/idle": GAIN | {"keep": {"per_category": {"pros": {"ratio": 0.5}}}}},
            "selections.idle.keep.per_category: no category 'pros' in corpus 'short'; did you mean 'prose'?",
        ),
        (
            {"selections/half": GAIN, "scorers/tiny-32/store_long": False},
            "selections.half.scorer: 'tiny-32' stores no long NLL, which nll_gain needs; set its store_long",
        ),
        (
            {"selections/half": GAIN, "runs/main/select_first": True},
            "runs.main.select_first: 'half' chooses by the NLL of 'tiny-32', so all windows need it first; "
            "remove select_first",
        ),
        (
            {"runs/main/selection": None, "runs/main/select_first": True},
            "runs.main.select_first: needs a selection",
        ),
        (
            {f"{SOURCE}/hold_out": []},
            "runs.main: corpus 'short' holds no work out for evaluation; "
            "name titles under hold_out of a source",
        ),
        (
            {f"{SOURCE}/hold_out": False},
            "runs.main: corpus 'short' holds no work out for evaluation; "
            "name titles under hold_out of a source",
        ),
        (
            {"models/tiny/max_position_embeddings": 100},
            [
                f"{where}: 128 tokens are more than the 100 positions of model 'tiny'; "
                "shorten them, or set rope_theta"
                for where in ("runs.main", OVER, FOR_HALF)
            ],
        ),
        # exports
        (
            {"runs": ..., "exports": {}, "report": ...},
            "settings: nothing to make; name something under runs or exports",
        ),
        ({"exports/kept/selection": ...}, "exports.kept: needs either 'selection' or 'windowing'"),
        ({"exports/kept/windowing": "short-128"}, "exports.kept: needs either 'selection' or 'windowing'"),
        (
            {"exports/kept/selection": "hal"},
            "exports.kept.selection: there is no 'hal' under selections; did you mean 'half'?",
        ),
        (
            {"exports/all": {"windowing": "short"}},
            "exports.all.windowing: there is no 'short' under windowings; did you mean 'short-128'?",
        ),
        (
            {"exports/kept/loss": "dens"},
            "exports.kept.loss: there is no 'dens' under losses; did you mean 'dense'?",
        ),
        *(
            (
                {"exports/kept/loss": "dense"} | change,
                "exports.kept.loss: 'dense' needs a frozen 'scorer' with store_long: true; "
                "the weights that are written compare its short and long NLL",
            )
            for change in (
                {"scorers/tiny-32/store_long": False},
                {"losses/dense": {"variant": "plain"}},
                {
                    "losses/dense": {
                        "variant": "dense",
                        "self_scoring": {"base_length": 32, "base_stride": 24},
                    }
                },
            )
        ),
        (
            {
                "exports/all": {"windowing": "wide", "loss": "dense"},
                "windowings/wide": {"corpus": "short", "tokenizer": "tiny", "window_tokens": 256},
            },
            "scorers.tiny-32 (over windowing 'wide'): base_stride 24 does not divide sequence_tokens - "
            "base_length = 256 - 32 = 224, so the last token would not be scored; nearest valid: 16 and 28",
        ),
        # report
        (
            {"report/compare_selections": ["drown"]},
            "report.compare_selections: there is no 'drown' under selections; did you mean 'drawn'?",
        ),
        (
            {
                "windowings/other": {"corpus": "short", "tokenizer": "tiny", "window_tokens": 64},
                "selections/drawn/windowing": "other",
            },
            "report.compare_selections: 'drawn' selects from windowing 'other', which no run or export uses",
        ),
        # stores
        (
            {"scorers/tiny-32/base_stride": 25},
            "scorers.tiny-32 (over windowing 'short-128'): base_stride 25 does not divide sequence_tokens - "
            "base_length = 128 - 32 = 96, so the last token would not be scored; nearest valid: 24",
        ),
        (
            {"scorers/tiny-32/base_length": 256},
            "scorers.tiny-32 (over windowing 'short-128'): base_length 256 must lie in 2 ... 128, "
            "the tokens of a sequence",
        ),
        (
            {
                "losses/dense": {
                    "variant": "dense",
                    "self_scoring": {"base_length": 32, "base_stride": 40},
                }
            },
            "losses.dense.self_scoring (over windowing 'short-128'): base_stride 40 must lie in "
            "1 ... base_length - 1 = 31",
        ),
        (
            {"models/tiny/max_position_embeddings": 100, "runs/main/train/rope_theta": 1e6},
            [
                f"{where}: 128 tokens are more than the 100 positions of model 'tiny'; "
                "shorten them, or set rope_theta"
                for where in (OVER, FOR_HALF)
            ],
        ),
        (
            {
                "models/tiny/max_position_embeddings": 20,
                "runs/main/train/rope_theta": 1e6,
                "scorers/tiny-32/store_long": False,
            },
            [
                f"{where}: {tokens} tokens are more than the 20 positions of model 'tiny'; "
                "shorten them, or set rope_theta"
                for where, tokens in ((OVER, 32), (FOR_HALF, 128))
            ],
        ),
        (
            {
                "models/tiny/max_position_embeddings": 100,
                "runs/main/train/rope_theta": 1e6,
                "scorers/tiny-32/rope_theta": 1e6,
            },
            "scorers.tiny-layer0 (for selection 'half'): 128 tokens are more than the 100 positions "
            "of model 'tiny'; shorten them, or set rope_theta",
        ),
        (
            {
                "selections/half": GAIN | {"scorer": "wide"},
                "scorers/wide": {
                    "kind": "short_nll",
                    "model": "tiny",
                    "base_length": 32,
                    "base_stride": 25,
                    "store_long": True,
                },
            },
            "scorers.wide (for selection 'half'): base_stride 25 does not divide sequence_tokens - "
            "base_length = 128 - 32 = 96, so the last token would not be scored; nearest valid: 24",
        ),
    ],
)
def test_faults_between_keys(changes, message):
    faults = [message] if isinstance(message, str) else message
    with refused("\n".join(faults), SettingsError):
        load_settings(tiny(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"context_parallel_size": 2},
            "runs.main.train.context_parallel_size: sequences split over devices are not supported, since "
            "tokens' weights would not be split with them; set it to 1, and use sharding: full for memory",
        ),
        (
            {"sharding": "full"},
            "runs.main.train.sharding: full needs several devices; set devices, or sharding: none",
        ),
        ({"cpu_offload": True}, "runs.main.train.cpu_offload: needs sharding: full"),
        (
            {"keep_attention": True, "compile_layers": True},
            "runs.main.train.keep_attention: needs gradient_checkpointing and compile_layers",
        ),
        ({"mlp_tokens": 64}, "runs.main.train.mlp_tokens: needs compile_layers"),
    ],
)
def test_executions_that_cannot_be_are_refused(changes, message):
    settings = tiny()
    settings["runs"]["main"]["train"] |= changes
    with pytest.raises(SettingsError) as caught:
        load_settings(settings)
    assert str(caught.value) == message


MIXED = {"corpus": "short", "token_share": 0.5, "document_tokens": 64}


@pytest.mark.parametrize(
    ("sources", "changes", "message"),
    [
        (
            [MIXED | {"corpus": "shart"}],
            {},
            "mixtures.m.short.0.corpus: there is no 'shart' under corpora; did you mean 'short'?",
        ),
        (
            [MIXED, MIXED],
            {},
            "mixtures.m: its shares leave no token to the long windows\n"
            "mixtures.m: names a corpus twice; give it one share",
        ),
        (
            [MIXED | {"token_share": 0.1}] * 2,
            {},
            "mixtures.m: names a corpus twice; give it one share",
        ),
        (
            [MIXED | {"document_tokens": 129}],
            {},
            "mixtures.m: documents of 129 tokens are longer than the 128 of a window; lower document_tokens",
        ),
        (
            [MIXED],
            {"models/tiny/attention": "eager"},
            "runs.main.mixture: packed documents need attention: sdpa of model 'tiny'",
        ),
    ],
)
def test_mixtures_that_cannot_be_are_refused(sources, changes, message):
    changes = {"mixtures/m": {"short": sources}, "runs/main/mixture": "m", **changes}
    with pytest.raises(SettingsError) as caught:
        load_settings(tiny(**changes))
    assert str(caught.value) == message


EVALUATOR = "evaluations.key.evaluator (of run 'main')"
KEY = {
    "evaluations/key": {"task": "longppl", "evaluator": "other", "short_context": 64},
    "runs/main/evaluations": ["key"],
    "models/other": tiny()["models"]["tiny"] | {"source": {"kind": "folder", "path": "elsewhere"}},
}
OWN = {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}}
SECOND = tiny()["models"]["tiny"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluations/key/evaluator": "tiny"},
            f"{EVALUATOR}: 'tiny' is the model that loss 'dense' scores by, so it would judge what it chose; "
            "take another model",
        ),
        # The same model under another name is the same model.
        (
            {"models/twin": SECOND, "evaluations/key/evaluator": "twin"},
            f"{EVALUATOR}: 'twin' is the model that loss 'dense' scores by, so it would judge what it chose; "
            "take another model",
        ),
        (
            {"evaluations/key/evaluator": "tiny", "losses/dense": OWN},
            f"{EVALUATOR}: 'tiny' is the model that loss 'dense' trains and scores by, so it would judge "
            "what it chose; take another model",
        ),
        (
            {"models/other/max_position_embeddings": 100},
            f"{EVALUATOR}: 128 tokens are more than the 100 positions of model 'other'; shorten them, or set "
            "rope_theta",
        ),
        (
            {"evaluations/key/short_context": 4096},
            "evaluations.key (of run 'main'): windows of 128 tokens have no token with more than 4096 before "
            "it; lower short_context",
        ),
        (
            {"evaluations/key/evaluator": "othr"},
            "evaluations.key.evaluator: there is no 'othr' under models; did you mean 'other'?",
        ),
    ],
)
def test_an_evaluator_is_a_model_of_its_own(changes, message):
    load_settings(tiny(**copy.deepcopy(KEY)))
    with pytest.raises(SettingsError) as error:
        load_settings(tiny(**copy.deepcopy(KEY | changes)))
    assert error.value.faults == (message,)
