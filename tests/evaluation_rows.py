"""Rows of the table of evaluations with given numbers."""

from typing import ClassVar

from longspan.evaluation.statistics import Estimate
from longspan.evaluation.task import EvaluationTask, Measure
from longspan.reporting.evaluation_table import ALL, Difference, Row


class Answers(EvaluationTask):
    """A task whose numbers are given."""

    name: ClassVar[str] = "answers"
    label: ClassVar[str] = "share of right answers"
    table: ClassVar[str] = "evaluation"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("right", "share of right answers", True),
        Measure("nll", "NLL of the answer (nats)", False),
    )

    def values(self, rows):
        """The rows as they are."""
        return rows

    def summary(self, base, trained):
        """None."""
        return []

    def draw(self, axes, tables):
        """Nothing."""


class Guard(Answers):
    """One that must not be lost."""

    is_guard: ClassVar[bool] = True


def estimate(value, half=0.01, p=0.001, clusters=40, seeds=3, samples=120):
    return Estimate(value, value - half, value + half, p, samples, clusters, seeds)


def row(differences, *, measure=0, group=ALL, task=None, loss="dense", **made_of):
    """A row of run `main`; `differences` maps what it is compared with to (difference, adjusted p)."""
    task = task or Answers()
    return Row(
        "main",
        loss,
        "retrieval",
        task,
        task.measures[measure],
        group,
        estimate(0.5, **made_of),
        {name: Difference(estimate(value, **made_of), p) for name, (value, p) in differences.items()},
    )
