"""Training: it stops and goes on, knows what it has done, and runs every kind of loss."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.torch import load_file

from longspan.store.locks import exclusive_lock
from longspan.store.tables import open_table, read_table, write_table
from longspan_workflow.running.project import SCRIPTS
from tiny_chain import TINY, Chain

STEPS = 6


def config(**changes):
    settings = copy.deepcopy(TINY)
    train = {"max_steps": STEPS, "learning_rate": 1e-3, "save_steps": 1, "per_device_train_batch_size": 2}
    settings["runs"]["main"]["train"] = train
    for path, value in changes.items():
        block = settings
        *folders, key = path.split("/")
        for folder in folders:
            block = block[folder]
        block[key] = value
    return settings


def command(chain):
    return [sys.executable, str(SCRIPTS / "train.py"), *chain.arguments("train")]


def environment():
    return os.environ | {"PYTHONPATH": str(SCRIPTS.parent), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def result_files(run):
    """What two trainings of the same settings and data share to the byte."""
    unlike = {"checkpoints", "logs", "lock", "speed.parquet"}
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and not unlike & set(path.relative_to(run).parts)
    }


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the training ended before it could be stopped"
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.005)


def test_a_killed_training_goes_on_to_the_weights_of_an_unbroken_one(folder):
    chain = Chain(config(**{"losses/dense/exposure": {"alpha": 0.5}}))
    run = chain.path("run")
    chain.make("train")
    unbroken = result_files(run)
    assert not (run / "checkpoints").exists()
    # A run of its own name, so that nothing of the unbroken one is there.
    for name in unbroken:
        (run / name).unlink()
    slow = "import time, transformers; save = transformers.Trainer._save_checkpoint\n"
    slow += "def slowly(*a, **k): save(*a, **k); time.sleep(0.5)\n"
    slow += "transformers.Trainer._save_checkpoint = slowly\n"
    program = (
        f"import runpy, sys; {slow}sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command(chain)[1:]],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = run / "checkpoints" / "checkpoint-3"
    wait_for((checkpoint / "trainer_state.json").exists, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "settings.json").exists()
    assert checkpoint.exists()

    # A kill while a checkpoint is written leaves one without its state, which comes last.
    half = run / "checkpoints" / "checkpoint-5"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    chain.make("train")
    assert result_files(run) == unbroken
    assert not (run / "checkpoints").exists()


def test_a_signal_stops_two_processes_and_one_goes_on_for_them(folder):
    train = {"max_steps": 30, "learning_rate": 1e-3, "sharding": "none", "devices": 2}
    chain = Chain(config(**{"runs/main/train": train}))
    run = chain.path("run")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*launcher, *command(chain)[1:]],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "'loss'" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0
    stopped = re.search(r"train: stopped by SIGTERM after update (\d+); its state is in (.*); run", stderr)
    assert (run / "checkpoints" / f"checkpoint-{stopped[1]}").samefile(stopped[2])

    # The same updates on one process.
    train = train | {"devices": 1, "gradient_accumulation_steps": 2}
    chain = Chain(config(**{"runs/main/train": train}))
    chain.make("train")
    rows = read_table(run / "metrics.parquet", "training_metrics")[0].to_pylist()
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert [row["tokens_seen"] for row in rows] == [256 * step for step in range(1, 31)]
    resumed = weights(run)
    (run / "settings.json").unlink()
    chain.make("train")
    for name, value in weights(run).items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-5)


def test_shards_get_the_first_process_s_weights_bit_by_bit(folder):
    # Too small a rate to change a weight.
    train = {"max_steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0, "sharding": "full", "devices": 2}
    chain = Chain(config(**{"runs/main/train": train}))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*launcher, *command(chain)[1:]], env=environment(), capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr[-3000:]
    base, trained = load_file("inputs/model/model.safetensors"), weights(chain.path("run"))
    assert base.keys() == trained.keys()
    assert all(torch.equal(value, trained[name]) for name, value in base.items())


def test_the_status_of_a_stopped_training_says_run_again(folder):
    chain = Chain(config(**{"runs/main/train": {"max_steps": 500, "learning_rate": 1e-3}}))
    process = subprocess.Popen(
        command(chain), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if "'loss'" in line:
            break
    process.send_signal(signal.SIGUSR1)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == os.EX_TEMPFAIL
    assert "train: stopped by SIGUSR1 after update " in stderr


def test_another_number_of_processes_than_the_settings_say_is_refused(folder):
    chain = Chain(config(**{"runs/main/train": {"max_steps": 1, "learning_rate": 1e-3, "devices": 2}}))
    result = chain.run("train")
    assert result.code == 1
    assert result.stderr == (
        "train: error: 1 processes run by WORLD_SIZE, the settings say 2 (devices times nodes); start as "
        "many by torchrun, change the settings, or unset WORLD_SIZE if it is left over\n"
    )


def test_a_second_training_into_one_folder_is_refused_and_the_holder_named(chain):
    run = chain.path("run")
    before = result_files(run)
    with exclusive_lock(run / "lock"):
        result = chain.run("train")
    assert result.code == 1
    assert result.stderr == (
        f"train: error: {run / 'lock'} is held by process {os.getpid()} on {os.uname().nodename}; "
        "wait until it ends, or end it, then run again\n"
    )
    assert result_files(run) == before
    chain.make("train")


def test_checkpoints_of_another_training_are_not_used(folder):
    chain = Chain(config())
    chain.make("train")
    run = chain.path("run")
    expected = result_files(run)
    (run / "settings.json").unlink()
    checkpoint = run / "checkpoints" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (run / "checkpoints" / "identity").write_text("that of another loss")
    chain.make("train")
    assert result_files(run) == expected


def test_the_same_training_is_left_as_it_is(folder):
    chain = Chain(config())
    chain.make("train")
    run = chain.path("run")
    before = result_files(run)
    os.utime(run / "settings.json", (0, 0))
    said = chain.make("train")
    assert said == f"{run}: trained before with the same settings on the same data\n"
    assert result_files(run) == before
    assert (run / "settings.json").stat().st_mtime > 0


def test_a_finished_training_gets_the_card_of_the_settings_as_they_are_now(chain):
    card = chain.path("run") / "model" / "README.md"
    before, files = card.read_text(), result_files(chain.path("run"))
    changed = copy.deepcopy(TINY)
    changed["corpora"]["short"]["sources"][1]["license"] = "CC-BY-4.0"
    Chain(changed).make("train")
    assert card.read_text() == before.replace("| rows | CC0-1.0 |", "| rows | CC-BY-4.0 |") != before
    assert result_files(chain.path("run")) == files | {"model/README.md": card.read_bytes()}


@pytest.mark.parametrize("older", [Path.unlink, lambda path: path.write_bytes(b"broken")])
def test_effective_contexts_are_added_to_a_training_that_lacks_them(chain, older):
    run = chain.path("run")
    before = result_files(run)
    older(run / "exposure.parquet")
    assert "trained before with the same settings" in chain.make("train")
    assert result_files(run) == before


@pytest.mark.parametrize(
    "gone", ["metrics.parquet", "settings.json", "model/model.safetensors", "model/longspan.json"]
)
def test_a_training_of_which_a_part_is_gone_is_made_anew(folder, gone):
    chain = Chain()
    run = chain.path("run")
    before = result_files(run)
    (run / gone).unlink()
    chain.make("train")
    assert result_files(run) == before


def test_other_data_train_anew(folder):
    chain = Chain()
    run = chain.path("run")
    before = weights(run)
    table, manifest = read_table(chain.path("selection"), "selection")
    swapped = [not kept for kept in table.column("kept").to_pylist()]
    table = table.set_column(table.column_names.index("kept"), "kept", pa.array(swapped))
    write_table(
        chain.path("selection"), "selection", table, settings=manifest.settings, inputs=manifest.inputs
    )
    chain.make("list_kept_windows")
    # The windows that are kept now have scores too: the store holds all.
    chain.make("train")
    after = weights(run)
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"runs/main/train": {"max_steps": 4, "learning_rate": 2e-3}},
        {"losses/dense": {"variant": "dense", "interpolation": 0.9, "scorer": "tiny-32"}},
    ],
    ids=["seed", "learning_rate", "loss"],
)
def test_other_settings_train_anew(folder, changes):
    settings = copy.deepcopy(TINY)
    for path, value in changes.items():
        block = settings
        *folders, key = path.split("/")
        for part in folders:
            block = block[part]
        block[key] = value
    chain = Chain(settings)
    before = weights(chain.path("run"))
    chain.make("train")
    after = weights(chain.path("run"))
    assert any(not torch.equal(before[name], after[name]) for name in before)


LOSSES = {
    "plain": {"variant": "plain"},
    "dense": {"variant": "dense", "scorer": "tiny-32"},
    "sparse": {"variant": "sparse", "sparsification": 0.5, "scorer": "tiny-32"},
    "longce": {"variant": "longce", "scorer": "tiny-32"},
    "exact": {"variant": "exact"},
    "exposed": {
        "variant": "dense",
        "scorer": "tiny-32",
        "exposure": {"alpha": 0.5, "min_context_tokens": 16},
    },
    "control": {"variant": "dense", "scorer": "tiny-32", "shuffle_weights": True},
    "own dense": {"variant": "dense", "self_scoring": {"base_length": 32, "base_stride": 24}},
    "own parts": {
        "transforms": ["absolute"],
        "normalization": "L1",
        "self_scoring": {"base_length": 64, "base_stride": 32, "windows_per_batch": 2},
    },
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_kind_of_loss_trains(folder, name):
    chain = Chain(
        config(**{"losses/dense": LOSSES[name], "runs/main/train": {"max_steps": 3, "learning_rate": 1e-3}})
    )
    assert bool(chain.options("train")["--index"]) == ("scorer" in LOSSES[name])
    chain.make("train")
    rows = read_table(chain.path("run") / "metrics.parquet", "training_metrics")[0].to_pylist()
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["tokens_seen"] for row in rows] == [128, 256, 384]
    for row in rows:
        assert row["loss_weighted"] > 0
        assert row["gradient_norm"] > 0
        if name == "plain":
            assert (row["weight_mean"], row["weight_std"]) == (1, 0)
            assert row["loss_weighted"] == pytest.approx(row["loss_unweighted"], rel=1e-5)
        else:
            assert row["weight_std"] > 0
        if name in ("exact", "exposed"):
            # As published EXACT adds α to the mean; beside another loss a window keeps its sum.
            mean = 1.15 if name == "exact" else 1
            assert row["weight_mean"] == pytest.approx(mean, rel=1e-6)
    base = load_file("inputs/model/model.safetensors")
    assert any(not torch.equal(base[tensor], value) for tensor, value in weights(chain.path("run")).items())


def test_without_a_selection_all_windows_are_trained_on(folder):
    chain = Chain(
        config(**{"runs/main/selection": None, "runs/main/train": {"max_steps": 1, "learning_rate": 1e-3}})
    )
    assert chain.options("train")["--kept"] == []
    chain.make("train")
    assert read_table(chain.path("run") / "metrics.parquet", "training_metrics")[0].num_rows == 1


def test_a_selection_that_keeps_nothing_is_refused(folder):
    chain = Chain(config(**{"selections/half/keep": {"windows": 0}}))
    chain.make("select_windows")
    chain.make("list_kept_windows")
    result = chain.run("train")
    assert result.code == 1
    assert result.stderr == (
        "train: error: no window to train on: the selection keeps none; keep more, or add text\n"
    )


def test_a_selection_or_an_index_of_other_windows_is_refused(chain):
    def refusal(path, rule):
        return (
            f"train: error: {path} was made with another windows of shard 00000 ({before[:12]}) than the one "
            f"at hand ({now[:12]}); delete it and run the same target again, which reruns {rule}\n"
        )

    before = open_table(chain.path("windows"), "windows")[1].data_digest
    result = result_files(chain.path("run"))
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["sampling"] = {"windows_per_category": 3}
    smaller = Chain(settings)
    smaller.make("assign_windows")
    now = open_table(smaller.path("windows"), "windows")[1].data_digest
    assert smaller.run("train").stderr == refusal(chain.path("score_index"), "collect_weights")
    smaller.make("collect_weights")  # leaves out the scores of the windows that went
    assert smaller.run("train").stderr == refusal(chain.path("kept"), "list_kept_windows")
    assert result_files(chain.path("run")) == result
    smaller.make("select_windows")
    smaller.make("list_kept_windows")
    smaller.make("train")


def test_a_loss_that_is_not_finite_is_refused_and_no_result_left(folder):
    chain = Chain(
        config(
            **{
                "losses/dense": {"variant": "plain"},
                "runs/main/train": {"max_steps": 4, "learning_rate": 1e30},
            }
        )
    )
    (chain.path("run") / "settings.json").unlink()
    result = chain.run("train")
    assert result.code == 1
    assert re.fullmatch(
        r"train: error: the (loss|gradient's norm) \((nan|inf)\) of update \d is no finite number, "
        r"on windows short-0000\d_000000\d; the last good checkpoint is the base model; "
        r"lower the learning rate, or look at these windows\n",
        result.stderr,
    )
    assert not (chain.path("run") / "settings.json").exists()


def test_the_result_loads_on_its_own_and_says_what_made_it(chain):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = chain.path("run") / "model"
    assert AutoModelForCausalLM.from_pretrained(model).config.max_position_embeddings == 512
    assert AutoTokenizer.from_pretrained(model)("the sea").input_ids
    record = json.loads((chain.path("run") / "settings.json").read_text())
    assert record["settings"]["loss"] == {"variant": "dense"}
    manifest = json.loads((model / "longspan.json").read_text())
    assert manifest["license"] == "Apache-2.0"
    execution = record.pop("execution")
    assert execution["processes"] == 1
    assert (execution["attention"], execution["device"]) == ("sdpa by flash attention", "CPU")
    assert manifest["source"] == {"kind": "run", **record}


def test_the_model_card_says_what_made_it(chain):
    card = (chain.path("run") / "model" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license_name"] == "Apache-2.0"
    assert "tiny (inputs/model, licence Apache-2.0), trained further" in card
    assert "4 updates of 1 windows of 128 tokens, 512 tokens in all, drawn from " in card
    assert r"| inputs/prose/\*.txt | prose | CC0-1.0 |" in card
    assert "| inputs/rows.jsonl | rows | CC0-1.0 |" in card
    assert "@inproceedings{helm2025token," in card
    assert "@article{wu2025longattn," in card
    record = json.loads((chain.path("run") / "settings.json").read_text())
    shown = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert shown == {key: record[key] for key in ("settings", "stage_version", "inputs")}


def test_held_out_windows_are_scored_in_its_course_by_context_and_change_nothing(folder):
    run = Chain(config()).path("run")
    Chain(config()).make("train")
    before = weights(run)
    (run / "settings.json").unlink()
    chain = Chain(
        config(
            **{
                "runs/main/train": {
                    "learning_rate": 1e-3,
                    **config()["runs"]["main"]["train"],
                    "eval_steps": 3,
                }
            }
        )
    )
    chain.make("train")
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())
    rows = read_table(run / "guard.parquet", "training_guard")[0].to_pylist()
    parts = [(1, 32), (32, 64), (64, 128)]
    assert [(row["step"], row["position_start"], row["position_stop"]) for row in rows] == [
        (step, *part) for step in (0, 3, 6) for part in parts
    ]
    # The last scoring is the evaluation of the trained model, over the same windows.
    chain.make("evaluate")
    evaluated = read_table(chain.path("evaluation"), "evaluation")[0].to_pylist()
    tokens = sum(row["position_stop"] - row["position_start"] for row in evaluated)
    mean = sum(row["nll_sum"] for row in evaluated) / tokens
    guarded = sum(row["nll_mean"] * (row["position_stop"] - row["position_start"]) for row in rows[-3:]) / 127
    assert guarded == pytest.approx(mean, rel=1e-5)


def test_tensorboard_gets_the_logs(chain):
    assert list((chain.path("run") / "logs").glob("events.out.tfevents.*"))


def test_a_mixture_trains_on_its_share_of_short_documents(folder):
    def mixed(**train):
        chain = Chain(
            config(
                **{
                    "mixtures": {
                        "m": {"short": [{"corpus": "short", "token_share": 0.25, "document_tokens": 40}]}
                    },
                    "runs/main/mixture": "m",
                    "runs/main/train": {"max_steps": 4, "learning_rate": 1e-3, **train},
                }
            )
        )
        said = chain.make("train")
        rows = read_table(chain.path("run") / "metrics.parquet", "training_metrics")[0].to_pylist()
        return said, rows, weights(chain.path("run"))

    said, rows, first = mixed()
    kernels = "sdpa by flash attention, to packed documents by flash attention"
    assert f"attention: {kernels} on CPU\n" in said
    assert re.search(r"epochs: long 0\.\d+, short/short 0\.\d+\n", said)
    # One of four sequences is packed: its tokens have weight 1.
    assert [row["weight_std"] == 0 for row in rows].count(True) == 1
    # Batches of both kinds give the same numbers.
    _, together, second = mixed(per_device_train_batch_size=4, max_steps=1)
    _, apart, third = mixed(gradient_accumulation_steps=4, max_steps=1)
    assert together[0]["loss_weighted"] == pytest.approx(apart[0]["loss_weighted"], rel=1e-5)
    for name, value in second.items():
        torch.testing.assert_close(third[name], value, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(first[name], value) for name, value in second.items())


def test_weights_by_context_count_the_short_documents_of_a_mixture(folder):
    mixture = {"short": [{"corpus": "short", "token_share": 0.5, "document_tokens": 40}]}
    trained = {}
    for batch, accumulation in ((1, 4), (4, 1)):
        train = {
            "max_steps": 2,
            "learning_rate": 1e-3,
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
        }
        chain = Chain(
            config(
                **{
                    "mixtures": {"m": mixture},
                    "runs/main/mixture": "m",
                    "runs/main/train": train,
                    "losses/dense/exposure": {"alpha": 0.5, "min_context_tokens": 32},
                }
            )
        )
        chain.make("train")
        trained[batch] = weights(chain.path("run"))
    table = read_table(chain.path("run") / "exposure.parquet", "training_exposure")[0].to_pandas()
    table = table.set_index("context_start")
    # Four windows of 128 tokens beside four sequences of documents of at most 40.
    assert table["targets"][64] == 4 * 64
    assert 4 * 32 < table["targets"][32] <= 4 * 32 + 4 * 3 * 8
    assert table["targets"][0] >= 4 * 7 + 4 * 3 * 7
    assert table["is_tail"].tolist() == [False, False, False, True, True]
    assert (table["targets"] * table["weight"]).sum() == pytest.approx(1.5 * table["targets"].sum())
    for name, value in trained[1].items():
        torch.testing.assert_close(trained[4][name], value, rtol=1e-5, atol=1e-6)
