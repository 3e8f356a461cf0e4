"""What a kind of scorer is: a plug-in by which a frozen model scores the windows of a shard."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from longspan.plugins.registry import PlugInKind
from longspan.plugins.tables import WithTable

if TYPE_CHECKING:
    from longspan.costs.needs import Needs
    from longspan.costs.shape import DecoderShape
    from longspan.windows.store import WindowStore

# From pairs of an id and token ids [T] to the columns of their rows, in the same order.
Score = Callable[[Iterator[tuple[str, np.ndarray]]], Iterator[Mapping]]


class ScorerKind(WithTable):
    """A way to score windows by a frozen model; its fields are its options.

    Attributes:
        rule: the rule that runs it.
        stage: module whose STAGE_VERSION says when stored scores are of no use any more.
        forward_keys: what of the model's forward pass its numbers depend on.
        model_digest: the digest in the model's manifest that its numbers depend on.
        first_layer_only: whether it reads the model's first layer alone.
        less_memory: what to change where no device can hold it.
    """

    rule: ClassVar[str]
    stage: ClassVar[str]
    forward_keys: ClassVar[tuple[str, ...]] = ("dtype", "attention", "compile_layers", "rope_theta")
    model_digest: ClassVar[str] = "digest"
    first_layer_only: ClassVar[bool] = False
    less_memory: ClassVar[str] = "take dtype bfloat16 or a smaller model"

    @property
    def attentions(self) -> tuple[str, ...] | None:
        """Attention implementations by which its model can run; None is any."""
        return None

    @property
    def without(self) -> frozenset[str]:
        """Optional columns of its tables that these options leave out."""
        return frozenset()

    def check_window(self, window_tokens: int) -> None:
        """Refuse windows that it cannot score.

        Raises:
            ValueError: saying why, and what would do.
        """

    def check_shape(self, shape: "DecoderShape") -> None:
        """Refuse a model that it cannot score, by its shape.

        Raises:
            ValueError: saying why, and what would do.
        """

    def longest_pass(self, window_tokens: int) -> int:
        """Tokens of its longest forward pass over a window."""
        return window_tokens

    def window_settings(self, windows: "WindowStore") -> dict:
        """What of the windows belongs to the settings of a store."""
        return {}

    @abstractmethod
    def load(
        self, model: Path, windows: "WindowStore", *, forward: Mapping, threads: int | None = None
    ) -> Score:
        """Load the model and give the function that scores windows.

        Args:
            model: the model's folder.
            windows: the shard's windows.
            forward: values of `forward_keys`.
            threads: CPU threads.
        """
        raise NotImplementedError

    @abstractmethod
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
        """What a job over so many windows needs, for requests and the estimate; None windows are unknown."""
        raise NotImplementedError


SCORER_KINDS = PlugInKind(
    what="scorer kind",
    package="longspan.scoring.kinds",
    group="longspan.scorer_kinds",
    base=ScorerKind,
)
