"""Measure a model by a task of evaluation.

    python workflow/scripts/evaluate.py --task position_nll --settings '{"position_bins": 8, …}' \
        --model results/runs/main/dense/seed0/model/longspan.json \
        --tokens results/tokens/books/llama/held_out.parquet \
        --windows results/windows/books-2k/held_out.parquet \
        --evaluation results/evaluations/main/dense/seed0/position_nll.parquet

A task over prompts gets --inputs results/tasks/needle/llama/4096.parquet … instead of tokens and windows. It
goes on after a kill, and torchrun shares its samples over several processes.
"""

import os
from pathlib import Path

from longspan.evaluation.answering import answer_all
from longspan.evaluation.answers import AnsweringModel
from longspan.evaluation.prompts import PromptTokenizer
from longspan.evaluation.samples import PromptTables
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.models.folders import read_manifest
from longspan.models.loading import load_model, pick_device
from longspan.plugins.options import own_options
from longspan.process.command_line import parser_for, run_script
from longspan.process.ranks import join_processes, process_count
from longspan.scoring.vocabulary import require_embeddings
from longspan.store.code import code_digest
from longspan.store.tables import digest_file, digest_of, read_table, require_same, write_table
from longspan.windows.store import WindowStore


def main(argv=None):
    """Write the task's rows."""
    parser = parser_for(__doc__)
    parser.add_argument("--task", required=True, help="task of evaluation")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model")
    parser.add_argument("--tokens", nargs="?", type=Path, help="table of held-out tokens")
    parser.add_argument("--windows", nargs="?", type=Path, help="table of held-out windows")
    parser.add_argument("--inputs", nargs="*", type=Path, default=[], help="tables of prompts, one a length")
    parser.add_argument("--prepared", help="table that the task's evaluator made of the windows")
    parser.add_argument("--evaluation", required=True, help="table to write")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args(argv)
    settings, kind = arguments.settings, EVALUATION_TASKS[arguments.task]
    task = kind(**own_options(kind, settings))
    # Before the packages that look at it are imported.
    os.environ.update(task.environment)

    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    join_processes(process_count())
    manifest = read_manifest(arguments.model)
    about = {
        "settings": settings,
        "code_digest": code_digest(Path(__file__), EVALUATION_TASKS.source_file(task.name)),
    }
    forward = {key: settings[key] for key in ("dtype", "attention", "compile_layers", "rope_theta")}

    def load():
        return load_model(arguments.model.parent, **forward, device=pick_device()).eval()

    task.require_ready()
    if task.reads == "inputs":
        samples, tokenizer = PromptTables(arguments.inputs), PromptTokenizer(arguments.model)
        samples.require_model(arguments.model, tokenizer.identity)
        answer_all(
            task,
            samples,
            lambda: AnsweringModel(load(), tokenizer, tokens_per_batch=task.tokens_per_batch),
            arguments.evaluation,
            **about,
            inputs={"model": manifest["digest"]} | samples.digests,
            tokenizer=samples.tokenizer,
        )
        return
    if task.reads == "model":
        rows = task.measure(load(), arguments.model, seed=settings["seed"])
        task.require_columns(rows)
        files = [digest_file(path) for path in task.files]
        write_table(
            arguments.evaluation,
            task.table,
            rows,
            **about,
            inputs={"model": manifest["digest"], "files": digest_of(files)},
        )
        return
    windows = WindowStore({"held_out": (arguments.tokens, arguments.windows)})
    windows.require_tokenizer(manifest["tokenizer"]["identity"], arguments.model)
    require_embeddings(arguments.model, [arguments.tokens], windows)
    digests = {"model": manifest["digest"], "windows": windows.windows_digests["held_out"]}
    prepared = {}
    if arguments.prepared is not None:
        table, made = read_table(arguments.prepared, task.prepared_table)
        require_same(
            "windows",
            digests["windows"],
            made.inputs["windows"],
            where=arguments.prepared,
            rule="prepare_task",
        )
        prepared, digests["prepared"] = {"prepared": table.to_pylist()}, made.data_digest
    rows = task.measure(load(), windows, seed=settings["seed"], **prepared)
    task.require_columns(rows)
    write_table(
        arguments.evaluation,
        task.table,
        rows,
        **about,
        inputs=digests,
        tokenizer=windows.tokenizer,
    )


if __name__ == "__main__":
    run_script(main)
