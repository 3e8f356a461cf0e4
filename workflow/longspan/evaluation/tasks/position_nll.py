"""Held-out loss by position in the window."""

from typing import ClassVar

from longspan.evaluation.held_out import choose_windows, perplexity, sums_by_position
from longspan.evaluation.task import EvaluationTask, Measure
from longspan.plugins.options import option


class PositionNLL(EvaluationTask):
    """Held-out NLL by position in the window."""

    name: ClassVar[str] = "position_nll"
    label: ClassVar[str] = "held-out perplexity"
    table: ClassVar[str] = "evaluation"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("nll", "held-out NLL (nats a token)", higher_is_better=False),
    )

    windows_per_document: int | None = option(
        None, "Windows of each held-out work, drawn by the seed; null takes all.", ge=1
    )
    position_bins: int = option(8, "Parts of a window that are told apart.", ge=1)

    def measure(self, model, windows, *, seed):
        """A row for each window and part of it."""
        import torch
        from tqdm import tqdm

        from longspan.scoring.nll import long_context_nll

        data_ids = choose_windows(windows.document_ids, self.windows_per_document, seed)
        if not data_ids:
            raise ValueError(
                "no held-out window: the works under hold_out are shorter than a window; hold out others"
            )
        rows = []
        for data_id in tqdm(data_ids, desc="evaluate", unit="window"):
            ids_1T = torch.from_numpy(windows.input_ids(data_id))[None]
            nll_N = long_context_nll(model, ids_1T)[0].cpu().numpy()
            origin = {
                "data_id": data_id,
                "document_id": windows.document_ids[data_id],
                "category": windows.categories[data_id],
            }
            rows += [origin | part for part in sums_by_position(nll_N, self.position_bins)]
        return rows

    def values(self, rows):
        """A number for each part of a window: its mean NLL, at the position that it begins at."""
        import pandas as pd

        tokens = rows["position_stop"] - rows["position_start"]
        return pd.DataFrame(
            {
                "measure": "nll",
                "sample": rows["data_id"] + "/" + rows["position_start"].astype(str),
                "cluster": rows["document_id"],
                "group": rows["category"],
                "length": rows["position_start"],
                "value": rows["nll_sum"] / tokens,
                "weight": tokens,
            }
        )

    def summary(self, base, trained):
        """Perplexity before and after."""
        windows = len({row["data_id"] for row in base})
        works = len({row["document_id"] for row in base})
        value = f"{perplexity(base):.3f} → {perplexity(trained):.3f} ({windows} windows of {works} works)"
        return [("held-out perplexity", value)]

    def draw(self, axes, tables):
        """Perplexity by position."""
        import numpy as np

        for name, rows in tables.items():
            tokens = rows["position_stop"] - rows["position_start"]
            parts = rows.assign(tokens=tokens).groupby("position_start")[["nll_sum", "tokens"]].sum()
            axes.plot(parts.index, np.exp(parts["nll_sum"] / parts["tokens"]), marker="o", label=name)
        axes.set(xlabel="position in the window (tokens)", ylabel=self.label)
        axes.legend()

    def windows_measured(self, held_out, works):
        """So many of each work, where a number is set."""
        if self.windows_per_document is None or works is None:
            return held_out
        bound = self.windows_per_document * works
        return bound if held_out is None else min(held_out, bound)
