"""Tasks whose prompts are made once for a tokenizer, a length and a seed, and then given to every model.

A row of prompts (table kind `task_inputs`) is one sample:

====================  ==================================================================================
sample_id             its name, unique over all lengths of an evaluation
group                 samples that are averaged together: a subtask, say
document_id           held-out work that it is made of, if any: what a bootstrap draws
length                bound of its tokens, prompt and answer together: a value of the grid of lengths
depth                 share of the haystack before the evidence, a value of a grid; null without
distance              tokens from the evidence to the answer, a value of a grid; null without
prompt_ids            the prompt
control_ids           the same prompt without its evidence, for a task that compares the two; else null
candidate_ids         answers whose log-likelihood is taken: the right one first, then foils; may be empty
answers               texts that are right, for a task that scores what a model writes
evidence_starts       first token of each piece of evidence in prompt_ids
evidence_stops        the token behind each of them
new_tokens            most tokens that the model writes; 0 lets it write nothing
====================  ==================================================================================

A row of answers (table kind `answers`) has the first six columns again, and

====================  ==================================================================================
nll                   negative log-likelihood of each candidate behind prompt_ids: nats, sum over its tokens
tokens                tokens of each candidate
control_nll           as nll, behind control_ids; null without
text                  what the model wrote, greedily; null if it was to write nothing
stop                  why it stopped: "end" (a token that ends a text), "text" (one of `stops`), "length"
score                 from 0 to 1, by the task; null if it gives none
====================  ==================================================================================
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictInt

from longspan.evaluation.prompts import PromptTokenizer
from longspan.evaluation.task import EvaluationTask
from longspan.plugins.options import option

if TYPE_CHECKING:
    from longspan.corpora.documents import Document
    from longspan.evaluation.answers import AnsweringModel
    from longspan.evaluation.samples import Sample

Length = Annotated[StrictInt, Field(ge=8)]


@dataclass(frozen=True)
class TaskSources:
    """What prompts are made of.

    Attributes:
        tokenizer: tokenizer of the models that are measured.
        documents: held-out works, for a task that `reads_documents`; empty for others.
        archives: files of the task's `archives`, by their names.
    """

    tokenizer: PromptTokenizer
    documents: "Sequence[Document]" = ()
    archives: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What one length of a task asks of a model.

    Attributes:
        samples: number of samples.
        passes: sequences of that length that a sample is read as.
        new_tokens: tokens that a model writes for a sample, at most.
    """

    samples: int
    passes: float = 1.0
    new_tokens: int = 0


class GeneratedTask(EvaluationTask):
    """A task over prompts that rule make_task makes once and all models answer.

    A task defines `make_inputs`, `cost`, and `score` if it gives scores; the rest is done for it:
    log-likelihoods of candidates with and without the evidence, greedy answers, batches, devices, and going
    on after a kill.

    Attributes:
        grid: column by which reports set samples apart: "length", or "distance".
        stops: texts at which a model's writing ends; one that stands before any other character but white
            space does not count.
        measuring_options: options that change no prompt, only which lengths there are and how models answer.
    """

    reads: ClassVar[Literal["inputs"]] = "inputs"
    lengths_are_a_grid: ClassVar[bool] = True
    grid: ClassVar[Literal["length", "distance"]] = "length"
    table: ClassVar[str] = "answers"
    stops: ClassVar[tuple[str, ...]] = ()
    measuring_options: ClassVar[tuple[str, ...]] = ("lengths", "tokens_per_batch")

    lengths: list[Length] | None = option(
        None,
        "Lengths of prompts, their answers included (tokens); null is the length of the run's windows.",
        min_length=1,
    )
    tokens_per_batch: int = option(
        32768,
        "Tokens of prompts that go through the model at once; one prompt at least. Results change with it by "
        "rounding.",
        ge=1,
    )

    # What prompts are made of

    def input_lengths(self, window_tokens: int) -> list[int]:
        """Lengths that there are tables of, for a run whose windows have so many tokens."""
        return sorted(set(self.lengths or [window_tokens]))

    def making_options(self, *left_out: str) -> dict[str, Any]:
        """The options that prompts depend on, without some keys of a block around them."""
        return self.as_settings(*self.measuring_options, *left_out)

    def make_inputs(self, sources: TaskSources, *, length: int, seed: int) -> Iterable[Mapping]:
        """Rows of prompts of one length, without its column `length`.

        The same arguments give the same rows. A sample should depend on its own name and the seed alone, so
        that more samples leave the others as they are. Left out of a row, `document_id`, `depth`, `distance`
        and `control_ids` are null, `candidate_ids`, `answers`, `evidence_starts` and `evidence_stops` empty,
        and `new_tokens` is 0. No prompt is ever cut: one that does not fit, with its longest candidate or
        its new tokens, into `length` is an error, raised by the caller.

        Args:
            sources: tokenizer, works and archives.
            length: most tokens of a prompt and its answer.
            seed: derived from the root seed and the evaluation's name; a task that must follow another
                program's seed has an option for it instead.

        Raises:
            ValueError: prompts of this length cannot be made; saying why, and what would do.
        """
        raise NotImplementedError

    # What models answer

    def score(self, sample: "Sample", nll: Sequence[float], text: str | None) -> float | None:
        """Score of a sample from 0 to 1, or None.

        Args:
            sample: the row of prompts.
            nll: of each candidate (nats, sum over its tokens).
            text: what the model wrote, or None.
        """
        return None

    def answer(self, model: "AnsweringModel", samples: "Sequence[Sample]") -> list[dict]:
        """Rows of answers of a batch of samples, in their order.

        Raises:
            ValueError: the model gives no finite numbers; naming the sample.
        """
        from longspan.evaluation.answers import answer_samples

        return answer_samples(self, model, samples)

    # Reports

    def values(self, rows):
        """Of each sample those of the task's `measures` that have one of these names.

        - "score": the score.
        - "nll": NLL of the right answer a token, weighed by its tokens.
        - "gain": what the evidence adds to the log-likelihood of the right answer, a token, weighed as well.
        - "margin": log-likelihood of the right answer over that of the likeliest foil.
        """
        import pandas as pd

        tokens = rows["tokens"].str[0].astype(float)
        nll, control = rows["nll"].str[0].astype(float), rows["control_nll"].str[0].astype(float)
        foils = pd.Series([min(values[1:], default=float("nan")) for values in rows["nll"]], rows.index)
        one = pd.Series(1.0, rows.index)
        found = {
            "score": (rows["score"].astype(float), one),
            "nll": (nll / tokens, tokens),
            "gain": ((control - nll) / tokens, tokens),
            "margin": (foils - nll, one),
        }
        table = {
            "sample": rows["sample_id"],
            "cluster": rows["document_id"].fillna(rows["sample_id"]),
            "group": rows["group"],
            "length": rows[self.grid],
        }
        parts = [
            pd.DataFrame({"measure": measure.name, **table, "value": value, "weight": weight})
            for measure in self.measures
            if measure.name in found
            for value, weight in [found[measure.name]]
        ]
        return pd.concat([part[part["value"].notna()] for part in parts], ignore_index=True)

    def summary(self, base, trained):
        """Mean score, or else NLL of the right answer a token, by group and grid, before and after."""
        import pandas as pd

        tables = [pd.DataFrame(rows) for rows in (base, trained)]
        column = "score" if tables[0]["score"].notna().any() else "nll a token"
        for table in tables:
            table["nll a token"] = [
                nll[0] / tokens[0] if len(nll) else float("nan")
                for nll, tokens in zip(table["nll"], table["tokens"], strict=True)
            ]
        means = [table.groupby(["group", self.grid], sort=True)[column].mean() for table in tables]
        lines: dict[str, list[str]] = {}
        for (group, length), before in means[0].items():
            after = means[1][group, length]
            lines.setdefault(group, []).append(f"{length}: {before:.3f} → {after:.3f}")
        found = [
            (f"{self.name} {group}, {column}", f"{', '.join(parts)} ({len(base)} samples)")
            for group, parts in lines.items()
        ]
        empty = [sum(row["text"] == "" for row in rows) for rows in (base, trained)]
        if any(empty):
            found.append((f"{self.name}, empty answers", f"{empty[0]} → {empty[1]} of {len(base)}"))
        return found

    def draw(self, axes, tables):
        """Mean score, or else NLL of the right answer a token, by the grid."""
        for name, rows in tables.items():
            values = rows["score"]
            if values.isna().all():
                values = rows["nll"].str[0] / rows["tokens"].str[0]
            means = values.groupby(rows[self.grid]).mean()
            axes.plot(means.index, means, marker="o", label=name)
        axes.set(xlabel=f"{self.grid} (tokens)", ylabel=self.label, xscale="log")
        axes.legend()

    # Costs

    def cost(self, length: int) -> Cost:
        """What the samples of one length ask of a model."""
        raise NotImplementedError

    def windows_measured(self, held_out, works):
        """None: it measures on no windows."""
        return None

    def tokens_measured(self, windows, window_tokens):
        """Tokens that a model reads and writes."""
        found = 0.0
        for length in self.input_lengths(window_tokens):
            cost = self.cost(length)
            found += cost.samples * (cost.passes * length + cost.new_tokens)
        return found

    def needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """A pass over each sequence, and a step for each token that is written, in batches."""
        from longspan.costs.needs import answering_needs

        costs = {length: self.cost(length) for length in self.input_lengths(window_tokens)}
        return answering_needs(
            shape,
            {length: (cost.samples, cost.passes, cost.new_tokens) for length, cost in costs.items()},
            tokens_per_batch=self.tokens_per_batch,
            dtype=dtype,
            device_flops=device_flops,
        )


def input_rows(task: GeneratedTask, sources: TaskSources, *, length: int, seed: int) -> Iterator[dict]:
    """Rows of a task's prompts of one length, each checked.

    Raises:
        ValueError: there is none, one is named twice, asks for nothing, or would have to be cut.
    """
    names: set[str] = set()
    for made in task.make_inputs(sources, length=length, seed=seed):
        row = _EMPTY | {"length": length} | dict(made)
        _require_whole(row, names, length)
        yield row
    if not names:
        raise ValueError(f"task {task.name} makes no sample of {length} tokens; raise its number of samples")


_EMPTY = {
    "document_id": None,
    "depth": None,
    "distance": None,
    "control_ids": None,
    "candidate_ids": (),
    "answers": (),
    "evidence_starts": (),
    "evidence_stops": (),
    "new_tokens": 0,
}


def _require_whole(row: Mapping, names: set[str], length: int) -> None:
    name = row["sample_id"]
    if name in names:
        raise ValueError(f"sample {name} is there twice; give each a name of its own")
    names.add(name)
    candidates = [len(ids) for ids in row["candidate_ids"]]
    if not candidates and not row["new_tokens"]:
        raise ValueError(f"sample {name} has neither an answer to score nor new tokens to write")
    if 0 in candidates or not len(row["prompt_ids"]):
        raise ValueError(f"sample {name} has an empty prompt or answer")
    prompts = [ids for ids in (row["prompt_ids"], row["control_ids"]) if ids is not None]
    needed = max(map(len, prompts)) + max([*candidates, row["new_tokens"]])
    if needed > length:
        raise ValueError(
            f"sample {name} needs {needed} tokens with its answer, and its length is {length}: it would be "
            "cut; raise lengths"
        )
    starts, stops = row["evidence_starts"], row["evidence_stops"]
    if not all(
        0 <= start < stop <= len(row["prompt_ids"]) for start, stop in zip(starts, stops, strict=True)
    ):
        raise ValueError(f"sample {name} has evidence outside its prompt")
