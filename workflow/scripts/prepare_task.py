"""Make what a fixed evaluator says of the held-out windows, once for all models that a task measures.

    python workflow/scripts/prepare_task.py --task longppl --settings '{"short_context": 4096, …}' \
        --model results/models/llama3-8b/longspan.json \
        --tokens results/tokens/books/smollm2/held_out.parquet \
        --windows results/windows/books-8k/held_out.parquet \
        --documents results/corpora/books/documents/held_out.parquet \
        --prepared results/tasks/key/books-8k.parquet
"""

from pathlib import Path

from longspan.evaluation.task import EVALUATION_TASKS
from longspan.models.folders import read_manifest
from longspan.models.loading import load_model, pick_device
from longspan.plugins.options import own_options
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.shards import HELD_OUT
from longspan.store.tables import write_table
from longspan.windows.shard import Shard


def main(argv=None):
    """Write the task's table of the windows."""
    parser = parser_for(__doc__)
    parser.add_argument("--task", required=True, help="task of evaluation")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the evaluator")
    parser.add_argument("--tokens", type=Path, required=True, help="table of held-out tokens")
    parser.add_argument("--windows", type=Path, required=True, help="table of held-out windows")
    parser.add_argument("--documents", type=Path, required=True, help="table of held-out documents")
    parser.add_argument("--prepared", required=True, help="table to write")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args(argv)
    settings, kind = arguments.settings, EVALUATION_TASKS[arguments.task]
    task = kind(**own_options(kind, settings))

    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    manifest, folder = read_manifest(arguments.model), arguments.model.parent
    shard = Shard(HELD_OUT, arguments.windows, tokens=arguments.tokens, documents=arguments.documents)
    shard.open_tokens()
    forward = {key: settings[key] for key in ("dtype", "attention", "compile_layers", "rope_theta")}
    evaluator = load_model(folder, **forward, device=pick_device()).eval()
    write_table(
        arguments.prepared,
        task.prepared_table,
        task.prepare(evaluator, folder, shard, seed=settings["seed"]),
        settings=settings,
        inputs={"model": manifest["digest"], "windows": shard.windows_digest},
        tokenizer=shard.tokenizer,
        code_digest=code_digest(Path(__file__), EVALUATION_TASKS.source_file(task.name)),
    )


if __name__ == "__main__":
    run_script(main)
