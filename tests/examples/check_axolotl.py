"""Check the example for axolotl against our own loss.

    python -m venv axolotl-env && axolotl-env/bin/pip install axolotl==0.19.0
    PYTHONPATH=workflow:tests python tests/examples/check_axolotl.py axolotl-env/bin/python

axolotl pins other versions than longspan needs (of transformers, for one), so it runs in its own environment:
two updates by its command line, on the CPU.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from trainer_examples import EXAMPLES, TOKENS, own_loss, save_model, write_export


def trained(python: str, folder: Path, model: str, windows_per_row: int) -> list[dict]:
    """What axolotl logs of one update over four windows."""
    config = {
        "base_model": model,
        "plugins": ["axolotl_plugin.LossWeightsPlugin"],
        "datasets": [{"path": str(folder / "export"), "type": "completion"}],
        "sample_packing": True,
        "sequence_len": windows_per_row * TOKENS,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 4 // windows_per_row,
        "max_steps": 1,
        "num_epochs": 1,
        "learning_rate": 1e-5,
        "optimizer": "adamw_torch",
        "lr_scheduler": "constant",
        "logging_steps": 1,
        "output_dir": str(folder / f"trained{windows_per_row}"),
        "dataset_prepared_path": str(folder / "prepared"),
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "attn_implementation": "sdpa",
        "use_cpu": True,
        "save_safetensors": True,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    environment = os.environ | {
        "PYTHONPATH": str(EXAMPLES),
        "CUDA_VISIBLE_DEVICES": "",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [python, "-m", "axolotl.cli.train", str(path)]
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    (state,) = (folder / f"trained{windows_per_row}").rglob("trainer_state.json")
    return json.loads(state.read_text())["log_history"]


def main(python: str) -> None:
    """Compare the losses of rows of one window and of four."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, rows = save_model(folder / "model"), write_export(folder / "export")
        for windows_per_row in (1, 4):
            found = trained(python, folder, model, windows_per_row)[0]["loss"]
            # Apart or in one row: no window sees another, and none's first token is a target.
            expected, _ = own_loss(model, rows, packed=windows_per_row > 1)
            print(f"{windows_per_row} windows a row: axolotl {found}, ours {expected}")
            if abs(found / expected - 1) > 1e-6:
                sys.exit("the losses differ")


if __name__ == "__main__":
    main(sys.argv[1])
