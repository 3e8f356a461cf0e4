"""What a variant of the loss is: a plug-in that says by which parts tokens are weighed.

Imports no torch, so that settings can be checked anywhere; the arithmetic is in
:mod:`longspan.weighting.weights`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from longspan.plugins.citations import EXACT, TOKEN_WEIGHTING
from longspan.plugins.options import Number, Options, option, optional
from longspan.plugins.registry import PlugIn, PlugInKind
from longspan.weighting.exposure import ContextHistogram, ContextWeights, Exposure
from longspan.weighting.parts import Weighting


class GivenOptions(Options):
    """Options of which only those that are given stand in the settings."""

    def as_settings(self, *left_out):
        """The options that were given."""
        given = {type(self).model_fields[name].alias or name for name in self.model_fields_set}
        block = super().as_settings(*left_out)
        return {key: value for key, value in block.items() if key in given}


class Loss(GivenOptions):
    """What every loss can have beside the parts that weigh its tokens.

    Attributes:
        label: its name in tables, with the paper's symbol.
        citations: BibTeX entries.
    """

    label: ClassVar[str]
    citations: ClassVar[tuple[str, ...]] = ()

    exposure: Exposure | None = optional(
        "Multiply the weights by EXACT's, which are larger for targets with much context; a window keeps the "
        "sum of its weights."
    )
    shuffle_weights: bool = option(
        False,
        "Control: give the weights of each window (of each packed document) to its tokens in a random order, "
        "drawn by the seed and the window's id.",
    )

    @abstractmethod
    def weighting(self) -> Weighting:
        """The parts that weigh its tokens.

        Raises:
            ValueError: an option that cannot be, by name.
        """
        raise NotImplementedError

    @property
    def cited(self) -> tuple[str, ...]:
        """BibTeX entries of what it uses."""
        return self.citations if self.exposure is None else (*self.citations, EXACT)

    def context_exposure(self) -> Exposure | None:
        """How it weighs its targets by their context, if it does."""
        return self.exposure

    @property
    def is_plain(self) -> bool:
        """Whether all of its weights are 1."""
        return self.weighting().is_plain and self.context_exposure() is None

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            ValueError: by name.
        """
        if self.shuffle_weights and self.is_plain:
            raise ValueError("shuffle_weights: all weights of plain cross-entropy are 1; remove it")
        if self.exposure is None:
            return
        if self.context_exposure() is not self.exposure:
            raise ValueError("exposure: this variant weighs by context itself; set its own options instead")
        if not self.weighting().is_non_negative:
            raise ValueError(
                "exposure: keeps the sum of a window's weights, which can end below 0 here; end with "
                "'absolute', 'exp' or 'max', or set sparsification"
            )

    def context_weights(self, histogram: ContextHistogram, window_tokens: int) -> ContextWeights | None:
        """Its weights by context, None if it has none.

        Args:
            histogram: of the training's targets.
            window_tokens: tokens of a window.

        Raises:
            ValueError: as `ContextHistogram.weights`.
        """
        exposure = self.context_exposure()
        if exposure is None:
            return None
        weights = histogram.weights(exposure, window_tokens)
        return ContextWeights(histogram.starts, weights, keeps_sum=self.exposure is not None)


class LossVariant(Loss, PlugIn):
    """A published loss; its fields are its options.

    Attributes:
        name: what the settings call it; also the name of its module or entry point.
    """

    citations: ClassVar[tuple[str, ...]] = (TOKEN_WEIGHTING,)


LOSS_VARIANTS = PlugInKind(
    what="loss variant",
    package="longspan.weighting.variants",
    group="longspan.loss_variants",
    base=LossVariant,
)


class LossParts(Loss):
    """A loss by its parts, without a variant."""

    citations: ClassVar[tuple[str, ...]] = (TOKEN_WEIGHTING,)
    label: ClassVar[str] = "its parts"

    comparison: Literal["difference", "quotient", "kl_term"] | None = optional(
        "How long and short NLL are compared: long - short, long / short, or p_long * (short - long), the "
        "token's own term of KL(long || short)."
    )
    transforms: list[str] | None = optional(
        "Applied in order: minus (-x), absolute (|x|), exp (e^x), 'shift s' (x - log s), max (max(x, 0))."
    )
    truncation: Number | None = optional("Upper bound of a weight (γ).")
    sparsification: Number | None = optional("Share of tokens that get a weight (κ).", gt=0, le=1)
    normalization: Literal["L1", "softmax"] | None = optional("Scaling of a sequence's weights to mean 1.")
    interpolation: Number | None = optional("Share of plain cross-entropy (λ).", ge=0, le=1)

    def weighting(self) -> Weighting:
        """The parts themselves.

        Raises:
            ValueError: parts that do not go together.
        """
        parts = {name: getattr(self, name) for name in _PARTS}
        return Weighting(**{name: value for name, value in parts.items() if value is not None})


_PARTS = LossParts.model_fields.keys() - Loss.model_fields.keys()


def loss_of_settings(block: Mapping[str, Any]) -> Loss:
    """The loss of a block of settings: a variant with its own keys, or bare parts.

    Raises:
        ValueError: an unknown variant.
        pydantic.ValidationError: a key that is foreign to it, or a value that is not allowed.
    """
    if "variant" not in block:
        return LossParts(**block)
    return LOSS_VARIANTS[block["variant"]](**{key: block[key] for key in block.keys() - {"variant"}})


def training_loss(block: Mapping[str, Any]) -> tuple[Loss, Mapping[str, Any] | None]:
    """The loss of a training's settings, and how its model scores itself; errors as `loss_of_settings`."""
    own = {key: value for key, value in block.items() if key != "self_scoring"}
    return loss_of_settings(own), block.get("self_scoring")


def variant_files(block: Mapping[str, Any] | None) -> list[Path]:
    """The file of the variant that a block of settings names, if it names one: code that nothing imports."""
    return [] if block is None or "variant" not in block else [LOSS_VARIANTS.source_file(block["variant"])]


def weighting_from_settings(block: Mapping[str, Any]) -> Weighting:
    """The parts of a loss that a block of settings gives; errors as `loss_of_settings`."""
    return loss_of_settings(block).weighting()
