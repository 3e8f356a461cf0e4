"""Samples of a task: rows of its prompts, over all lengths, and the batches that models answer them in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from longspan.store.tables import RowReader

# Prompts of a batch may differ by so many tokens.
RAGGED_TOKENS = 64
_ORIGIN = ("sample_id", "group", "document_id", "length", "depth", "distance")


@dataclass(frozen=True)
class Sample:
    """A row of prompts; see :mod:`longspan.evaluation.generated`. Ids are int64 arrays."""

    sample_id: str
    group: str
    document_id: str | None
    length: int
    depth: float | None
    distance: int | None
    prompt_ids: np.ndarray
    control_ids: np.ndarray | None
    candidate_ids: list[np.ndarray]
    answers: list[str]
    evidence_starts: list[int]
    evidence_stops: list[int]
    new_tokens: int

    @property
    def origin(self) -> dict:
        """The columns that a row of answers has again."""
        return {name: getattr(self, name) for name in _ORIGIN}


class PromptTables:
    """Samples of one evaluation, read when they are asked for.

    Args:
        tables: tables of prompts, one a length.

    Raises:
        ValueError: a table is missing or damaged, two have one sample, or they are of different tokenizers.
    """

    def __init__(self, tables: Sequence[Path | str]):
        self._readers = [RowReader(path, "task_inputs") for path in tables]
        self._place: dict[str, tuple[int, int]] = {}
        self._tokens: dict[str, int] = {}
        self.largest_id = 0
        for number, reader in enumerate(self._readers):
            if reader.manifest.tokenizer != self.tokenizer:
                raise ValueError(
                    f"{reader.path} has prompts of another tokenizer than {self._readers[0].path}; delete it "
                    "and run the same target again, which reruns make_task"
                )
            table = reader.read(["sample_id", "prompt_ids", "candidate_ids", "control_ids"])
            for column in ("prompt_ids", "control_ids", "candidate_ids"):
                ids = pc.list_flatten(table.column(column), recursive=True)
                self.largest_id = max(self.largest_id, pc.max(ids).as_py() or 0)
            lengths = np.diff(table.column("prompt_ids").combine_chunks().offsets.to_numpy())
            for row, name in enumerate(table.column("sample_id").to_pylist()):
                if name in self._place:
                    raise ValueError(f"{reader.path} holds sample {name}, which another length has already")
                self._place[name] = (number, row)
                self._tokens[name] = int(lengths[row])

    @property
    def tokenizer(self) -> str | None:
        """Identity of the tokenizer that made the prompts."""
        return self._readers[0].manifest.tokenizer

    @property
    def digests(self) -> dict[str, str]:
        """Digest of each table, by its length."""
        return {f"inputs/{Path(reader.path).stem}": reader.manifest.data_digest for reader in self._readers}

    @property
    def ids(self) -> list[str]:
        """Names of all samples, in the order of tables and rows."""
        return list(self._place)

    def require_model(self, model: Path, identity: str) -> None:
        """Refuse a model with another tokenizer than the prompts', or fewer embeddings than they have ids.

        Args:
            model: its manifest.
            identity: of its tokenizer.

        Raises:
            ValueError: naming both.
        """
        if identity != self.tokenizer:
            raise ValueError(
                f"{model} has another tokenizer ({identity[:12]}) than the prompts ({self.tokenizer[:12]}); "
                "choose a model with the windowing's tokenizer"
            )
        config = json.loads((model.parent / "config.json").read_text())
        size = config.get("text_config", config)["vocab_size"]
        if self.largest_id >= size:
            raise ValueError(
                f"{model} has embeddings of {size} ids, the prompts' go up to {self.largest_id}; take a "
                "model with the vocabulary of its tokenizer"
            )

    def __getitem__(self, sample_id: str) -> Sample:
        number, row = self._place[sample_id]
        values = self._readers[number][row]
        found = {name: value.as_py() for name, value in values.items() if not name.endswith("_ids")}
        return Sample(
            **found,
            prompt_ids=_array(values["prompt_ids"]),
            control_ids=_array(values["control_ids"]) if values["control_ids"].is_valid else None,
            candidate_ids=[_array(ids) for ids in values["candidate_ids"]],
        )

    def batches(self, tokens_per_batch: int) -> list[list[str]]:
        """All samples in batches, the same whoever answers them and whatever is answered already.

        Those of a batch have prompts of about one length; the longest come first, so that what does not fit
        into memory shows at once.

        Args:
            tokens_per_batch: tokens of a batch's prompts, but for one that is longer alone.
        """
        order = sorted(self._place, key=lambda name: (-self._tokens[name], self._place[name]))
        batches: list[list[str]] = []
        longest = 0
        for name in order:
            tokens = self._tokens[name]
            fits = batches and (len(batches[-1]) + 1) * longest <= tokens_per_batch
            if not fits or longest - tokens > RAGGED_TOKENS:
                batches.append([])
                longest = tokens
            batches[-1].append(name)
        return batches


def _array(ids) -> np.ndarray:
    return ids.values.to_numpy().astype(np.int64)
