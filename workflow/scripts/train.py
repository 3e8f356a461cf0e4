"""Train a causal LM on the selected windows under a token-weighted loss.

    python workflow/scripts/train.py --settings '{"loss": {"variant": "dense"}, "train": {…}, …}' \
        --execution '{"processes": 1}' --model results/models/llama/longspan.json \
        --tokens results/tokens/books/llama --windows results/windows/books-2k --shards 2 \
        --selection results/selections/best.parquet --index results/scores/books-2k/short/index.parquet \
        --run-folder results/runs/main/dense/seed0
    torchrun --standalone --nproc-per-node 2 workflow/scripts/train.py --execution '{"processes": 2}' …

A stopped training goes on from its last checkpoint; a finished one of the same settings and data is kept.
SIGTERM and SIGUSR1 save its state and end it with exit status 75 (under torchrun, with 1).
"""

import contextlib
import os
import sys
from pathlib import Path

from longspan.artifacts import write_table
from longspan.command_line import json_object, parser_for, run_script
from longspan.evaluation import choose_windows
from longspan.locks import exclusive_lock
from longspan.model_card import model_card
from longspan.model_folders import copy_tokenizer, empty_folder, finish_model, read_manifest
from longspan.packed_documents import PackedDocuments
from longspan.processes import decided_by_first, is_first_process, join_processes, processes_here
from longspan.run_folders import RunFolder
from longspan.score_index import IndexedScores
from longspan.training_rows import TrainingRows
from longspan.training_windows import TrainingWindows
from longspan.window_store import WindowStore, kept_ids
from longspan_workflow.code_digests import code_digest, stage_version
from longspan_workflow.shards import shard_files

STOPPED = os.EX_TEMPFAIL  # run again


def main(argv=None):
    """Write the trained model, its metrics and, last, its settings."""
    parser = parser_for(__doc__)
    parser.add_argument("--execution", type=json_object, default={}, help="how it runs, as JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the base model")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of tables of tokens")
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--selection", help="train on the windows that it keeps; otherwise on all")
    parser.add_argument("--index", type=Path, help="index beside the frozen scores, if the loss uses them")
    parser.add_argument("--run-folder", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--short",
        action="append",
        nargs=3,
        default=[],
        metavar=("CORPUS", "TOKENS", "SHARDS"),
        help="short documents of the mixture: folder of tables of tokens, and their number",
    )
    parser.add_argument("--guard", type=json_object, help="held-out windows to score in its course")
    parser.add_argument("--held-out-tokens", type=Path, help="their table of tokens")
    parser.add_argument("--held-out-windows", type=Path, help="their table of windows")
    parser.add_argument("--card", type=json_object, help="origin of model and texts for the model's card")
    parser.add_argument("--threads", type=int, help="CPU threads, of all processes of a node")
    arguments = parser.parse_args(argv)
    settings = arguments.settings
    join_processes(arguments.execution.get("processes", 1))

    base = read_manifest(arguments.model)
    windows = _windows(arguments)
    windows.require_tokenizer(base["tokenizer"]["identity"], arguments.model)
    dataset = _dataset(arguments, windows)
    short = _short(arguments, windows)
    identity = decided_by_first(
        lambda: {
            "settings": settings,
            "stage_version": stage_version("training"),
            "inputs": {"model": base["digest"], "data": dataset.digest()}
            | {
                f"{corpus}/{shard}": digest
                for corpus, source in short.items()
                for shard, digest in source.tokens_digests.items()
            },
        }
    )
    folder = RunFolder(arguments.run_folder, identity)
    with contextlib.ExitStack() as held:
        decided_by_first(lambda: held.enter_context(exclusive_lock(folder.lock)) or True)
        if decided_by_first(folder.is_finished):
            if is_first_process():
                print(f"{arguments.run_folder}: trained before with the same settings on the same data")
            return
        decided_by_first(folder.start)
        weighted, log = _train(arguments, windows, dataset, short, folder)

        decided_by_first(lambda: empty_folder(folder.model))
        _save(weighted, folder)
        if not is_first_process():
            return
        copy_tokenizer(arguments.model.parent, folder.model)
        if arguments.card:
            facts = {"windows": len(dataset), "window_tokens": windows.window_tokens, "identity": identity}
            (folder.model / "README.md").write_text(model_card(**arguments.card, **facts))
        finish_model(folder.model, source={"kind": "run", **identity}, license=base["license"])
        origin = {
            "settings": settings,
            "inputs": identity["inputs"],
            "stage_version": identity["stage_version"],
            "code_digest": code_digest("train"),
        }
        write_table(folder.metrics, "training_metrics", log.metrics, **origin)
        write_table(folder.speed, "training_speed", log.speed, **origin)
        write_table(folder.guard, "training_guard", log.guard, **origin)
        folder.finish(arguments.execution)


def _windows(arguments):
    tokens, tables = (
        shard_files(folder, arguments.shards) for folder in (arguments.tokens, arguments.windows)
    )
    return WindowStore({shard: (tokens[shard], tables[shard]) for shard in tokens})


def _dataset(arguments, windows):
    scores = None
    if arguments.index:
        files = shard_files(arguments.index.parent, arguments.shards)
        scores = IndexedScores(arguments.index, files, windows.windows_digests)
    data_ids = windows.data_ids
    if arguments.selection:
        data_ids = kept_ids([arguments.selection], windows.windows_digests)
    if not data_ids:
        raise ValueError("no window to train on: the selection keeps none; keep more, or add text")
    return TrainingWindows(windows, data_ids, scores)


def _short(arguments, windows):
    """Packed documents by corpus."""
    blocks = {source["corpus"]: source for source in arguments.settings.get("mixture", [])}
    packed = {}
    for corpus, folder, shards in arguments.short:
        packed[corpus] = PackedDocuments(
            corpus,
            shard_files(Path(folder), int(shards)),
            window_tokens=windows.window_tokens,
            document_tokens=blocks[corpus]["document_tokens"],
            bos_token_id=windows.bos_token_id,
            scored=arguments.index is not None,
        )
        for identity in packed[corpus].tokenizers:
            windows.require_tokenizer(identity, folder)
    return packed


def _train(arguments, windows, dataset, short, folder):
    import torch

    from longspan import document_attention
    from longspan.models import load_model
    from longspan.self_scoring import SelfScoring
    from longspan.training import Execution, TrainingStopped, train
    from longspan.weighted_loss import WeightedLM
    from longspan.weighting import weighting_from_settings

    if arguments.threads:
        torch.set_num_threads(max(1, arguments.threads // processes_here()))
    settings = arguments.settings
    forward = {key: settings[key] for key in ("attention", "rope_theta")}
    if short:
        forward["attention"] = document_attention.NAME
    model = load_model(arguments.model.parent, dtype="float32", **forward, device="cpu")
    loss = dict(settings["loss"])
    scoring = loss.pop("self_scoring", None)
    weighted = WeightedLM(
        model,
        weighting_from_settings(loss),
        self_scoring=scoring and SelfScoring(**scoring, bos_token_id=windows.bos_token_id),
        seed=settings["seed"],
    )
    execution = Execution(**arguments.execution, logging_folder=folder.logs)
    count = settings["train"]["max_steps"] * settings["train"]["windows_per_update"]
    shares = {f"short/{source['corpus']}": source["token_share"] for source in settings.get("mixture", [])}
    shares = {"long": 1 - sum(shares.values())} | shares
    sources = {"long": dataset} | {f"short/{corpus}": source for corpus, source in short.items()}
    rows = TrainingRows(sources, shares, count, settings["seed"])
    if is_first_process():
        print("epochs:", ", ".join(f"{name} {epochs:.2f}" for name, epochs in rows.epochs.items()))
    try:
        log = train(
            weighted,
            rows,
            folder.checkpoints,
            seed=settings["seed"],
            arguments=settings["train"],
            execution=execution,
            guard=_guard(arguments),
        )
    except TrainingStopped as stopped:
        if is_first_process():
            print(f"train: {stopped}", file=sys.stderr)
        sys.exit(STOPPED)
    return weighted, log


def _guard(arguments):
    from longspan.training import Guard

    if not arguments.guard:
        return None
    windows = WindowStore({"held_out": (arguments.held_out_tokens, arguments.held_out_windows)})
    chosen = choose_windows(
        windows.document_ids, arguments.guard["windows_per_document"], arguments.guard["seed"]
    )
    return Guard(TrainingWindows(windows, chosen, None), arguments.guard["eval_steps"])


def _save(weighted, folder):
    from longspan.training import save_weights

    save_weights(weighted, folder.model)


if __name__ == "__main__":
    run_script(main)
