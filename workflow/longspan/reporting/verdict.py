"""The verdict: whether a training helped, by one rule, in sentences that say against what and where.

A training is judged by each evaluation's first measure, over all samples (over the area, where lengths are a
grid), against its base model and each of its controls:

- hurt, if it is worse than one of them;
- helped, if it is better than all of them;
- not shown, otherwise.

Better and worse mean an adjusted p (Holm) below 0.05. A run without a control can only have helped against
its base model, and the verdict says so. Of a guard, only a loss is told.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from longspan.reporting.evaluation_table import (
    ALL,
    AREA,
    BASE,
    LABELS,
    Difference,
    Row,
    p_text,
    shown_difference,
    with_interval,
)

SIGNIFICANCE = 0.05
# Fewer clusters than this give intervals that rest on the form of the distribution.
FEW_CLUSTERS = 10
HELPED, NOT_SHOWN, HURT = "helped", "not shown", "hurt"


def outcome(row: Row, found: Difference) -> str:
    """What one comparison says: HELPED, HURT or NOT_SHOWN."""
    if math.isnan(found.p_holm) or found.p_holm >= SIGNIFICANCE:
        return NOT_SHOWN
    return HELPED if (found.estimate.value > 0) == row.measure.higher_is_better else HURT


def verdict_of(row: Row) -> str:
    """What all comparisons of a row say together."""
    found = [outcome(row, difference) for difference in row.differences.values()]
    if HURT in found:
        return HURT
    return HELPED if set(found) == {HELPED} else NOT_SHOWN


def verdicts(rows: Sequence[Row]) -> list[str]:
    """A paragraph for each training that is no control, and each evaluation, guards last.

    Args:
        rows: of the table of evaluations.
    """
    found = []
    trained = [row for row in rows if row.loss != BASE and not row.is_control]
    arms = dict.fromkeys((row.run, row.loss) for row in trained)
    for run, loss in arms:
        own = [row for row in trained if (row.run, row.loss) == (run, loss)]
        for name in sorted({row.evaluation for row in own}, key=_order_of(own)):
            judged = [row for row in own if row.evaluation == name and row.measure is row.task.measures[0]]
            if judged:
                found.append(f"{run}/{loss} by {name}: {_paragraph(judged)}")
    return found


def _order_of(rows: Sequence[Row]):
    places = {row.evaluation: (row.task.is_guard, place) for place, row in reversed(list(enumerate(rows)))}
    return places.get


def _paragraph(rows: Sequence[Row]) -> str:
    by_group = {row.group: row for row in rows}
    row = by_group.get(AREA) or by_group[ALL]
    found = verdict_of(row)
    if row.task.is_guard:
        sentences = [_guard(row, found)]
    else:
        sentences = [_headline(row, found)]
        sentences += _where(by_group[group] for group in by_group if _is_context(group))
    return " ".join([*sentences, *_reservations(row)])


def _headline(row: Row, found: str) -> str:
    head = {HELPED: "helped", HURT: "hurt", NOT_SHOWN: "no gain is shown"}[found]
    if found == HELPED and set(row.differences) == {BASE}:
        head += " against the base model alone"
    return f"{head}. {_capital(row.measure.label)}, {row.group}: {_outcomes(row, lambda _: True)}."


def _guard(row: Row, found: str) -> str:
    head = "this guard was lost" if found == HURT else "no loss is shown of this guard"
    return f"{head}. {_capital(row.measure.label)}: {_outcomes(row, lambda _: True)}."


def _where(contexts: Iterable[Row]) -> Iterator[str]:
    for part in contexts:
        yield f"{_capital(part.group)}: {_outcomes(part, lambda result: result != NOT_SHOWN)}."


def _outcomes(row: Row, has_numbers: Callable[[str], bool]) -> str:
    """What a row is better or worse than, or not shown to differ from, with the numbers of some outcomes."""
    words = {HELPED: "better than", HURT: "worse than", NOT_SHOWN: "no difference shown to"}
    parts = []
    for result in (HELPED, HURT, NOT_SHOWN):
        names = [name for name, found in row.differences.items() if outcome(row, found) == result]
        labels = [
            f"{LABELS[name]} ({_measured(row, name)})" if has_numbers(result) else LABELS[name]
            for name in names
        ]
        if labels:
            parts.append(
                f"{words[result]} {' and '.join(filter(None, [', '.join(labels[:-1]), labels[-1]]))}"
            )
    return "; ".join(parts)


def _capital(label: str) -> str:
    return label[0].upper() + label[1:]


def _is_context(group: str) -> bool:
    return group.startswith(("within ", "beyond ")) and group.endswith(" tokens")


def _measured(row: Row, name: str) -> str:
    found = row.differences[name]
    unit = "%" if row.measure.exponential else ""
    text = with_interval(*shown_difference(row.measure, found.estimate), unit=unit, signed=True)
    return text if math.isnan(found.p_holm) else f"{text}, p {p_text(found.p_holm)}"


def _reservations(row: Row) -> Iterator[str]:
    if set(row.differences) == {BASE} and not row.task.is_guard:
        yield (
            "The run has no control that this loss can be held against, so training on any windows by any "
            "loss may do as much."
        )
    clusters, seeds = row.mean.clusters, row.mean.seeds
    what = "samples" if clusters == row.mean.samples else "documents"
    if clusters == 1:
        yield f"There is one of the {what} only, so there is no interval, and nothing can be shown."
    elif clusters < FEW_CLUSTERS:
        yield f"{clusters} {what} are few: the intervals are wide, and say nothing of {what} of another kind."
    if seeds == 1:
        yield "With one seed, the noise of training is not in the intervals."
