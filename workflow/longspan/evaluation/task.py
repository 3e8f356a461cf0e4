"""What a task of evaluation is: a plug-in that measures a model on what was held out."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from longspan.plugins.registry import PlugInKind
from longspan.plugins.tables import WithTable
from longspan.store.contracts import CONTRACTS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    from longspan.corpora.source import SourceKind
    from longspan.costs.needs import Needs
    from longspan.costs.shape import DecoderShape
    from longspan.windows.shard import Shard
    from longspan.windows.store import WindowStore


@dataclass(frozen=True)
class Measure:
    """A number that a task gives of a model: a weighted mean over samples.

    Attributes:
        name: what tables call it.
        label: what it is, in words, with its unit.
        higher_is_better: whether a larger number is the better model.
        exponential: whether the number is exp of the mean, as a perplexity is of NLLs. Values stay in nats:
            means, intervals and differences are taken of them, and exp at the end.
    """

    name: str
    label: str
    higher_is_better: bool
    exponential: bool = False


class EvaluationTask(WithTable):
    """A way to measure a base or trained model; its fields are its options.

    The same rows are measured for every model, so that any two can be compared pair by pair. `measure` gives
    the rows of the task's table. `values` says what of these rows is a number of a sample; from there, and
    from the class's attributes, means, intervals, differences, the table of all evaluations and the verdict
    are made, the same way for every task (:mod:`longspan.evaluation.statistics`).

    A task over prompts that are made first derives from
    :class:`longspan.evaluation.generated.GeneratedTask`.

    Attributes:
        label: what it measures, with its unit.
        measures: the numbers that it gives. The verdict goes by the first that there are samples of.
        lengths_are_a_grid: whether the samples were made at a few lengths, so that the area under the
            curve over lengths means something.
        prepared_table: kind of the table that it makes once of the held-out windows by a fixed model, its
            evaluator, and measures every model with; None where it makes none. A task that makes one has the
            setting `evaluator`, a name under models, and the method `prepare`.
        is_guard: whether it measures what a training must not lose (short context, knowledge), rather than
            what it should gain. A verdict tells of a guard only that it was lost.
        reads: what it measures on: the run's held-out "windows", or "inputs", tables of prompts that rule
            make_task makes; a task that reads "model" brings its own data.
        reads_documents: whether its prompts are made of held-out works.
    """

    label: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]]
    lengths_are_a_grid: ClassVar[bool] = False
    prepared_table: ClassVar[str | None] = None
    is_guard: ClassVar[bool] = False
    reads: ClassVar[Literal["windows", "inputs", "model"]] = "windows"
    reads_documents: ClassVar[bool] = False

    @property
    def archives(self) -> "Sequence[SourceKind]":
        """Archives that it needs, each as a source of texts that is fetched and checked."""
        return ()

    def check_window(self, window_tokens: int) -> None:
        """Refuse windows that it cannot measure on, before any job starts.

        Raises:
            ValueError: saying why, and what would do.
        """

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of its job."""
        return {}

    @property
    def files(self) -> Sequence[str]:
        """Files of the user that it reads beside what the settings name."""
        return ()

    def require_ready(self) -> None:
        """Refuse what it cannot measure by, in its job, before the model is loaded.

        Raises:
            ValueError: saying what is missing, and what to do.
        """

    def prepare(self, evaluator: Any, folder: "Path", shard: "Shard", *, seed: int) -> list[dict]:
        """Rows of `prepared_table`, made once of the held-out windows, for all models.

        Args:
            evaluator: a Hugging Face causal language model, in evaluation mode on its device.
            folder: its folder, where its tokenizer is.
            shard: the held-out windows, with tokens and documents.
            seed: what a draw depends on, beside the ids; that of `measure`.

        Raises:
            ValueError: there is nothing to measure on.
        """
        raise NotImplementedError

    def measure(self, model: Any, windows: "WindowStore", *, seed: int) -> list[dict]:
        """Rows of the task's table.

        A task with a `prepared_table` is given its rows too, as `prepared`, a list of mappings.

        Args:
            model: a Hugging Face causal language model, in evaluation mode on its device.
            windows: the held-out windows; for a task that reads "model" the path of the model's manifest.
            seed: what a draw depends on, beside the ids.

        Raises:
            ValueError: there is nothing to measure on.
        """
        raise NotImplementedError

    def require_columns(self, rows: Sequence[Mapping]) -> None:
        """Refuse rows of `measure` that do not have the columns of the task's table.

        Raises:
            ValueError: naming the columns.
        """
        contract = CONTRACTS[self.table]
        known = set(contract.columns.names)
        keys = {key for row in rows for key in row}
        lacking = {key for row in rows for key in known - contract.optional - row.keys()}
        faults = [f"lack {', '.join(sorted(lacking))}"] if lacking else []
        faults += [f"have {', '.join(sorted(keys - known))}, no columns of its table"] if keys - known else []
        if faults:
            raise ValueError(f"rows of task '{self.name}' {' and '.join(faults)}")

    @abstractmethod
    def values(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """What of the task's rows is a number of a sample: the one input of all statistics.

        Args:
            rows: the task's table of one model, with the columns of its contract.

        Returns:
            A row for each number, in any order, with the columns

            - `measure`, str: name of one of `measures`.
            - `sample`, str: what is paired between models. The same samples, with the same cluster, group,
              length and weight, come out of every model's rows; none stands twice in a measure.
            - `cluster`, str: what samples are drawn by when intervals are made, since those of one cluster
              are not independent: the document that they were cut from, or the sample itself.
            - `group`, str: part of the samples that gets a line of its own: a category, a kind of question;
              "" for none.
            - `length`, float64: tokens of context that the number was taken at: a prompt's length, the
              distance of the evidence, the position in the window; NaN where it has none. Lengths of the
              short context and less, and those beyond, are told apart.
            - `value`, float64: the number, finite. Nats a token; 1 or 0 for right or wrong; a score.
            - `weight`, float64: its weight in means, at least 0: tokens that a mean NLL is of, else 1. It
              must not depend on the model.
        """
        raise NotImplementedError

    def checked_values(self, rows: "pd.DataFrame", where: Any) -> "pd.DataFrame":
        """`values`, refused if they are not what that method promises; indexed by measure and sample.

        Args:
            rows: as in `values`.
            where: what errors name, say the table's path.

        Raises:
            ValueError: naming what is wrong.
        """
        found = self.values(rows)
        if lacking := [name for name in VALUE_COLUMNS if name not in found]:
            raise ValueError(f"{where}: values of task '{self.name}' lack {', '.join(lacking)}")
        found = found[list(VALUE_COLUMNS)].astype(dict.fromkeys(("length", "value", "weight"), np.float64))
        known = [measure.name for measure in self.measures]
        if unknown := set(found["measure"]) - set(known):
            raise ValueError(
                f"{where}: task '{self.name}' has no measure '{min(unknown)}', only {', '.join(known)}"
            )
        numbers = found[["value", "weight"]]
        bad = ~np.isfinite(numbers).all(axis=1) | (found["weight"] < 0)
        if bad.any():
            first = found[bad].iloc[0]
            raise ValueError(
                f"{where}: {first['measure']} of sample {first['sample']} is {first['value']} with weight "
                f"{first['weight']}; delete the table and run the same target again"
            )
        found = found.set_index(["measure", "sample"]).sort_index()
        if found.index.has_duplicates:
            measure, sample = found.index[found.index.duplicated()][0]
            raise ValueError(f"{where}: sample {sample} stands twice in {measure} of task '{self.name}'")
        return found

    @abstractmethod
    def summary(self, base: Sequence[Mapping], trained: Sequence[Mapping]) -> list[tuple[str, str]]:
        """(quantity, value) of the summary's lines, from the rows of base and trained model."""
        raise NotImplementedError

    @abstractmethod
    def draw(self, axes: "Axes", tables: "Mapping[str, pd.DataFrame]") -> None:
        """Draw the tables of several models, by their names, into one panel."""
        raise NotImplementedError

    def windows_measured(self, held_out: float | None, works: int | None) -> float | None:
        """Windows that it measures on, of so many held-out windows and works; None if that is not known."""
        return held_out

    def tokens_measured(self, windows: float | None, window_tokens: int) -> float | None:
        """Tokens that a model reads, on so many windows; None if that is not known."""
        return None if windows is None else windows * window_tokens

    def preparation_needs(
        self,
        shape: "DecoderShape",
        windows: float | None,
        *,
        window_tokens: int,
        dtype: str,
        compile_layers: bool,
        device_flops: float,
    ) -> "Needs":
        """What the job needs that makes its `prepared_table` by a model of this shape."""
        raise NotImplementedError

    def needs(
        self,
        shape: "DecoderShape",
        windows: float | None,
        *,
        window_tokens: int,
        dtype: str,
        compile_layers: bool,
        device_flops: float,
    ) -> "Needs":
        """What a job needs that measures on so many windows; None windows are unknown."""
        from longspan.costs.needs import forward_needs

        return forward_needs(
            shape,
            shape.forward_flops(window_tokens),
            windows,
            window_tokens,
            dtype=dtype,
            compile_layers=compile_layers,
            device_flops=device_flops,
        )


VALUE_COLUMNS = ("measure", "sample", "cluster", "group", "length", "value", "weight")
"""Columns of `EvaluationTask.values`."""

EVALUATION_TASKS = PlugInKind(
    what="evaluation task",
    package="longspan.evaluation.tasks",
    group="longspan.evaluation_tasks",
    base=EvaluationTask,
)
