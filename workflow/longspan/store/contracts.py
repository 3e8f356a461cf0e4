"""The data contracts: what each kind of table holds, and the rule that writes it."""

from dataclasses import dataclass

import pyarrow as pa

# Grows when a column or its meaning changes; tables of another version are refused.
SCHEMA_VERSION = 1

TOKEN_IDS = pa.list_(pa.int32())
SEVERAL_TOKEN_IDS = pa.list_(TOKEN_IDS)
NLL = pa.list_(pa.float16())
LOSS_WEIGHTS = pa.list_(pa.float32())

# Why a document is left out: it cannot be read as text, which is an error unless a corpus skips such ones ...
BAD_DOCUMENT = (
    "bad file",
    "bad encoding",
    "bad JSON",
    "bad column",
    "too long",
    "NUL bytes",
    "lone surrogates",
    "empty",
    "duplicate id",
)
# ... or it is kept for evaluation by another source, or cleaned up.
CLEAN_UP = ("held out", "duplicate", "overlap", "too short", "unprintable", "repeated lines")
DROP_REASONS = BAD_DOCUMENT + CLEAN_UP


@dataclass(frozen=True)
class Contract:
    """One kind of table: its columns and the rule that writes it."""

    columns: pa.Schema
    rule: str
    # A column that holds no value twice.
    key: str | None = None
    # A store of NLLs can lack the long-context column, an export its weights.
    optional: frozenset[str] = frozenset()
    # Columns of lists of integers far below their type's bound: kept byte by byte (BYTE_STREAM_SPLIT), they
    # take a fifth less. Tables for others do without, since not everything reads it.
    split_bytes: tuple[str, ...] = ()


CONTRACTS = {
    "documents": Contract(
        pa.schema(
            {
                "document_id": pa.string(),
                "source": pa.string(),
                "category": pa.string(),
                "license": pa.string(),
                "title": pa.string(),
                "text": pa.large_string(),
            }
        ),
        rule="read_documents",
        key="document_id",
    ),
    # Documents of the shard's plan that are not among its documents. `reason` is one of DROP_REASONS, for
    # counting; `detail` says more of this one. `characters` is null where there is no text to count.
    "dropped": Contract(
        pa.schema(
            {
                "document_id": pa.string(),
                "source": pa.string(),
                "category": pa.string(),
                "title": pa.string(),
                "reason": pa.string(),
                "detail": pa.string(),
                "characters": pa.int64(),
            }
        ),
        rule="read_documents",
    ),
    # Hashes of n-grams of so many words, sorted, each once; a text of fewer words is one n-gram.
    "reference_ngrams": Contract(
        pa.schema({"words": pa.int64(), "ngram": pa.uint64()}), rule="index_references"
    ),
    # char_deltas has one entry more than input_ids: differences of the tokens' first characters, then
    # of the end of the last token. split_positions are tokens that begin inside a character.
    "tokens": Contract(
        pa.schema(
            {
                "document_id": pa.string(),
                "input_ids": TOKEN_IDS,
                "char_deltas": TOKEN_IDS,
                "split_positions": TOKEN_IDS,
            }
        ),
        rule="tokenize_documents",
        key="document_id",
        split_bytes=("input_ids", "char_deltas"),
    ),
    # token_start and token_stop count text tokens of the document; a BOS token is not among them.
    # tokens_digest tells what an id stands for: a score counts for a window while both have the same.
    "windows": Contract(
        pa.schema(
            {
                "data_id": pa.string(),
                "document_id": pa.string(),
                "category": pa.string(),
                "token_start": pa.int64(),
                "token_stop": pa.int64(),
                "char_start": pa.int64(),
                "char_stop": pa.int64(),
                "tokens_digest": pa.int64(),
            }
        ),
        rule="assign_windows",
        key="data_id",
    ),
    # Entry t of an NLL array is the negative log-likelihood (nats) of token t+1 of the window.
    "nll_scores": Contract(
        pa.schema({"data_id": pa.string(), "tokens_digest": pa.int64(), "short_nll": NLL, "long_nll": NLL}),
        rule="score_short",
        key="data_id",
        optional=frozenset({"long_nll"}),
    ),
    "attention_scores": Contract(
        pa.schema(
            {
                "data_id": pa.string(),
                "tokens_digest": pa.int64(),
                "strength": pa.float64(),
                "variance_block": pa.float64(),
                "variance_matrix": pa.float64(),
            }
        ),
        rule="score_attention",
        key="data_id",
    ),
    "score_index": Contract(
        pa.schema({"data_id": pa.string(), "shard": pa.string(), "row": pa.int64()}),
        rule="collect_weights",
        key="data_id",
    ),
    "selection": Contract(
        pa.schema(
            {
                "data_id": pa.string(),
                "category": pa.string(),
                "score": pa.float64(),
                "rank": pa.int64(),
                "percentile": pa.float64(),
                "kept": pa.bool_(),
                "reason": pa.string(),
            }
        ),
        rule="select_windows",
        key="data_id",
    ),
    # What a shard's job needs of a selection.
    "kept_windows": Contract(pa.schema({"data_id": pa.string()}), rule="list_kept_windows", key="data_id"),
    # Tables for others. content is the exact slice char_start:char_stop of the document's text. Entry t of
    # loss_weights weighs the loss of predicting token t of input_ids; the first has 0.
    "exported_windows": Contract(
        pa.schema(
            {
                "content": pa.string(),
                "data_id": pa.string(),
                "document_id": pa.string(),
                "category": pa.string(),
                "title": pa.string(),
                "source": pa.string(),
                "license": pa.string(),
                "char_start": pa.int64(),
                "char_stop": pa.int64(),
                "input_ids": TOKEN_IDS,
                "loss_weights": LOSS_WEIGHTS,
            }
        ),
        rule="export_windows",
        key="data_id",
        optional=frozenset({"loss_weights"}),
    ),
    "exported_tokens": Contract(
        pa.schema({"input_ids": TOKEN_IDS, "loss_weights": LOSS_WEIGHTS}),
        rule="export_windows",
        optional=frozenset({"loss_weights"}),
    ),
    "training_metrics": Contract(
        pa.schema(
            {
                "step": pa.int64(),
                "loss_weighted": pa.float64(),
                "loss_unweighted": pa.float64(),
                "weight_mean": pa.float64(),
                "weight_std": pa.float64(),
                "share_above_one": pa.float64(),
                # Mean over sequences of their weights' entropy, divided by that of equal weights.
                "weight_entropy": pa.float64(),
                "learning_rate": pa.float64(),
                "gradient_norm": pa.float64(),
                "tokens_seen": pa.int64(),
            }
        ),
        rule="train",
    ),
    # What a machine did, so no two trainings have the same: apart from the metrics, which are reproducible.
    "training_speed": Contract(
        pa.schema(
            {
                "step": pa.int64(),
                "seconds": pa.float64(),
                "tokens_per_second": pa.float64(),
                "mfu": pa.float64(),
                "memory_bytes": pa.int64(),
            }
        ),
        rule="train",
    ),
    # Targets by effective context, the tokens of its own document that a target sees, of all rows of a
    # training. `weight` is that of the context alone, before a window's weights are scaled to keep their sum;
    # `is_tail` marks what is weighed up, or would be by default.
    "training_exposure": Contract(
        pa.schema(
            {
                "context_start": pa.int64(),
                "context_stop": pa.int64(),
                "targets": pa.int64(),
                "weight": pa.float64(),
                "is_tail": pa.bool_(),
            }
        ),
        rule="train",
    ),
    # Held-out loss by length of context in the course of a training.
    "training_guard": Contract(
        pa.schema(
            {
                "step": pa.int64(),
                "position_start": pa.int64(),
                "position_stop": pa.int64(),
                "nll_mean": pa.float64(),
            }
        ),
        rule="train",
    ),
    "evaluation": Contract(
        pa.schema(
            {
                "data_id": pa.string(),
                "document_id": pa.string(),
                "category": pa.string(),
                "position_start": pa.int64(),
                "position_stop": pa.int64(),
                "nll_sum": pa.float64(),
            }
        ),
        rule="evaluate",
    ),
    # Prompts of a task of evaluation, one row a sample; the columns are explained in
    # longspan.evaluation.generated.
    "task_inputs": Contract(
        pa.schema(
            {
                "sample_id": pa.string(),
                "group": pa.string(),
                "document_id": pa.string(),
                "length": pa.int64(),
                "depth": pa.float64(),
                "distance": pa.int64(),
                "prompt_ids": TOKEN_IDS,
                "control_ids": TOKEN_IDS,
                "candidate_ids": SEVERAL_TOKEN_IDS,
                "answers": pa.list_(pa.string()),
                "evidence_starts": TOKEN_IDS,
                "evidence_stops": TOKEN_IDS,
                "new_tokens": pa.int64(),
            }
        ),
        rule="make_task",
        key="sample_id",
    ),
    # What a model answers to them.
    "answers": Contract(
        pa.schema(
            {
                "sample_id": pa.string(),
                "group": pa.string(),
                "document_id": pa.string(),
                "length": pa.int64(),
                "depth": pa.float64(),
                "distance": pa.int64(),
                "nll": pa.list_(pa.float64()),
                "tokens": pa.list_(pa.int64()),
                "control_nll": pa.list_(pa.float64()),
                "text": pa.string(),
                "stop": pa.string(),
                "score": pa.float64(),
            }
        ),
        rule="evaluate",
        key="sample_id",
    ),
}


def add_contract(kind: str, contract: Contract) -> None:
    """Make the tables of a plug-in known.

    Raises:
        ValueError: tables of this kind are there already, and are others.
    """
    if CONTRACTS.setdefault(kind, contract) != contract:
        raise ValueError(
            f"there are tables of kind '{kind}' already, with other columns; choose another name"
        )
