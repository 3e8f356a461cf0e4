"""One table of all evaluations: means, and differences to base model and controls, with their intervals."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pandas as pd

from longspan.evaluation.statistics import Estimate, Samples, area, difference, holm, mean
from longspan.evaluation.task import EVALUATION_TASKS, EvaluationTask, Measure
from longspan.plugins.options import own_options
from longspan.store.tables import read_table

BASE = "base"
ALL, AREA = "all", "area over lengths"
COMPARED = (BASE, "plain", "shuffled", "random_windows")
_NUMBERS = ("mean", "low", "high")
COLUMNS = (
    *("run", "loss", "evaluation", "task", "measure", "group", "samples", "clusters", "seeds"),
    *_NUMBERS,
    "difference_unit",
    *(
        f"{other}_{number}"
        for other in COMPARED
        for number in ("difference", "difference_low", "difference_high", "p", "p_holm")
    ),
)


Reader = Callable[[str, str], tuple[EvaluationTask, pd.DataFrame]]


@dataclass(frozen=True)
class Difference:
    """A model's mean less that of another, over the same samples.

    Attributes:
        estimate: difference; of an exponential measure, of the means before exp.
        p_holm: p, adjusted for all comparisons of the evaluation in the same measure and group.
    """

    estimate: Estimate
    p_holm: float = math.nan


@dataclass(frozen=True)
class Row:
    """What one measure says of a run's loss over one group of samples.

    Attributes:
        run, loss: which model; the loss of the base model is `BASE`.
        evaluation: name of the evaluation.
        task: what it measures by.
        measure: which of its numbers.
        group: which samples: ALL, a group or length of the task, the short context or beyond, or AREA.
        mean: the number; of an exponential measure before exp.
        differences: by what it is compared with, of `COMPARED`.
        is_control: whether the model is a control.
    """

    run: str
    loss: str
    evaluation: str
    task: EvaluationTask
    measure: Measure
    group: str
    mean: Estimate
    differences: Mapping[str, Difference] = field(default_factory=dict)
    is_control: bool = False

    def cells(self) -> tuple[str, ...]:
        """Values of COLUMNS; empty where there is none."""
        estimate, exponential = self.mean, self.measure.exponential
        means = [estimate.value, estimate.low, estimate.high]
        cells = [self.run, self.loss, self.evaluation, self.task.name, self.measure.name, self.group]
        cells += [str(count) for count in (estimate.samples, estimate.clusters, estimate.seeds)]
        cells += [_exact(math.exp(number) if exponential else number) for number in means]
        cells.append("%" if exponential else "")
        for other in COMPARED:
            found = self.differences.get(other)
            numbers = [math.nan] * 5
            if found is not None:
                numbers = [*shown_difference(self.measure, found.estimate), found.estimate.p, found.p_holm]
            cells += [_exact(number) for number in numbers]
        return tuple(cells)


def shown_difference(measure: Measure, estimate: Estimate) -> tuple[float, float, float]:
    """A difference and its bounds as they are shown: of an exponential measure, the change in percent."""
    numbers = (estimate.value, estimate.low, estimate.high)
    return tuple(100 * math.expm1(number) for number in numbers) if measure.exponential else numbers


def context_groups(short_context: int) -> tuple[str, str]:
    """Names of the groups of samples within a short context, and beyond it."""
    return f"within {short_context} tokens", f"beyond {short_context} tokens"


def read_values(path: str, task: str) -> tuple[EvaluationTask, pd.DataFrame]:
    """The task that a table is of, with its options, and the values in it.

    Raises:
        ValueError: as `evaluation_rows`.
    """
    kind = EVALUATION_TASKS[task]
    table, manifest = read_table(path, kind.table)
    found = kind(**own_options(kind, manifest.settings))
    return found, found.checked_values(table.to_pandas(), path)


def evaluation_rows(evaluations: Iterable[Mapping], *, seed: int, read: Reader = read_values) -> list[Row]:
    """Rows of the table.

    Args:
        evaluations: blocks of `evaluation` (its name), `task`, `run`, `base` (the base model's table) and
            `models`: blocks of `run` and `loss`, `tables` by seed, `controls` (name → run and loss of another
            such block), `is_control`, `short_context` (tokens, or None).
        seed: of the bootstrap's draws.
        read: gives task and values of a table, as `read_values`.

    Raises:
        ValueError: a table that is missing or damaged, whose values are not what its task promises, or that
            is not of the same samples as the base model's.
    """
    read = cache(read)
    rows = [row for block in evaluations for row in _rows_of(block, read, seed)]
    return _with_holm(rows)


def _rows_of(block: Mapping, read: Reader, seed: int) -> Iterator[Row]:
    task, base = read(block["base"], block["task"])
    values = {
        (model["run"], model["loss"]): _same_samples(base, model["tables"], read, block)
        for model in block["models"]
    }
    contexts = {model["short_context"] for model in block["models"]} - {None}
    for measure in task.measures:
        own = base[base.index.get_level_values("measure") == measure.name]
        samples = {
            of: _samples(own, [found.loc[own.index, "value"] for found in tables])
            for of, tables in (values | {BASE: [base]}).items()
        }
        for group, mask_N in _groups(task, own, contexts):
            part = {of: found.part(mask_N) for of, found in samples.items()}
            name = {"evaluation": block["evaluation"], "task": task, "measure": measure, "group": group}
            yield Row(block["run"], BASE, mean=_estimate(group, seed, part[BASE]), **name)
            for model in block["models"]:
                if group in _foreign_contexts(contexts, model["short_context"]):
                    continue
                trained = part[model["run"], model["loss"]]
                others = {BASE: BASE} | {other: tuple(of) for other, of in model["controls"].items()}
                differences = {
                    other: Difference(_estimate(group, seed, trained, part[others[other]]))
                    for other in COMPARED
                    if other in others
                }
                yield Row(
                    model["run"],
                    model["loss"],
                    mean=_estimate(group, seed, trained),
                    differences=differences,
                    is_control=model["is_control"],
                    **name,
                )


def _estimate(group: str, seed: int, samples: Samples, minus: Samples | None = None) -> Estimate:
    if group.startswith(AREA):
        return area(samples, minus, seed=seed)
    return mean(samples, seed=seed) if minus is None else difference(samples, minus, seed=seed)


def _same_samples(
    base: pd.DataFrame, paths: Sequence[str], read: Reader, block: Mapping
) -> list[pd.DataFrame]:
    fixed = ["cluster", "group", "length", "weight"]
    found = []
    for path in paths:
        _, values = read(path, block["task"])
        if not values[fixed].equals(base[fixed]):
            raise ValueError(
                f"{path} was measured on other samples than {block['base']}; delete both and run the same "
                "target again, which reruns evaluate"
            )
        found.append(values)
    return found


def _samples(own: pd.DataFrame, values: Sequence[pd.Series]) -> Samples:
    return Samples(
        value_SN=np.stack([column.to_numpy() for column in values]),
        weight_N=own["weight"].to_numpy(),
        cluster_N=np.unique(own["cluster"], return_inverse=True)[1],
        length_N=own["length"].to_numpy(),
    )


def _groups(
    task: EvaluationTask, own: pd.DataFrame, contexts: Iterable[int]
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and samples of each group that gets a row; none twice, and none without weight."""
    length_N, group_N = own["length"].to_numpy(), own["group"].to_numpy()
    everything_N = np.ones(len(own), bool)
    found = {ALL: everything_N}
    names = sorted(set(group_N) - {""})
    groups = {name: group_N == name for name in names} if len(names) > 1 else {}
    if task.lengths_are_a_grid and len(lengths := np.unique(length_N)) > 1:
        found |= {f"length {length:.0f}": length_N == length for length in lengths}
        found[AREA] = everything_N
        found |= {f"{AREA}: {name}": mask_N for name, mask_N in groups.items()}
    for context in sorted(contexts):
        within, beyond = context_groups(context)
        found |= {within: length_N <= context, beyond: length_N > context}
    # A category may be called as a group of ours.
    found |= {f"{name} (group)" if name in found else name: mask_N for name, mask_N in groups.items()}
    for name, mask_N in found.items():
        if own["weight"].to_numpy()[mask_N].sum() > 0:
            yield name, mask_N


def _foreign_contexts(contexts: Iterable[int], own: int | None) -> set[str]:
    return {name for context in contexts if context != own for name in context_groups(context)}


def _with_holm(rows: Sequence[Row]) -> list[Row]:
    """Rows with adjusted p: one family is an evaluation's comparisons in one measure and group."""
    families: dict[tuple, list[tuple[int, str]]] = {}
    for place, row in enumerate(rows):
        if not row.is_control:
            family = families.setdefault((row.evaluation, row.measure.name, row.group), [])
            family += [(place, other) for other in row.differences]
    found = list(rows)
    for family in families.values():
        adjusted = holm([rows[place].differences[other].estimate.p for place, other in family])
        for (place, other), p in zip(family, adjusted, strict=True):
            row = found[place]
            found[place] = replace(
                row, differences={**row.differences, other: replace(row.differences[other], p_holm=p)}
            )
    return found


# As text


def as_tsv(rows: Iterable[Row]) -> str:
    """The table as tab-separated values."""
    return "".join("\t".join(cells) + "\n" for cells in (COLUMNS, *(row.cells() for row in rows)))


def as_markdown(rows: Sequence[Row]) -> str:
    """The table for a paper: a section for each evaluation, with what it is compared with in columns."""
    sections = []
    for name in dict.fromkeys(row.evaluation for row in rows):
        own = [row for row in rows if row.evaluation == name]
        compared = [other for other in COMPARED if any(other in row.differences for row in own)]
        heads = ["model", "measure", "group", "n", "mean [95% interval]"]
        heads += [f"against {LABELS[other]}" for other in compared]
        lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
        for row in own:
            cells = [
                f"{row.run}/{row.loss}" + (" (control)" if row.is_control else ""),
                row.measure.label,
                row.group,
                counted(row.mean),
                with_interval(*_shown_mean(row)),
                *(_compared(row, other) for other in compared),
            ]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        sections.append("\n".join([f"**{name}** ({own[0].task.label})", "", *lines]))
    return "\n\n".join([*sections, _LEGEND]) + "\n"


LABELS = {
    BASE: "the base model",
    "plain": "plain loss on the same windows",
    "shuffled": "the same loss with shuffled weights",
    "random_windows": "plain loss on random windows",
}
_LEGEND = (
    "n: samples / clusters / seeds. Intervals: 95%, bootstrap over clusters (documents, or samples) and "
    "seeds; differences are paired over samples. p: adjusted for all comparisons of a measure and group "
    "(Holm). Differences of perplexities are changes in percent."
)


def _shown_mean(row: Row) -> tuple[float, float, float]:
    numbers = (row.mean.value, row.mean.low, row.mean.high)
    return tuple(map(math.exp, numbers)) if row.measure.exponential else numbers


def _compared(row: Row, other: str) -> str:
    if (found := row.differences.get(other)) is None:
        return ""
    unit = "%" if row.measure.exponential else ""
    text = with_interval(*shown_difference(row.measure, found.estimate), unit=unit, signed=True)
    return text if math.isnan(found.p_holm) else f"{text}, p {p_text(found.p_holm)}"


def counted(estimate: Estimate) -> str:
    """Samples, clusters and seeds."""
    return f"{estimate.samples} / {estimate.clusters} / {estimate.seeds}"


def with_interval(value: float, low: float, high: float, *, unit: str = "", signed: bool = False) -> str:
    """A number and its interval, with as many digits as the interval's width has a use for."""
    widths = [abs(number) for number in (high - low, value) if math.isfinite(number) and number]
    digits = min(6, max(0, 1 - math.floor(math.log10(widths[0])))) if widths else 2
    sign = "+" if signed else ""
    shown = f"{value:{sign}.{digits}f}{unit}"
    interval = "no interval" if math.isnan(low) else f"{low:{sign}.{digits}f}, {high:{sign}.{digits}f}"
    return f"{shown} [{interval}]".replace("-", "−")


def p_text(p: float) -> str:
    """A p value."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _exact(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.8g}"
