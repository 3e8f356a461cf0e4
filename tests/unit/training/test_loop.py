import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from full_disk import small_disk
from longspan.training.checkpoints import drop_broken_checkpoints, last_whole_checkpoint
from longspan.training.flops import training_flops
from longspan.training.loop import (
    Execution,
    TrainingStopped,
    collate_windows,
    drop_weights,
    save_weights,
    train,
)
from longspan.training.rows import TrainingRows
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from tiny_models import VOCABULARY, tiny_model

# Beside this file, where torchrun finds it too.
sys.path.insert(0, str(Path(__file__).parent))
from training_processes import ARGUMENTS, CASES, OwnWindows, Packed, Windows, trained

PROGRAM = Path(__file__).with_name("training_processes.py")


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def close(first, second, tolerance=1e-5):
    assert first.keys() == second.keys()
    for name, value in second.items():
        torch.testing.assert_close(first[name], value, rtol=tolerance, atol=1e-6)


def metrics_close(first, second):
    for one, two in zip(first.metrics, second.metrics, strict=True):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-6)


def run_processes(folder, *cases):
    """Train in two processes; the logs by case."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*torchrun, str(PROGRAM), str(folder), *cases],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return torch.load(folder / "logs.pt", weights_only=False)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes") / "two"
    return folder, run_processes(folder, *CASES)


@pytest.mark.parametrize("sharding", ["replicas", "shards"])
@pytest.mark.parametrize("kind", ["", ", tied, recomputed", ", self-scored", ", guarded", ", mixed"])
def test_two_processes_learn_what_one_does(two_processes, tmp_path, sharding, kind):
    folder, logs = two_processes
    alone = trained(
        tmp_path,
        "llama_tied" if "tied" in kind else "llama",
        self_scoring="self-scored" in kind,
        guarded="guarded" in kind,
        mixed="mixed" in kind,
        per_device_train_batch_size=2,
    )
    metrics_close(logs[sharding + kind], alone)
    # Three windows over two processes: one is scored twice and counts once.
    assert len(alone.guard) == (3 if "guarded" in kind else 0)
    for one, two in zip(logs[sharding + kind].guard, alone.guard, strict=True):
        assert one == pytest.approx(two, rel=1e-5)
    close(weights(folder / (sharding + kind)), weights(tmp_path))


@pytest.mark.parametrize(("sharding", "number"), [("replicas", "SIGTERM"), ("shards", "SIGUSR1")])
def test_two_processes_stop_together_and_go_on_to_the_same_bits(two_processes, sharding, number):
    folder, logs = two_processes
    case = f"{sharding}, {number}"
    message, log = logs[case]
    stopped = re.search(
        rf"stopped by {number} after update (\d); its state is in .*/checkpoint-(\d); ", message
    )
    assert stopped[1] == stopped[2]
    assert log.metrics == logs[sharding].metrics
    assert same(weights(folder / case), weights(folder / sharding))


def test_another_number_of_processes_goes_on_with_the_same_windows(two_processes, tmp_path):
    folder, logs = two_processes
    # Of four updates the third was the last saved.
    (folder / "replicas" / "model").rename(tmp_path / "of two")
    log = trained(folder / "replicas")
    (folder / "replicas" / "model").rename(folder / "replicas" / "of one")
    (tmp_path / "of two").rename(folder / "replicas" / "model")
    metrics_close(log, logs["replicas"])
    alone = load_file(folder / "replicas" / "of one" / "model.safetensors")
    close(alone, weights(folder / "replicas"))


def test_a_checkpoint_of_another_sharding_is_refused(two_processes):
    folder, _ = two_processes
    with pytest.raises(
        ValueError, match=r"checkpoint-\d was written with sharding: full, the settings say none"
    ):
        trained(folder / "shards")


def test_windows_that_processes_cannot_share_are_refused(tmp_path):
    with pytest.raises(ValueError, match="4 windows an update cannot be shared out in batches of 3 over 1"):
        trained(tmp_path, per_device_train_batch_size=3)


def test_accumulation_changes_no_number(tmp_path):
    whole = trained(tmp_path / "whole", per_device_train_batch_size=4)
    split = trained(tmp_path / "split")
    metrics_close(split, whole)
    close(weights(tmp_path / "split"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("architecture", ["llama", "llama_tied"])
def test_a_stopped_training_goes_on_to_the_same_weights_and_metrics(tmp_path, architecture):
    def interrupt():
        raise KeyboardInterrupt

    unbroken = trained(tmp_path / "unbroken", architecture, save_steps=2)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", architecture, Windows(at=11, do=interrupt), save_steps=2)
    assert last_whole_checkpoint(tmp_path / "broken").endswith("checkpoint-2")
    resumed = trained(tmp_path / "broken", architecture, save_steps=2)
    assert resumed.metrics == unbroken.metrics
    assert [row["tokens_seen"] for row in unbroken.metrics] == [96, 192, 288, 384]
    assert same(weights(tmp_path / "broken"), weights(tmp_path / "unbroken"))


# Update after which a signal at that reading of a window stops: readings run a little ahead of the updates.
STOPS = {1: 0, 2: 0, 7: 1, 12: 2, 16: 3}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("read", STOPS)
def test_a_signal_at_any_window_saves_and_a_resume_gives_the_same_bits(tmp_path, number, read):
    def send():
        os.kill(os.getpid(), number)

    # Without dropout no drawing would tell whether the state of the generator is right.
    options = {"dropout": 0.1, "save_steps": 100}
    unbroken = trained_with_dropout(tmp_path / "unbroken", **options)
    before = signal.getsignal(number)
    with pytest.raises(TrainingStopped, match=rf"stopped by {number.name} after update {STOPS[read]}; "):
        trained_with_dropout(tmp_path / "broken", windows=Windows(at=read, do=send), **options)
    assert signal.getsignal(number) == before
    resumed = trained_with_dropout(tmp_path / "broken", **options)
    assert resumed.metrics == unbroken.metrics
    assert same(weights(tmp_path / "broken"), weights(tmp_path / "unbroken"))


def trained_with_dropout(folder, *, dropout, windows=None, **arguments):
    torch.set_num_threads(1)
    torch.manual_seed(5)
    model = tiny_model("llama")
    model.config._attn_implementation = "eager"
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = dropout
    weighted = WeightedLM(model, weighting_from_settings({"variant": "dense"}), seed=1)
    rows = TrainingRows({"long": windows or Windows()}, {"long": 1.0}, 16, seed=1)
    log = train(weighted, rows, folder, seed=1, arguments=ARGUMENTS | arguments)
    save_weights(weighted, folder / "model")
    return log


def test_recomputed_activations_change_no_weight(tmp_path):
    trained(tmp_path / "plain")
    trained(tmp_path / "recomputed", execution={"gradient_checkpointing": True})
    close(weights(tmp_path / "recomputed"), weights(tmp_path / "plain"))


@pytest.mark.parametrize("self_scoring", [False, True])
def test_a_loss_that_is_no_number_names_its_update_its_windows_and_the_last_good_checkpoint(
    tmp_path, self_scoring
):
    class Broken(OwnWindows if self_scoring else Windows):
        """The twelfth window read, of the third update, alone has the last token, whose embedding is NaN."""

        def __getitem__(self, index):
            item = super().__getitem__(index)
            item["input_ids"] = item["input_ids"] % (VOCABULARY - 1)
            if self.reads == 12:
                item["input_ids"][20] = VOCABULARY - 1
                broken.append(item["sequence_ids"])
            return item

    broken = []
    with pytest.raises(ValueError, match=r"the loss \(nan\) of update 3 is no finite number") as caught:
        trained(
            tmp_path,
            "llama_broken",
            windows=Broken(),
            self_scoring=self_scoring,
            save_steps=2,
            max_grad_norm=0.0,
        )
    good = f"the last good checkpoint is {tmp_path / 'checkpoint-2'}; "
    assert f"on windows {broken[0]}; {good}" in str(caught.value)


def test_a_gradient_that_is_no_number_stops_before_it_breaks_the_weights(tmp_path):
    with pytest.raises(
        ValueError, match=r"the (loss|gradient's norm) \((nan|inf)\) of update \d .*base model"
    ):
        trained(tmp_path, learning_rate=1e30, lr_scheduler_type="constant", warmup_steps=0, save_steps=100)
    assert last_whole_checkpoint(tmp_path) is None


def test_a_full_disk_names_the_last_good_checkpoint_and_leaves_it(tmp_path):
    trained(tmp_path / "sized", save_steps=1, max_steps=2)
    checkpoint = Path(last_whole_checkpoint(tmp_path / "sized"))
    # That of the last update has no optimizer's state, which is twice the weights.
    kilobytes = 3 * sum(path.stat().st_size for path in checkpoint.iterdir()) // 1024
    with small_disk(tmp_path / "small", int(kilobytes * 1.5)) as disk:
        with pytest.raises(OSError, match=r"no space left on the disk of .* for checkpoint-2; ") as caught:
            trained(disk, save_steps=1)
        assert f"the last good checkpoint is {disk / 'checkpoint-1'}; free some" in str(caught.value)
        assert [path.name for path in disk.glob("checkpoint-*")] == ["checkpoint-1"]


def test_the_last_update_is_checkpointed_without_what_no_update_follows(tmp_path):
    log = trained(tmp_path, save_steps=100)
    checkpoint = Path(last_whole_checkpoint(tmp_path))
    assert checkpoint.name == "checkpoint-4"
    assert not (checkpoint / "optimizer.pt").exists()
    before = weights(tmp_path)
    unread = Windows(at=1, do=lambda: pytest.fail("a window was trained on again"))
    assert trained(tmp_path, windows=unread, save_steps=100).metrics == log.metrics
    assert same(weights(tmp_path), before)


def test_a_checkpoint_follows_the_umask(tmp_path):
    before = os.umask(0o002)
    try:
        trained(tmp_path, max_steps=1)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.glob("checkpoint-1/*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o664}


def test_a_checkpoint_that_calls_something_is_refused(tmp_path):
    trained(tmp_path, save_steps=2, max_steps=2)
    trace = tmp_path / "trace"

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    checkpoint = Path(last_whole_checkpoint(tmp_path))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": Attack()}, checkpoint / name)
    with pytest.raises(ValueError, match=rf"{checkpoint} holds more than values, or is damaged \("):
        trained(tmp_path, save_steps=2)
    assert not trace.exists()


def test_the_last_whole_checkpoint_is_found_and_later_halves_removed(tmp_path):
    def checkpoint(step, state):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)

    assert last_whole_checkpoint(tmp_path) is None
    for step, state in [(9, "{}"), (10, "{}"), (11, '{"log_history": ['), (100, None)]:
        checkpoint(step, state)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")  # by number, not by name
    drop_broken_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_windows_are_stacked_and_all_tokens_but_the_first_are_targets():
    items = [Windows()[0], Windows()[1]]
    batch = collate_windows(items)
    assert batch["sequence_ids"] == ["x-00000_0000000", "x-00000_0000001"]
    assert (batch["input_ids"].dtype, batch["short_nll"].dtype) == (torch.int64, torch.float32)
    assert batch["labels"].equal(batch["input_ids"])
    assert batch["input_ids"][1].tolist() == items[1]["input_ids"].tolist()
    assert (batch["labels"] != -100).all()


def test_speed_and_memory_are_logged(tmp_path):
    log = trained(tmp_path)
    assert [row["step"] for row in log.speed] == [1, 2, 3, 4]
    for row in log.speed:
        assert row["tokens_per_second"] == pytest.approx(96 / row["seconds"])
        assert row["memory_bytes"] > 50_000_000
        assert row["mfu"] is None  # nobody knows a CPU's rate


def test_mfu_counts_what_each_sequence_computes(tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.training.loop.peak_flops", lambda device: 1e9)
    log = trained(tmp_path, mixed=True)
    model = tiny_model("llama")
    total = sum(row["mfu"] * row["seconds"] * 1e9 for row in log.speed)
    rows = TrainingRows({"long": Windows(), "short": Packed()}, {"long": 0.6, "short": 0.4}, 16, seed=1)
    lengths = [rows[number].get("document_lengths", [24]) for number in range(16)]
    assert total == pytest.approx(sum(training_flops(model, documents) for documents in lengths))
    assert total < 16 * training_flops(model, [24])


def test_dropped_weights_take_no_memory_and_stay_tied():
    model = tiny_model("llama_tied")
    drop_weights(model)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    with torch.device("meta"):
        large = torch.nn.Linear(2**15, 2**15, bias=False)  # 4 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    drop_weights(large)
    assert large.weight.device.type == "cpu"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_one_process_is_the_default():
    assert Execution().processes == 1


def test_the_environment_changes_no_training(tmp_path, monkeypatch, capsys):
    plain = trained(tmp_path / "plain")
    foreign = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    log = trained(tmp_path / "foreign")
    assert f"left out of the environment, since settings decide: {', '.join(sorted(foreign))}\n" in (
        capsys.readouterr().out
    )
    assert log.metrics == plain.metrics
    assert same(weights(tmp_path / "foreign"), weights(tmp_path / "plain"))
    assert {name: os.environ[name] for name in foreign} == foreign


def test_another_number_of_processes_than_run_is_refused(tmp_path):
    weighted = WeightedLM(tiny_model("llama"), weighting_from_settings({"variant": "dense"}))
    with pytest.raises(ValueError, match="1 processes run, the execution says 2; start as many by torchrun"):
        train(weighted, None, tmp_path, seed=1, arguments=ARGUMENTS, execution=Execution(processes=2))
