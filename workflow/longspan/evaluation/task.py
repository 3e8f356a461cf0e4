"""What a task of evaluation is: a plug-in that measures a model on what was held out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from longspan.plugins.registry import PlugInKind
from longspan.plugins.tables import WithTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from longspan.corpora.source import SourceKind
    from longspan.costs.needs import Needs
    from longspan.costs.shape import DecoderShape
    from longspan.windows.store import WindowStore


class EvaluationTask(WithTable):
    """A way to measure a base or trained model; its fields are its options.

    The same rows are measured for every model, so that any two can be compared pair by pair. A task over
    prompts that are made first derives from :class:`longspan.evaluation.generated.GeneratedTask`.

    Attributes:
        label: what it measures, with its unit.
        reads: what it measures on: the run's held-out "windows", or "inputs", tables of prompts that rule
            make_task makes; a task that reads "model" brings its own data.
        reads_documents: whether its prompts are made of held-out works.
    """

    label: ClassVar[str]
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

    def measure(self, model: Any, windows: "WindowStore", *, seed: int) -> list[dict]:
        """Rows of the task's table.

        Args:
            model: a Hugging Face causal language model, in evaluation mode on its device.
            windows: the held-out windows.
            seed: what a draw depends on, beside the ids.

        Raises:
            ValueError: there is nothing to measure on.
        """
        raise NotImplementedError

    def summary(self, base: Sequence[Mapping], trained: Sequence[Mapping]) -> list[tuple[str, str]]:
        """(quantity, value) of the summary's lines, from the rows of base and trained model."""
        raise NotImplementedError

    def draw(self, axes: "Axes", tables: "Mapping[str, pd.DataFrame]") -> None:
        """Draw the tables of several models, by their names, into one panel."""
        raise NotImplementedError

    def windows_measured(self, held_out: float | None, works: int | None) -> float | None:
        """Windows that it measures on, of so many held-out windows and works; None if that is not known."""
        return held_out

    def tokens_measured(self, windows: float | None, window_tokens: int) -> float | None:
        """Tokens that a model reads, on so many windows; None if that is not known."""
        return None if windows is None else windows * window_tokens

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


EVALUATION_TASKS = PlugInKind(
    what="evaluation task",
    package="longspan.evaluation.tasks",
    group="longspan.evaluation_tasks",
    base=EvaluationTask,
)
