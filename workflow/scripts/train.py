"""Train a causal LM on the selected windows under a token-weighted loss.

    python workflow/scripts/train.py --settings '{"loss": {"variant": "dense"}, "train": {…}, …}' \
        --model results/models/llama/longspan.json --tokens results/tokens/books/llama \
        --windows results/windows/books-2k --shards 2 --selection results/selections/best.parquet \
        --index results/scores/books-2k/short/index.parquet --run results/runs/main/dense/seed0

A stopped training goes on from its last checkpoint; a finished one of the same settings and data is kept.
"""

import shutil
from pathlib import Path

from longspan.artifacts import write_table
from longspan.command_line import parser_for, run_script
from longspan.locks import exclusive_lock
from longspan.model_folders import copy_tokenizer, empty_folder, finish_model, read_manifest
from longspan.models import load_model
from longspan.run_folders import RunFolder
from longspan.score_index import IndexedScores
from longspan.training_windows import TrainingWindows
from longspan.weighting import weighting_from_settings
from longspan.window_store import WindowStore, kept_ids
from longspan_workflow.code_digests import code_digest, stage_version
from longspan_workflow.shards import shard_files


def main(argv=None):
    """Write the trained model, its metrics and, last, its settings."""
    parser = parser_for(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the base model")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of tables of tokens")
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--selection", help="train on the windows that it keeps; otherwise on all")
    parser.add_argument("--index", type=Path, help="index beside the frozen scores, if the loss uses them")
    parser.add_argument("--run", type=Path, required=True, help="folder to write")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    base = read_manifest(arguments.model)
    tokens, tables = (
        shard_files(folder, arguments.shards) for folder in (arguments.tokens, arguments.windows)
    )
    windows = WindowStore({shard: (tokens[shard], tables[shard]) for shard in tokens})
    windows.require_tokenizer(base["tokenizer"]["identity"], arguments.model)
    scores = None
    if arguments.index:
        files = shard_files(arguments.index.parent, arguments.shards)
        scores = IndexedScores(arguments.index, files, windows.windows_digests)
    data_ids = windows.data_ids
    if arguments.selection:
        data_ids = kept_ids([arguments.selection], windows.windows_digests)
    if not data_ids:
        raise ValueError("no window to train on: the selection keeps none; keep more, or add text")
    dataset = TrainingWindows(windows, data_ids, scores)
    identity = {
        "settings": settings,
        "stage_version": stage_version("training"),
        "inputs": {"model": base["digest"], "data": dataset.digest()},
    }
    folder = RunFolder(arguments.run, identity)
    with exclusive_lock(folder.lock):
        if folder.is_finished():
            print(f"{arguments.run}: trained before with the same settings on the same data")
            return

        import torch

        from longspan.self_scoring import SelfScoring
        from longspan.training import train
        from longspan.weighted_loss import WeightedLM

        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        folder.start()
        forward = {key: settings[key] for key in ("attention", "rope_theta")}
        model = load_model(arguments.model.parent, dtype="float32", **forward, device="cpu")
        loss = dict(settings["loss"])
        scoring = loss.pop("self_scoring", None)
        weighted = WeightedLM(
            model,
            weighting_from_settings(loss),
            self_scoring=scoring and SelfScoring(**scoring, bos_token_id=windows.bos_token_id),
            seed=settings["seed"],
        )
        rows = train(
            weighted, dataset, folder.checkpoints, seed=settings["seed"], arguments=settings["train"]
        )

        empty_folder(folder.model)
        model.save_pretrained(folder.model)
        copy_tokenizer(arguments.model.parent, folder.model)
        finish_model(folder.model, source={"kind": "run", **identity}, license=base["license"])
        write_table(
            folder.metrics,
            "training_metrics",
            rows,
            settings=settings,
            inputs=identity["inputs"],
            stage_version=identity["stage_version"],
            code_digest=code_digest("train"),
        )
        folder.finish()
        shutil.rmtree(folder.checkpoints, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
