"""Answer all samples of an evaluation, by any number of processes, and go on after a kill.

A batch is what is answered together, and what is written together: the same batches whoever answers them, so
that one process, several, and one that was killed and went on all write the same bytes.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from longspan.evaluation.answers import AnsweringModel
from longspan.evaluation.generated import GeneratedTask
from longspan.evaluation.samples import PromptTables
from longspan.process.ranks import barrier, decided_by_first, is_first_process, process_count, process_number
from longspan.store.resumable import ResumableTable


class AnswerTable(ResumableTable):
    """Answers of one model to the samples of an evaluation."""

    made = "answered"
    anew = "its samples are answered anew"


def answer_all(
    task: GeneratedTask,
    samples: PromptTables,
    load: Callable[[], AnsweringModel],
    path: Path | str,
    **manifest,
) -> None:
    """Write the table of a model's answers; each process that torchrun started answers a share of them.

    Args:
        task: what is asked.
        samples: the prompts.
        load: loads the model; called only if an answer is missing.
        path: table to write.
        manifest: settings, inputs, tokenizer and code_digest, as for `ResumableTable`.

    Raises:
        ValueError: another process writes the table, a model's numbers are not finite, or all that it writes
            is empty.
    """

    def table(helper: int = 0) -> ResumableTable:
        return AnswerTable(path, task.table, digests=dict.fromkeys(samples.ids), helper=helper, **manifest)

    with contextlib.ExitStack() as stack:
        first: list[ResumableTable] = []

        def open_first() -> set[str]:
            first.append(stack.enter_context(table()))
            return {name for name in samples.ids if name in first[0]}

        answered = decided_by_first(open_first)
        missing = [
            batch for batch in samples.batches(task.tokens_per_batch) if not answered.issuperset(batch)
        ]
        own = missing[process_number() :: process_count()]
        if own and is_first_process():
            first[0].extend(_answers(task, samples, load(), own))
        elif own:
            with table(process_number()) as helper:
                helper.extend(_answers(task, samples, load(), own))
        barrier()
        if is_first_process():
            first[0].take_from_helpers()
            _require_words(samples, first[0])
            print(f"{path}: {first[0].finish()} of {len(samples.ids)} samples are answered")


def _answers(
    task: GeneratedTask, samples: PromptTables, model: AnsweringModel, batches: list[list[str]]
) -> Iterator[list[dict]]:
    total = sum(map(len, batches))
    with tqdm(desc=task.name, total=total, unit="sample", mininterval=2) as progress:
        for batch in batches:
            yield task.answer(model, [samples[name] for name in batch])
            progress.update(len(batch))


def _require_words(samples: PromptTables, table: ResumableTable) -> None:
    """Refuse a model that writes nothing to any sample: its prompts end where a text does."""
    rows = {row["sample_id"]: row for row in table.rows.select(["sample_id", "text", "stop"]).to_pylist()}
    written = [rows[name] for name in samples.ids if rows[name]["text"] is not None]
    if written and not any(row["text"].strip() for row in written):
        name, stop = written[0]["sample_id"], written[0]["stop"]
        ends = "with a token that ends a text" if stop == "end" else "with nothing but white space"
        raise ValueError(
            f"the model answers {ends} to each of {len(written)} prompts, {name} first: they do not end as "
            "its prompts do; try another form of them (prompt), or another model"
        )
