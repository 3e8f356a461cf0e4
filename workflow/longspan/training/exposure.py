"""How much context the targets of a training have, and what its loss makes of it. Imports no torch."""

from collections.abc import Mapping

from longspan.training.rows import TrainingRows
from longspan.weighting.exposure import ContextHistogram, ContextWeights, Exposure, bucket_stop
from longspan.weighting.variant import training_loss


class TrainingExposure:
    """Targets of a training by effective context, counted from the lengths of its rows' documents.

    No token is read. All processes of a training count the same, and so does one that goes on.

    Args:
        settings: of the training.
        rows: all of its rows.
        window_tokens: tokens of a window.

    Attributes:
        context_weights: what the loss's weights are multiplied by; None if it does not weigh by context.

    Raises:
        ValueError: the loss weighs by context, and no target has as much as its tail begins with.
    """

    def __init__(self, settings: Mapping, rows: TrainingRows, window_tokens: int):
        loss, _ = training_loss(settings["loss"])
        self._histogram = ContextHistogram.of_documents(rows.document_lengths())
        self._tail_tokens = (loss.context_exposure() or Exposure()).tail_tokens(window_tokens)
        self.context_weights: ContextWeights | None = loss.context_weights(self._histogram, window_tokens)

    def rows(self) -> list[dict]:
        """Rows of the table training_exposure."""
        starts, targets = self._histogram.starts, self._histogram.targets
        weights = [1.0] * len(starts) if self.context_weights is None else self.context_weights.weights
        return [
            {
                "context_start": start,
                "context_stop": bucket_stop(start),
                "targets": count,
                "weight": weight,
                "is_tail": start >= self._tail_tokens,
            }
            for start, count, weight in zip(starts, targets, weights, strict=True)
        ]
