"""Make the prompts of one length of a task of evaluation, which all models with one tokenizer answer.

    python workflow/scripts/make_task.py --task needle --settings '{"samples": 20, "seed": 1, …}' \
        --length 4096 --model results/models/llama/longspan.json \
        --documents results/corpora/books/documents/held_out.parquet \
        --inputs results/tasks/needle/llama/4096.parquet
"""

from pathlib import Path

from longspan.corpora.documents import Document
from longspan.evaluation.generated import TaskSources, input_rows
from longspan.evaluation.prompts import PromptTokenizer
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.plugins.options import own_options
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.tables import TableWriter, digest_file, read_table


def main(argv=None):
    """Write the prompts."""
    parser = parser_for(__doc__)
    parser.add_argument("--task", required=True, help="task of evaluation")
    parser.add_argument("--length", type=int, required=True, help="tokens of a prompt and its answer")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model with the tokenizer")
    parser.add_argument("--documents", nargs="?", type=Path, help="table of held-out works")
    parser.add_argument("--archives", nargs="*", type=Path, default=[], help="archives that the task needs")
    parser.add_argument("--inputs", type=Path, required=True, help="table to write")
    arguments = parser.parse_args(argv)
    settings, kind = arguments.settings, EVALUATION_TASKS[arguments.task]
    task = kind(**own_options(kind, settings))

    inputs, documents = {}, []
    if arguments.documents is not None:
        table, manifest = read_table(arguments.documents, "documents")
        documents = [Document(**row) for row in table.to_pylist()]
        inputs["documents"] = manifest.data_digest
    inputs |= {f"archives/{path.name}": digest_file(path) for path in arguments.archives}
    tokenizer = PromptTokenizer(arguments.model)
    sources = TaskSources(tokenizer, documents, {path.name: path for path in arguments.archives})
    with TableWriter(
        arguments.inputs,
        "task_inputs",
        settings=settings | {"task": task.name, "length": arguments.length},
        inputs=inputs,
        tokenizer=tokenizer.identity,
        code_digest=code_digest(Path(__file__), EVALUATION_TASKS.source_file(task.name)),
    ) as writer:
        for row in input_rows(task, sources, length=arguments.length, seed=settings["seed"]):
            writer.append(row, len(row["prompt_ids"]))
    print(f"{arguments.inputs}: {writer.rows} samples of at most {arguments.length} tokens")


if __name__ == "__main__":
    run_script(main)
