"""What a model answers to prompts: log-likelihoods of given answers, and greedy ones.

No prompt is ever padded on its left, so that what is computed holds for any architecture, whatever it does
with positions, windows or states. Prompts of a batch are read together up to the end of the shortest; from
there on, at each position, every one reads its own next token, be it given or just written.

Shape suffixes: B sequences, T tokens, D hidden size, V vocabulary, S scored tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from longspan.evaluation.prompts import PromptTokenizer
from longspan.evaluation.samples import RAGGED_TOKENS, Sample
from longspan.models.attention_kernels import attention_of_any_length
from longspan.models.exactness import caches_exactly, uncompiled
from longspan.models.output_layer import split_model
from longspan.models.rope import tokens_of_one_table

if TYPE_CHECKING:
    from longspan.evaluation.generated import GeneratedTask


@dataclass(frozen=True)
class Written:
    """What a model wrote behind a prompt.

    Attributes:
        input_ids: its tokens; the one that ends a text is not among them.
        text: the same as text, cut at one of `stops`.
        stop: why it ended: "end", "text" or "length".
    """

    input_ids: tuple[int, ...]
    text: str
    stop: str


class AnsweringModel:
    """A causal language model that answers prompts, layers uncompiled.

    Args:
        model: a Hugging Face causal language model, in evaluation mode on its device.
        tokenizer: its tokenizer.
        tokens_per_batch: tokens of sequences that go through it at once; one sequence at least.
        keeps_cache: whether greedy answers keep keys and values of the tokens before; otherwise all are
            computed again for each token. They are where the model is one for which that is exact, if None.

    Raises:
        ValueError: the model is not causal, or its output layer is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PromptTokenizer,
        *,
        tokens_per_batch: int,
        keeps_cache: bool | None = None,
    ):
        self._model, self._tokenizer = model, tokenizer
        self._decoder, self._output_layer = split_model(model)
        self._tokens_per_batch = tokens_per_batch
        self.keeps_cache = keeps_cache
        # Beyond this, angles of keys that are kept would be those of a shorter text.
        self._one_table = tokens_of_one_table(model.config)

    @property
    def _device(self) -> torch.device:
        return self._output_layer.weight.device

    # Given answers

    @torch.inference_mode()
    def nll(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """NLL of each token of an answer, given its prompt and the tokens before it.

        Args:
            pairs: token ids of a prompt [P] and of an answer [A].

        Returns:
            float64 [A] of each pair, nats.
        """
        found: list[np.ndarray] = [np.zeros(0)] * len(pairs)
        order = sorted(range(len(pairs)), key=lambda place: -self._length(pairs[place]))
        with uncompiled(self._model), attention_of_any_length():
            for batch in self._batches(order, [self._length(pair) for pair in pairs]):
                for place, nll_S in zip(batch, self._nll([pairs[place] for place in batch]), strict=True):
                    found[place] = nll_S
        return found

    @staticmethod
    def _length(pair: tuple[np.ndarray, np.ndarray]) -> int:
        return len(pair[0]) + len(pair[1])

    def _batches(self, order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        for place in order:
            longest = lengths[batches[-1][0]] if batches else 0
            fits = batches and (len(batches[-1]) + 1) * longest <= self._tokens_per_batch
            ragged = 0 if self._one_table is not None and longest > self._one_table else RAGGED_TOKENS
            if not fits or longest - lengths[place] > ragged:
                batches.append([])
            batches[-1].append(place)
        return batches

    def _nll(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        # What stands behind a sequence's end changes nothing before it: split_model has verified that.
        longest = max(map(self._length, pairs))
        ids_BT = torch.zeros(len(pairs), longest - 1, dtype=torch.int64)
        for row, (prompt, answer) in enumerate(pairs):
            whole = np.concatenate([prompt, answer])[:-1]
            ids_BT[row, : len(whole)] = torch.from_numpy(whole.astype(np.int64))
        hidden_BTD = self._decoder(input_ids=ids_BT.to(self._device), use_cache=False).last_hidden_state
        hidden_SD = torch.cat(
            [
                hidden_BTD[row, len(prompt) - 1 : len(prompt) + len(answer) - 1]
                for row, (prompt, answer) in enumerate(pairs)
            ]
        )
        target_S = torch.from_numpy(np.concatenate([answer for _, answer in pairs]).astype(np.int64))
        nll_S = self._output_layer.nll(hidden_SD, target_S.to(self._device)).double().cpu()
        return [part.numpy() for part in nll_S.split([len(answer) for _, answer in pairs])]

    # Greedy answers

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[np.ndarray], new_tokens: Sequence[int], stops: Sequence[str] = ()
    ) -> list[Written]:
        """What the model writes behind each prompt, the likeliest token each time.

        Args:
            prompts: token ids [P] of each, all in one batch.
            new_tokens: most tokens behind each.
            stops: texts that end an answer, once something but white space stands before them.

        Raises:
            ValueError: the model gives no finite numbers.
        """
        with uncompiled(self._model), attention_of_any_length():
            return self._write(prompts, new_tokens, stops)

    def _write(
        self, prompts: Sequence[np.ndarray], new_tokens: Sequence[int], stops: Sequence[str]
    ) -> list[Written]:
        given = [prompt.astype(np.int64).tolist() for prompt in prompts]
        position = min(map(len, given))
        reader = _Reader(self._decoder, self._caches(max(map(len, given)) + max(new_tokens)))
        hidden_BD = reader.read(torch.tensor([ids[:position] for ids in given], device=self._device))
        written: list[list[int]] = [[] for _ in given]
        finished: list[Written | None] = [None] * len(given)
        while True:
            logits_BV = self._output_layer.exact_logits(hidden_BD)
            largest_B, next_B = logits_BV.max(-1)
            # NaN is the largest of all.
            bad = (~largest_B.isfinite()).nonzero().flatten().tolist()
            row = next((row for row in bad if finished[row] is None), None)
            if row is not None:
                raise NotFiniteError(row)
            tokens = next_B.tolist()
            for row, ids in enumerate(given):
                if position < len(ids):
                    tokens[row] = ids[position]
                elif finished[row] is None:
                    finished[row] = self._finished(written[row], tokens[row], new_tokens[row], stops)
            if None not in finished:
                return finished
            hidden_BD = reader.read(torch.tensor(tokens, device=self._device)[:, None])
            position += 1

    def _finished(
        self, written: list[int], token: int, new_tokens: int, stops: Sequence[str]
    ) -> Written | None:
        if token in self._tokenizer.end_ids:
            return Written(tuple(written), self._tokenizer.decode(written), "end")
        written.append(token)
        text = self._tokenizer.decode(written)
        begun = len(text) - len(text.lstrip())
        cuts = [place for stop in stops if (place := text.find(stop, begun)) >= 0] if text.strip() else []
        if cuts:
            return Written(tuple(written), text[: min(cuts)], "text")
        return Written(tuple(written), text, "length") if len(written) >= new_tokens else None

    def _caches(self, tokens: int) -> bool:
        if self.keeps_cache is None:
            self.keeps_cache = caches_exactly(self._model)
        return self.keeps_cache and (self._one_table is None or tokens <= self._one_table)


class NotFiniteError(ValueError):
    """The model gave no finite numbers for a row of a batch."""

    def __init__(self, row: int):
        super().__init__(f"row {row} of a batch has logits that are not finite; try dtype float32")
        self.row = row


class _Reader:
    """Reads sequences on, and gives the hidden states [B, D] of the last tokens."""

    def __init__(self, decoder: nn.Module, keeps_cache: bool):
        self._decoder, self._keeps_cache = decoder, keeps_cache
        self._cache: dict[str, Any] = {}
        self._ids_BT: torch.Tensor | None = None

    def read(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Read tokens [B, T] behind those before them."""
        if not self._keeps_cache:
            self._ids_BT = ids_BT if self._ids_BT is None else torch.cat([self._ids_BT, ids_BT], 1)
            return self._decoder(input_ids=self._ids_BT, use_cache=False).last_hidden_state[:, -1]
        output = self._decoder(input_ids=ids_BT, use_cache=True, **self._cache)
        self._cache = {"past_key_values": output.past_key_values}
        return output.last_hidden_state[:, -1]


def answer_samples(task: "GeneratedTask", model: AnsweringModel, samples: Sequence[Sample]) -> list[dict]:
    """Rows of answers of a batch of samples, in their order.

    Raises:
        ValueError: the model gives no finite numbers for one; naming it.
    """
    nll = _candidate_nll(model, samples, [sample.prompt_ids for sample in samples])
    controlled = [sample for sample in samples if sample.control_ids is not None]
    control = iter(_candidate_nll(model, controlled, [sample.control_ids for sample in controlled]))
    writing = [sample for sample in samples if sample.new_tokens]
    try:
        written = iter(
            model.write(
                [sample.prompt_ids for sample in writing],
                [sample.new_tokens for sample in writing],
                task.stops,
            )
            if writing
            else ()
        )
    except NotFiniteError as error:
        raise _not_finite(writing[error.row]) from None
    rows = []
    for sample, values in zip(samples, nll, strict=True):
        answer = next(written) if sample.new_tokens else None
        rows.append(
            sample.origin
            | {
                "nll": values,
                "tokens": [len(ids) for ids in sample.candidate_ids],
                "control_nll": None if sample.control_ids is None else next(control),
                "text": None if answer is None else answer.text,
                "stop": None if answer is None else answer.stop,
                "score": task.score(sample, values, None if answer is None else answer.text),
            }
        )
    return rows


def _candidate_nll(
    model: AnsweringModel, samples: Sequence[Sample], prompts: Sequence[np.ndarray]
) -> list[list[float]]:
    pairs = [
        (prompt, candidate)
        for sample, prompt in zip(samples, prompts, strict=True)
        for candidate in sample.candidate_ids
    ]
    sums = iter([float(nll_S.sum()) for nll_S in model.nll(pairs)] if pairs else [])
    found = [[next(sums) for _ in sample.candidate_ids] for sample in samples]
    for sample, values in zip(samples, found, strict=True):
        if not np.isfinite(values).all():
            raise _not_finite(sample)
    return found


def _not_finite(sample: Sample) -> ValueError:
    return ValueError(
        f"the model's logits for sample {sample.sample_id} are not finite; try dtype float32, or check its "
        "weights"
    )
