"""Train a causal LM on the selected windows under a token-weighted loss.

    python workflow/scripts/train.py --settings '{"loss": {"variant": "dense"}, "train": {…}, …}' \
        --execution '{"processes": 1}' --model results/models/llama/longspan.json \
        --tokens results/tokens/books/llama --windows results/windows/books-2k --shards 2 \
        --kept results/selections/best.kept.parquet --index results/scores/books-2k/short/index.parquet \
        --run-folder results/runs/main/dense/seed0
    torchrun --standalone --nproc-per-node 2 workflow/scripts/train.py --execution '{"processes": 2}' …

A stopped training goes on from its last checkpoint; a finished one of the same settings and data is kept.
SIGTERM and SIGUSR1 save its state and end it with exit status 75 (under torchrun, with 1).
"""

import os
import sys
from pathlib import Path

from longspan.models.folders import read_manifest
from longspan.process.command_line import json_object, parser_for, run_script
from longspan.process.ranks import decided_by_first, is_first_process, join_processes
from longspan.scoring.index import IndexedScores
from longspan.scoring.vocabulary import require_embeddings
from longspan.store.code import code_digest, stage_version
from longspan.store.shards import shard_files
from longspan.training.data import TrainingData
from longspan.training.exposure import TrainingExposure
from longspan.training.folder import RunFolder
from longspan.windows.store import WindowStore, kept_ids

STOPPED = os.EX_TEMPFAIL  # run again


def main(argv=None):
    """Write the trained model, its metrics and, last, its settings."""
    parser = parser_for(__doc__)
    parser.add_argument("--execution", type=json_object, default={}, help="how it runs, as JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the base model")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of tables of tokens")
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--kept", nargs="?", help="kept windows of a selection; otherwise all")
    parser.add_argument("--index", nargs="?", type=Path, help="index of the frozen scores, if it uses them")
    parser.add_argument("--run-folder", type=Path, required=True, help="folder to write")
    short_help = "a mixture's corpus, its folder of tables of tokens, and their number"
    parser.add_argument("--short", action="append", nargs=3, default=[], help=short_help)
    parser.add_argument("--guard", type=json_object, help="held-out windows to score in its course")
    parser.add_argument("--held-out-tokens", type=Path, help="their table of tokens")
    parser.add_argument("--held-out-windows", type=Path, help="their table of windows")
    parser.add_argument("--card", type=json_object, help="origin of model and texts for the model's card")
    parser.add_argument("--threads", type=int, help="CPU threads, of all processes of a node")
    arguments = parser.parse_args(argv)
    join_processes(arguments.execution.get("processes", 1))
    data = _data(arguments)
    _require_embeddings(arguments, data)
    base = read_manifest(arguments.model)
    data.windows.require_tokenizer(base["tokenizer"]["identity"], arguments.model)
    identity = decided_by_first(
        lambda: {
            "settings": arguments.settings,
            "stage_version": stage_version("training.loop"),
            "inputs": {"model": base["digest"]} | data.digests(),
        }
    )
    folder = RunFolder(arguments.run_folder, identity)
    with folder.held():
        if decided_by_first(folder.is_finished):
            if is_first_process():
                if arguments.card:
                    folder.write_card(arguments.card, data)
                print(f"{arguments.run_folder}: trained before with the same settings on the same data")
                _add_exposure(arguments.settings, data, folder)
            return
        _train(arguments, data, folder)


def _data(arguments) -> TrainingData:
    tokens, windows = (shard_files(path, arguments.shards) for path in (arguments.tokens, arguments.windows))
    store = WindowStore({shard: (tokens[shard], windows[shard]) for shard in tokens})
    scores = None
    if arguments.index:
        tables = shard_files(arguments.index.parent, arguments.shards)
        scores = IndexedScores(arguments.index, tables, store.windows_digests)
    kept = arguments.kept and kept_ids([arguments.kept], store.windows_digests)
    return TrainingData.read(
        store,
        store.data_ids if kept is None else kept,
        scores,
        mixture=arguments.settings.get("mixture", []),
        short_tokens={corpus: shard_files(Path(path), int(count)) for corpus, path, count in arguments.short},
    )


def _require_embeddings(arguments, data):
    folders = [(arguments.tokens, arguments.shards), *((path, int(n)) for _, path, n in arguments.short)]
    tokens = [table for folder, n in folders for table in shard_files(Path(folder), n).values()]
    decided_by_first(lambda: require_embeddings(arguments.model, tokens, data.windows))


def _add_exposure(settings, data, folder):
    """Write the table of effective contexts beside a training that was made before there was one."""
    if not folder.has_exposure():
        exposure = TrainingExposure(settings, data.rows(settings), data.windows.window_tokens)
        folder.write_exposure(exposure, code_digest(Path(__file__)))


def _train(arguments, data, folder):
    from longspan.training.loop import TrainingStopped
    from longspan.training.run import train_run

    held_out = None
    if arguments.guard:
        held_out = WindowStore({"held_out": (arguments.held_out_tokens, arguments.held_out_windows)})
    given = {name: getattr(arguments, name) for name in ("execution", "guard", "card", "threads")}
    try:
        train_run(
            folder, data, arguments.model, held_out=held_out, code_digest=code_digest(Path(__file__)), **given
        )
    except TrainingStopped as stopped:
        if is_first_process():
            print(f"train: {stopped}", file=sys.stderr)
        sys.exit(STOPPED)


if __name__ == "__main__":
    run_script(main)
