import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from llama3_8b import CONFIG as LLAMA3_8B
from llama3_8b import SHAPE as SHAPE_8B
from longspan_workflow.requests.job_needs import JobNeeds
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring
from refusals import refused

NAMES = SimpleNamespace(
    corpus="pg19",
    tokenizer="llama3-8b",
    windowing="pg19-32k",
    scorer="llama3-8b-8k",
    selection="longattn-eighth",
    export="kept",
    run="llama3-8b-32k",
    loss="dense-75",
    shard="00000",
    evaluation="position_nll",
)
RULES = (
    "plan_shards",
    "read_documents",
    "tokenize_documents",
    "assign_windows",
    "aggregate_shard",
    "score_attention",
    "select_windows",
    "score_short",
    "collect_weights",
    "export_windows",
    "train",
    "evaluate",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wiring_of(change=None) -> Wiring:
    config = copy.deepcopy(LLAMA3_8B)
    if change:
        change(config)
    return Wiring(load_settings(config))


def needs_of(change=None, wiring=None) -> JobNeeds:
    return JobNeeds(wiring or wiring_of(change), dict.fromkeys(LLAMA3_8B["models"], SHAPE_8B))


MODEL, WINDOWING, SCORER, SELECTION = "llama3-8b", "pg19-32k", "llama3-8b-8k", "longattn-eighth"


def names(**changed):
    return SimpleNamespace(**vars(NAMES) | changed)


def put(path, size):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(int(size))


def requests(needs, rule, attempt=1, **changed):
    cards = names(**changed)
    return needs.memory_mb(rule)(cards, attempt), needs.minutes(rule)(cards, attempt)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_requests_before_anything_ran_and_more_on_each_attempt(rule):
    memory, minutes = requests(JobNeeds(wiring_of()), rule)
    assert memory >= 2000
    assert minutes >= 60
    assert requests(JobNeeds(wiring_of()), rule, attempt=2) == (2 * memory, 2 * minutes)


def test_an_8b_is_given_memory_for_its_weights():
    needs = needs_of()
    for rule in ("score_short", "evaluate"):
        memory, _ = requests(needs, rule)
        assert 16_060 < memory < 40_000
    memory, minutes = requests(needs, "train")
    assert 2 * 32_120 < memory < 200_000
    assert 5 * 60 < minutes < 24 * 60
    memory, _ = requests(needs, "score_attention", scorer="llama31-8b-layer0")
    assert 4_000 < memory < 8_000


def test_time_follows_the_tokens_of_the_shard():
    wiring, needs = wiring_of(), needs_of()
    tokens = wiring.windows.tokens_of(wiring.settings.windowings[WINDOWING], "00000")
    before = requests(needs, "score_short")
    put(tokens, 32e6 * 1.75)
    memory, minutes = requests(needs, "score_short")
    # A shard of 977 windows of which an eighth is scored, 1.1 seconds each.
    assert (memory, minutes) == (before[0], 60 + 13)
    put(tokens, 320e6 * 1.75)
    assert requests(needs, "score_short")[1] == pytest.approx(60 + 3 * 1220 * 1.128 / 60, rel=0.1)


def test_a_slower_device_is_given_more_time():
    slower = needs_of(lambda config: config.update(device={"tflops": 312}))
    assert requests(slower, "train")[1] - 60 == pytest.approx(
        (requests(needs_of(), "train")[1] - 60) * 798 / 312, rel=0.01
    )


def test_shapes_are_read_of_the_folder_that_was_made_and_anew_when_it_changes(folder):
    wiring = wiring_of()
    needs, model = JobNeeds(wiring), wiring.settings.models[MODEL]
    assert needs.shape(model) is None
    path = folder / "results/models/llama3-8b/config.json"
    path.parent.mkdir(parents=True)
    for layers in (32, 2):
        path.write_text(json.dumps(SHAPE_8B | {"num_hidden_layers": layers}))
        assert needs.shape(model).num_hidden_layers == layers
    path.write_text("{}")
    assert needs.shape(model) is None
    assert requests(needs, "score_short")[0] == 6000


def test_shapes_are_read_of_a_local_folder_before_anything_ran(folder):
    def local(config):
        config["models"]["llama3-8b"]["source"] = {"kind": "folder", "path": "mine"}

    (folder / "mine").mkdir()
    (folder / "mine/config.json").write_text(json.dumps(SHAPE_8B))
    wiring = wiring_of(local)
    assert JobNeeds(wiring).shape(wiring.settings.models[MODEL]).num_hidden_layers == 32


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ({"ratio": 0.125}, 125),
        ({"windows": 30}, 30),
        ({"windows": 3000}, 1000),
        ({"tokens": 10 * 32768}, 10),
        ({"per_category": {"book": {"ratio": 0.5}}}, 500),
    ],
)
def test_what_a_selection_keeps(keep, kept):
    wiring = wiring_of(lambda config: config["selections"][SELECTION].update(keep=keep))
    needs, settings = needs_of(wiring=wiring), wiring.settings
    assert needs.kept(settings.selections[SELECTION], 1000 * 32768) == kept
    stored = needs.scored(settings.windowings[WINDOWING], settings.scorers[SCORER], 1000 * 32768)
    assert stored == kept


def test_windows_of_a_sample_are_known_before_the_tokens():
    def sampled(config):
        config["windowings"]["pg19-32k"]["sampling"] = {"windows_per_category": 4}

    def windows(change, tokens):
        wiring = wiring_of(change)
        return needs_of(wiring=wiring).windows(wiring.settings.windowings[WINDOWING], tokens)

    assert windows(sampled, None) == 4 * 64
    assert windows(sampled, 100 * 32768) == 100
    assert windows(None, None) is None

    def share(config):
        config["windowings"]["pg19-32k"] |= {"sampling": {"fraction": 0.1}, "stride_tokens": 16384}

    assert windows(share, 100 * 32768) == pytest.approx(20)


def test_what_no_device_holds_is_refused():
    def of(memory_gb, **train):
        def change(config):
            config["device"] = {"memory_gb": memory_gb}
            config["runs"]["llama3-8b-32k"]["train"] |= train

        return needs_of(change)

    requests(of(80), "train")
    with refused(
        "runs.llama3-8b-32k.train: needs about 77.0 GB of each device, and device.memory_gb is 40; less "
        "is needed with keep_attention: false, mlp_tokens, cpu_offload: true, more devices, shorter windows",
        SettingsError,
    ):
        requests(of(40), "train")
    with pytest.raises(SettingsError, match="less is needed with gradient_checkpointing: true, mlp_tokens"):
        requests(of(80, gradient_checkpointing=False, keep_attention=False), "train")
    with refused(
        "scorers.llama3-8b-8k (over windowing 'pg19-32k'): needs about 19.8 GB of each device, and "
        "device.memory_gb is 16; lower windows_per_batch, or take dtype bfloat16 or a smaller model",
        SettingsError,
    ):
        requests(of(16), "score_short")
    with pytest.raises(SettingsError, match=r"its evaluation.*device.memory_gb is 16"):
        requests(of(16), "evaluate")
    requests(of(16), "score_attention", scorer="llama31-8b-layer0")


def key_tokens(config):
    """The run is measured by key tokens of another 8B."""
    other = {"source": {"kind": "folder", "path": "elsewhere"}, "rope_theta": 15e6}
    config["models"]["other"] = config["models"][MODEL] | other
    config["evaluations"] = {"key": {"task": "longppl", "evaluator": "other"}}
    config["runs"][NAMES.run]["evaluations"] = ["key"]


def test_an_evaluator_reads_each_window_once_and_its_short_windows():
    wiring = wiring_of(key_tokens)
    needs = JobNeeds(wiring, dict.fromkeys(wiring.settings.models, SHAPE_8B))
    run, key = wiring.settings.runs[NAMES.run], wiring.settings.evaluations["key"]
    made = needs.preparation(key, run.windowing, 1000 * 32_768)
    measured = needs.evaluation(run, key, 1000 * 32_768)
    assert made.device_bytes == measured.device_bytes
    # 28 short windows of 5,120 tokens are more tokens than a window of 32,768, and attend less far.
    assert 3 < made.seconds / measured.seconds < 5
    assert requests(needs, "prepare_task", evaluation="key")[0] == requests(needs, "evaluate")[0]
    assert needs.preparation(key, run.windowing, None).seconds is None
    assert JobNeeds(wiring).preparation(key, run.windowing, 1e6) is None


def test_an_evaluator_that_no_device_holds_is_refused():
    wiring = wiring_of(lambda config: key_tokens(config) or config.update(device={"memory_gb": 10}))
    needs = JobNeeds(wiring, dict.fromkeys(wiring.settings.models, SHAPE_8B))
    key = wiring.settings.evaluations["key"]
    with pytest.raises(SettingsError, match=r"^evaluations\.key \(its evaluator\): needs about 1\d\.\d GB"):
        needs.preparation(key, wiring.settings.windowings[WINDOWING], None)
