"""The token-weighted loss, and a causal language model that returns it.

Entry t of an NLL or weight array belongs to token x_{t+1}.

Shape suffixes: B sequences, T tokens, N = T - 1 entries, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from longspan.models.document_attention import (
    NAME,
    Documents,
    decoder_inputs,
    require_alike,
    require_attended,
)
from longspan.models.exactness import require_documents_apart
from longspan.models.layers import hidden_state_decoder
from longspan.models.output_layer import OutputLayer, split_model
from longspan.scoring.self_scoring import SelfScoring, self_scored_nll
from longspan.weighting.parts import Weighting
from longspan.weighting.weights import shuffled_weights
from longspan.weighting.weights import token_weights as weigh_tokens


def weighted_loss(
    nll: torch.Tensor, weights: torch.Tensor | None, num_items: torch.Tensor | int
) -> torch.Tensor:
    """Return the sum of weights times NLL, over ``num_items``.

    ``num_items`` is the number of targets of the whole update, over all its batches and processes, so that
    summing the gradients of its parts gives the gradient of one big batch.

    Args:
        nll: [B, N] float32, nats, of the tokens; 0 where a token does not count.
        weights: [B, N] float32 without gradient, or None for plain cross-entropy.
        num_items: targets of the whole update.

    Returns:
        scalar float32.
    """
    return (nll if weights is None else weights * nll).sum() / num_items


class WeightedLM(nn.Module):
    """A causal language model whose forward returns the token-weighted loss, and no logits.

    It fits Hugging Face's Trainer: accumulation, several processes and any split into batches give the same
    gradient as one big batch, because the loss is divided by ``num_items_in_batch``. Where FSDP shards a
    model that scores itself, every process must bring the same number of sequences, since each forward pass
    gathers weights.

    Args:
        model: a Hugging Face causal language model, not wrapped.
        weighting: how tokens are weighed, or None where every batch brings ``token_weights``.
        self_scoring: windows of the short context, scored by the model itself; None where batches bring
            ``short_nll`` or none is needed.
        shuffle_weights: give the weights of each document to its tokens in a random order.
        seed: key of the draw among ties, and of that order.

    Raises:
        ValueError: a model whose output layer is unknown, that is not causal or, with the attention of packed
            documents, lets these see each other, or self-scoring or an order that the weighting never uses.
    """

    accepts_loss_kwargs = True  # Trainer then passes num_items_in_batch
    loss_type = "ForCausalLM"  # Trainer then counts labels[:, 1:]

    def __init__(
        self,
        model: nn.Module,
        weighting: Weighting | None = None,
        *,
        self_scoring: SelfScoring | None = None,
        shuffle_weights: bool = False,
        seed: int = 0,
    ):
        """Keep the model and check that its loss can be computed."""
        super().__init__()
        if self_scoring is not None and (weighting is None or weighting.is_plain):
            raise ValueError("self_scoring is set, but without a weighting, or under plain, no score is used")
        if shuffle_weights and (weighting is None or weighting.is_plain):
            raise ValueError(
                "shuffle_weights is set, but without a weighting, or under plain, there are none"
            )
        _, output_layer = split_model(model)
        # Weights on the meta device are another process's, which checks them.
        if (
            model.config.get_text_config()._attn_implementation == NAME
            and output_layer.weight.device.type != "meta"
        ):
            require_documents_apart(model)
        self.model = model
        self.weighting = weighting
        self.self_scoring = self_scoring
        self.shuffle_weights = shuffle_weights
        self.seed = seed
        self.register_state_dict_post_hook(_copy_tied)

    def forward(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        short_nll: torch.Tensor | None = None,
        long_nll: torch.Tensor | None = None,
        token_weights: torch.Tensor | None = None,
        sequence_ids: Sequence[str | int] | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        scores_only: bool = False,
        document_lengths: Sequence[Sequence[int]] | None = None,
        packed: Sequence[bool] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the weighted loss of a batch of sequences.

        Args:
            input_ids: [B, T] int64.
            labels: [B, T] int64; only says which tokens count: those that are not -100. None counts all.
            short_nll: [B, T - 1] float, nats, scores of a frozen model with short context.
            long_nll: [B, T - 1] float, nats, scores to compare them with; None takes those of this pass.
            token_weights: [B, T - 1] float, weights that are ready, in place of a weighting.
            sequence_ids: B ids, keys of the draw among ties and of a random order.
            num_items_in_batch: targets of the whole update; None counts this batch's.
            document_lengths: lengths of the documents in each sequence, which see nothing of each other; None
                for one each. The model's attention must be that of :mod:`longspan.models.document_attention`.
            packed: with them, which sequences hold short documents, whose tokens have weight 1.
            scores_only: return nll alone, of all tokens, whatever the loss needs beside it.

        Returns:
            loss: scalar with gradient; NaN where the model's own scores are not finite.
            nll: [B, T - 1] float32, nats, without gradient; 0 where a token does not count.
            weights: [B, T - 1] float32, without gradient.

        Raises:
            ValueError: a batch that lacks the scores or weights its loss needs, or brings foreign ones.
        """
        output_layer = OutputLayer.of(self.model)
        hidden_BTD = self._hidden(input_ids, document_lengths)
        nll_BN = output_layer.nll(hidden_BTD[:, :-1], input_ids[:, 1:])
        if scores_only:
            return {"nll": nll_BN.detach()}
        weights_BN = self._weights(
            input_ids, nll_BN.detach(), short_nll, long_nll, token_weights, sequence_ids
        )
        if packed is not None and weights_BN is not None:
            of_short_B1 = torch.tensor(packed, device=nll_BN.device)[:, None]
            weights_BN = weights_BN.masked_fill(of_short_B1, 1.0)
        counted_BN = None if labels is None else labels[:, 1:] != -100
        if self.shuffle_weights:
            weights_BN = self._shuffled(weights_BN, counted_BN, document_lengths, sequence_ids)
        if counted_BN is not None:
            nll_BN = nll_BN.masked_fill(~counted_BN, 0.0)
        if num_items_in_batch is None:
            num_items_in_batch = nll_BN.numel() if counted_BN is None else counted_BN.sum()
        return {
            "loss": weighted_loss(nll_BN, weights_BN, num_items_in_batch),
            "nll": nll_BN.detach(),
            "weights": torch.ones_like(nll_BN) if weights_BN is None else weights_BN,
        }

    def _hidden(self, input_ids, document_lengths):
        decoder = hidden_state_decoder(self.model)
        if document_lengths is None:
            return decoder(input_ids=input_ids, use_cache=False).last_hidden_state
        require_alike(self.model, document_lengths)
        documents = Documents(document_lengths)
        inputs = decoder_inputs(documents, input_ids.device)
        hidden_BTD = decoder(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
        require_attended(documents, self.model)
        return hidden_BTD

    def _shuffled(self, weights_BN, counted_BN, document_lengths, sequence_ids):
        if sequence_ids is None:
            raise ValueError(
                "sequence_ids are missing: they are keys of the order that shuffle_weights draws"
            )
        documents_BN = None
        if document_lengths is not None:
            numbers = [
                [row for row, length in enumerate(of) for _ in range(length)] for of in document_lengths
            ]
            documents_BN = torch.tensor(numbers, device=weights_BN.device)[:, 1:]
        return shuffled_weights(
            weights_BN,
            seed=self.seed,
            sequence_ids=sequence_ids,
            counted=counted_BN,
            documents=documents_BN,
        )

    def _weights(self, input_ids, nll_BN, short_nll, long_nll, token_weights, sequence_ids):
        if (self.weighting is None) == (token_weights is None):
            raise ValueError(
                "token_weights come with the batch exactly where no weighting is set: "
                f"weighting {self.weighting}, token_weights {'missing' if token_weights is None else 'given'}"
            )
        if self.weighting is None:
            return token_weights
        if self.weighting.is_plain:
            return None
        if (self.self_scoring is None) == (short_nll is None):
            raise ValueError(
                "short_nll come with the batch exactly where self_scoring is off: "
                f"self_scoring {self.self_scoring}, short_nll {'missing' if short_nll is None else 'given'}"
            )
        if self.self_scoring is not None:
            short_nll = self_scored_nll(self.model, input_ids, nll_BN, self.self_scoring)
        own_BN = nll_BN if self.self_scoring is None else nll_BN + short_nll
        if not own_BN.isfinite().all():
            # A model that diverged: the loss says so, and the caller knows the step and the sequences.
            return torch.full_like(nll_BN, torch.nan)
        return weigh_tokens(
            nll_BN if long_nll is None else long_nll.to(nll_BN),
            short_nll.to(nll_BN),
            **asdict(self.weighting),
            seed=self.seed,
            sequence_ids=sequence_ids,
        )

    @property
    def config(self) -> Any:
        """The inner model's config."""
        return self.model.config

    def tie_weights(self, *args: Any, **options: Any) -> None:
        """Tie the inner model's weights again, after a loader has set each by its name."""
        self.model.tie_weights(*args, **options)

    def activation_checkpointing_enable(self, *args: Any, **options: Any) -> None:
        """Turn on the inner model's activation checkpointing."""
        self.model.activation_checkpointing_enable(*args, **options)

    def gradient_checkpointing_enable(self, *args: Any, **options: Any) -> None:
        """Do the same under the name that older transformers call."""
        self.model.gradient_checkpointing_enable(*args, **options)


def _copy_tied(module: nn.Module, state: dict[str, torch.Tensor], prefix: str, metadata: dict) -> None:
    """Give each name of a tied parameter its own tensor: safetensors, so Trainer, refuses shared ones."""
    seen = set()
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in seen:
            state[prefix + name] = state[prefix + name].clone()
        seen.add(id(parameter))
