"""LongPPL: perplexity of the tokens that need long context (arXiv 2410.23771)."""

import math
from typing import ClassVar

import numpy as np
import pyarrow as pa

from longspan.evaluation.held_out import choose_windows
from longspan.evaluation.task import EvaluationTask, Measure
from longspan.plugins.citations import LONGPPL
from longspan.plugins.options import Number, option
from longspan.store.contracts import TOKEN_IDS, Contract, add_contract

add_contract(
    "key_tokens",
    Contract(
        # Positions in the window, its BOS token among them, from 1 on: nothing predicts token 0.
        pa.schema({"data_id": pa.string(), "key_positions": TOKEN_IDS}),
        rule="prepare_task",
        key="data_id",
    ),
)


class LongPPL(EvaluationTask):
    """Perplexity of key tokens: those that a fixed evaluator finds likely in long context alone."""

    name: ClassVar[str] = "longppl"
    label: ClassVar[str] = "LongPPL"
    table: ClassVar[str] = "longppl"
    prepared_table: ClassVar[str] = "key_tokens"
    citations: ClassVar[tuple[str, ...]] = (LONGPPL,)
    contract: ClassVar[Contract] = Contract(
        pa.schema(
            {
                "data_id": pa.string(),
                "document_id": pa.string(),
                "category": pa.string(),
                "tokens": pa.int64(),
                "nll_sum": pa.float64(),
                "key_tokens": pa.int64(),
                "key_nll_sum": pa.float64(),
            }
        ),
        rule="evaluate",
        key="data_id",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("longppl", "LongPPL", higher_is_better=False, exponential=True),
        Measure("nll", "NLL of all tokens (nats a token)", higher_is_better=False),
    )

    windows_per_document: int | None = option(
        None, "Windows of each held-out work, drawn by the seed; null takes all.", ge=1
    )
    short_context: int = option(
        4096, "Tokens of context that the evaluator's short score of a token has at least.", ge=1
    )
    shared_tokens: int = option(1024, "Tokens that share the beginning of their short context.", ge=1)
    min_gain: Number = option(
        2, "Nats that the short NLL of a key token is above its long NLL, under the evaluator."
    )
    max_nll: Number = option(2, "Nats that the long NLL of a key token is below, under the evaluator.", gt=0)

    def check_window(self, window_tokens):
        """Refuse windows without a token that has more than the short context before it."""
        if window_tokens <= self.short_context:
            raise ValueError(
                f"windows of {window_tokens} tokens have no token with more than {self.short_context} before "
                "it; lower short_context"
            )

    def prepare(self, evaluator, folder, shard, *, seed):
        """Positions of the key tokens in each window that is measured."""
        from tqdm import tqdm

        from longspan.evaluation.key_tokens import key_spans, tokens_within
        from longspan.tokens.beginning import beginning_of
        from longspan.tokens.tokenization import DocumentTokenizer

        documents = dict(zip(shard.data_ids, shard.column("document_id"), strict=True))
        tokenizer, prefix = DocumentTokenizer(folder), beginning_of(folder).prefix_token_ids
        rows = []
        data_ids = choose_windows(documents, self.windows_per_document, seed)
        for data_id in tqdm(data_ids, desc="key tokens", unit="window"):
            found = key_spans(
                evaluator,
                prefix,
                tokenizer.encode,
                shard.text(data_id),
                short_context=self.short_context,
                shared_tokens=self.shared_tokens,
                min_gain=self.min_gain,
                max_nll=self.max_nll,
            )
            is_key_T = tokens_within(shard.token_spans(data_id), found)
            positions = np.flatnonzero(is_key_T) + (shard.bos_token_id is not None)
            rows.append({"data_id": data_id, "key_positions": positions[positions > 0].astype(np.int32)})
        if not any(len(row["key_positions"]) for row in rows):
            raise ValueError(
                f"the evaluator finds no key token in {len(rows)} held-out windows; hold out more or longer "
                "works, lower min_gain, or take another evaluator"
            )
        return rows

    def measure(self, model, windows, *, seed, prepared):
        """A row for each window: sums of NLL over all tokens and over key tokens, and how many these are."""
        import torch
        from tqdm import tqdm

        from longspan.scoring.nll import long_context_nll

        rows = []
        for item in tqdm(prepared, desc="evaluate", unit="window"):
            data_id, positions = item["data_id"], np.asarray(item["key_positions"], np.int64)
            ids_1T = torch.from_numpy(windows.input_ids(data_id))[None]
            nll_N = long_context_nll(model, ids_1T)[0].cpu().numpy().astype(np.float64)
            rows.append(
                {
                    "data_id": data_id,
                    "document_id": windows.document_ids[data_id],
                    "category": windows.categories[data_id],
                    "tokens": len(nll_N),
                    "nll_sum": float(nll_N.sum()),
                    "key_tokens": len(positions),
                    "key_nll_sum": float(nll_N[positions - 1].sum()),
                }
            )
        return rows

    def values(self, rows):
        """Mean NLL of each window, over key tokens and over all; windows of a document belong together."""
        import pandas as pd

        common = {
            "sample": rows["data_id"],
            "cluster": rows["document_id"],
            "group": rows["category"],
            "length": math.nan,
        }
        key = pd.DataFrame(
            {
                "measure": "longppl",
                **common,
                "value": rows["key_nll_sum"] / rows["key_tokens"].where(rows["key_tokens"] > 0),
                "weight": rows["key_tokens"],
            }
        )
        every = pd.DataFrame(
            {
                "measure": "nll",
                **common,
                "value": rows["nll_sum"] / rows["tokens"],
                "weight": rows["tokens"],
            }
        )
        # Which windows have no key token is the evaluator's word, the same for every model.
        return pd.concat([key[(rows["key_tokens"] > 0).to_numpy()], every], ignore_index=True)

    def summary(self, base, trained):
        """LongPPL and plain perplexity before and after."""
        longppl, perplexity = (
            " → ".join(
                f"{math.exp(sum(row[total] for row in rows) / sum(row[count] for row in rows)):.3f}"
                for rows in (base, trained)
            )
            for total, count in (("key_nll_sum", "key_tokens"), ("nll_sum", "tokens"))
        )
        key_tokens = sum(row["key_tokens"] for row in base)
        return [
            ("LongPPL", f"{longppl} ({key_tokens} key tokens of {len(base)} windows)"),
            ("perplexity of all tokens", perplexity),
        ]

    def draw(self, axes, tables):
        """NLL of key tokens against that of all tokens, a point for each model."""
        for name, rows in tables.items():
            key, every = (
                rows[total].sum() / rows[count].sum()
                for total, count in (("key_nll_sum", "key_tokens"), ("nll_sum", "tokens"))
            )
            axes.plot(every, key, marker="o", linestyle="", label=name)
        axes.set(xlabel="NLL of all tokens (nats)", ylabel="NLL of key tokens (nats)")
        axes.legend()

    def windows_measured(self, held_out, works):
        """So many of each work, where a number is set."""
        if self.windows_per_document is None or works is None:
            return held_out
        bound = self.windows_per_document * works
        return bound if held_out is None else min(held_out, bound)

    def preparation_needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """The evaluator reads each window once, and a short window for each block."""
        from longspan.costs.needs import forward_needs

        blocks = math.ceil(max(0, window_tokens - self.short_context) / self.shared_tokens)
        short = min(window_tokens, self.short_context + self.shared_tokens)
        flops = shape.forward_flops(window_tokens)
        flops += blocks * shape.forward_flops(short, min(self.shared_tokens, window_tokens))
        return forward_needs(
            shape,
            flops,
            windows,
            window_tokens,
            dtype=dtype,
            compile_layers=compile_layers,
            device_flops=device_flops,
        )
