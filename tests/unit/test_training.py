import numpy as np
import pytest
import torch

from longspan.training import collate_windows, last_whole_checkpoint, train
from longspan.weighted_loss import WeightedLM
from longspan.weighting import weighting_from_settings
from tiny_models import VOCABULARY, tiny_model

ARGUMENTS = {
    "max_steps": 5,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "linear",
    "warmup_steps": 1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "adam_epsilon": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_steps": 2,
}


class Windows:
    """Six random windows; reading stops after so many."""

    def __init__(self, stop_after=10**6):
        self.left = stop_after

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        draw = np.random.default_rng(index)
        return {
            "sequence_ids": f"x-00000_{index:07d}",
            "input_ids": draw.integers(0, VOCABULARY, 24),
            "short_nll": draw.uniform(1, 6, 23).astype(np.float32),
        }


def trained(folder, architecture="llama", windows=None, **arguments):
    torch.set_num_threads(1)
    model = tiny_model(architecture)
    weighted = WeightedLM(model, weighting_from_settings({"variant": "dense"}), seed=1)
    rows = train(weighted, windows or Windows(), folder, seed=1, arguments=ARGUMENTS | arguments)
    return rows, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("architecture", ["llama", "llama_tied"])
def test_a_stopped_training_goes_on_to_the_same_weights_and_metrics(tmp_path, architecture):
    rows, weights = trained(tmp_path / "unbroken", architecture)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", architecture, Windows(stop_after=7))
    assert last_whole_checkpoint(tmp_path / "broken").endswith("checkpoint-2")
    resumed_rows, resumed = trained(tmp_path / "broken", architecture)
    assert resumed_rows == rows
    assert [row["tokens_seen"] for row in rows] == [48, 96, 144, 192, 240]
    assert resumed.keys() == weights.keys()
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


def test_recomputed_activations_change_no_weight(tmp_path):
    _, plain = trained(tmp_path / "plain")
    _, recomputed = trained(tmp_path / "recomputed", gradient_checkpointing=True)
    for name, value in plain.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-5, atol=1e-7)


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_windows_are_stacked_and_all_tokens_but_the_first_are_targets():
    items = [Windows()[0], Windows()[1]]
    batch = collate_windows(items)
    assert batch["sequence_ids"] == ["x-00000_0000000", "x-00000_0000001"]
    assert (batch["input_ids"].dtype, batch["short_nll"].dtype) == (torch.int64, torch.float32)
    assert batch["labels"].equal(batch["input_ids"])
    assert batch["input_ids"][1].tolist() == items[1]["input_ids"].tolist()
    assert (batch["labels"] != -100).all()
