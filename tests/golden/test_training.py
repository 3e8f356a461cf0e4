"""A stored loss curve of the tiny model. Write it anew:

PYTHONPATH=workflow:tests python tests/golden/test_training.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from longspan.training.loop import STAGE_VERSION, train
from longspan.training.rows import TrainingRows
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from tiny_models import formula_llama

STORED = Path(__file__).with_name("training.json")
COLUMNS = (
    "loss_weighted",
    "loss_unweighted",
    "weight_mean",
    "weight_std",
    "weight_entropy",
    "gradient_norm",
    "learning_rate",
)


class Windows:
    """Windows and short-context scores from formulas: no generator, so no version of one, is in them."""

    data_ids = tuple(f"golden-00000_{number:07d}" for number in range(1, 7))

    def __len__(self):
        return len(self.data_ids)

    def __getitem__(self, index):
        return {
            "sequence_ids": self.data_ids[index],
            "input_ids": (np.arange(40) ** 2 * (index + 1) + index) % 61,
            "short_nll": (4 + 3 * np.sin(1.3 * np.arange(39) + index)).astype(np.float32),
        }


def curve(folder):
    """Ten updates of two windows each under Dense."""
    torch.set_num_threads(1)
    model = formula_llama()
    arguments = {
        "max_steps": 10,
        "per_device_train_batch_size": 1,
        "windows_per_update": 2,
        "learning_rate": 3e-3,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 2,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": False,
        "save_steps": 100,
    }
    weighting = weighting_from_settings({"variant": "dense", "interpolation": 0.25})
    rows = TrainingRows({"long": Windows()}, {"long": 1.0}, 20, seed=3)
    log = train(WeightedLM(model, weighting, seed=3), rows, folder, seed=3, arguments=arguments)
    rows = log.metrics
    assert [row["step"] for row in rows] == list(range(1, 11))
    return {
        "stage_version": STAGE_VERSION,
        "updates": [{name: row[name] for name in COLUMNS} for row in rows],
    }


def test_the_loss_curve_stays_what_it_was(tmp_path):
    stored, now = json.loads(STORED.read_text()), curve(tmp_path)
    moved = [
        f"{name} of update {step}: {new[name]} instead of {old[name]}"
        for step, (old, new) in enumerate(zip(stored["updates"], now["updates"], strict=True), start=1)
        for name in COLUMNS
        if not np.isclose(new[name], old[name], rtol=1e-5, atol=0)
    ]
    if now["stage_version"] == stored["stage_version"]:
        assert not moved, (
            "numbers moved: bump STAGE_VERSION in training.py and add a CHANGELOG line\n" + "\n".join(moved)
        )
    assert now["stage_version"] == stored["stage_version"], f"stored for another version: run {__file__}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        STORED.write_text(json.dumps(curve(Path(scratch)), indent=1) + "\n")
