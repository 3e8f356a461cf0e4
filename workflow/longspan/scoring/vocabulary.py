"""Whether a scoring model reads the windows' token ids as the tokens that they are.

A scorer may be another model than the one that is trained, with a tokenizer file of its own. What counts
is that both give the same ids: they are compared on a sample of the text that the windows are cut from.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from tokenizers import Tokenizer

from longspan.models.folders import read_manifest
from longspan.store.tables import RowReader, read_table, require_same
from longspan.tokens.tokenization import DocumentTokenizer
from longspan.windows.store import WindowStore

# About so many documents, spread over the shard, unless the first ones are as long as this.
SAMPLE_DOCUMENTS = 8
SAMPLE_CHARACTERS = 2**22
_CHOOSE = "choose a scorer with the vocabulary of the windowing's tokenizer"


def open_shard(
    model: Path, tokens: Path | str, windows: Path | str, *, shard: str, documents: Path | str | None = None
) -> tuple[dict, WindowStore]:
    """The manifest of a scoring model, and the windows of a shard, whose ids it can read.

    Args:
        model: manifest of the scoring model.
        tokens: the shard's tokens.
        windows: the shard's windows.
        shard: its name.
        documents: the shard's documents; only a model with another tokenizer file than the windows' needs
            them.

    Raises:
        ValueError: a table or a model's file that is missing or of another making, or a model that gives a
            sample of the text other ids, has another BOS token, or has no embedding of some id.
    """
    manifest = read_manifest(model)
    store = WindowStore({shard: (tokens, windows)})
    if documents is None:
        store.require_tokenizer(manifest["tokenizer"]["identity"], model)
    elif manifest["tokenizer"]["identity"] != store.tokenizer:
        _require_same_ids(model, tokens, documents)
        _require_bos(model, manifest["tokenizer"]["bos_token_id"], store.bos_token_id)
    require_embeddings(model, [tokens], store)
    return manifest, store


def require_embeddings(model: Path, tokens: Iterable[Path | str], windows: WindowStore) -> None:
    """Refuse a model that has fewer embeddings than its texts have ids.

    A tokenizer may have more ids than its model, as long as no text holds them. Tables are read only where it
    has, or the windows come from another tokenizer.

    Args:
        model: manifest of the model.
        tokens: tables of tokens.
        windows: what is cut from them.

    Raises:
        ValueError: naming the model, its embeddings and the largest id.
    """
    config = json.loads((model.parent / "config.json").read_text())
    size = config.get("text_config", config)["vocab_size"]
    if read_manifest(model)["tokenizer"]["identity"] == windows.tokenizer:
        tokenizer = Tokenizer.from_file(str(model.parent / "tokenizer.json"))
        if max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) < size:
            return
    largest = windows.bos_token_id or 0
    for path in tokens:
        input_ids = read_table(path, "tokens", ["input_ids"])[0].column(0)
        largest = max(largest, pc.max(pc.list_flatten(input_ids)).as_py() or 0)
    if largest >= size:
        raise ValueError(f"{model} has embeddings of {size} ids, the windows' go up to {largest}; {_CHOOSE}")


def _require_same_ids(model: Path, tokens: Path | str, documents: Path | str) -> None:
    theirs = RowReader(tokens, "tokens", ["document_id", "input_ids"])
    texts = RowReader(documents, "documents", ["text"])
    require_same(
        "documents file",
        texts.manifest.data_digest,
        theirs.manifest.inputs["documents"],
        where=tokens,
        rule="tokenize_documents",
    )
    tokenizer = DocumentTokenizer(model.parent)
    characters = 0
    for row in range(0, len(texts), max(1, len(texts) // SAMPLE_DOCUMENTS)):
        text, values = texts[row]["text"].as_py(), theirs[row]
        ours, stored = tokenizer.encode(text).input_ids, values["input_ids"].values.to_numpy()
        if not np.array_equal(ours, stored):
            shared = min(len(ours), len(stored))
            place = int(np.append(ours[:shared] != stored[:shared], True).argmax())
            raise ValueError(
                f"{model} has another vocabulary than the windows: it gives document "
                f"{values['document_id'].as_py()} other ids from token {place} on "
                f"({_ids(ours, place)} instead of {_ids(stored, place)}); {_CHOOSE}"
            )
        characters += len(text)
        if characters >= SAMPLE_CHARACTERS:
            break


def _require_bos(model: Path, ours: int | None, theirs: int | None) -> None:
    if theirs is not None and ours != theirs:
        raise ValueError(f"{model} has the BOS token {ours}, the windows begin with {theirs}; {_CHOOSE}")


def _ids(ids: np.ndarray, place: int) -> str:
    return ", ".join(map(str, ids[place : place + 3])) or "none"
