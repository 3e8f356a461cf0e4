"""Tokenize a shard's documents with a model's own tokenizer, and keep where each token begins.

    python workflow/scripts/tokenize_documents.py --documents results/corpora/books/documents/00000.parquet \
        --model results/models/llama/longspan.json --tokens results/tokens/books/llama/00000.parquet
"""

import itertools
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from longspan.models.folders import read_manifest
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.tables import RowReader, TableWriter
from longspan.tokens.byte_level import checked_tokenizer, sample_texts
from longspan.tokens.tokenization import encode_batches

# Enough to keep the cores busy; a batch's tokens become one row group.
BATCH_BYTES = 2**20


def main(argv=None):
    """Write one row of token ids and offsets a document."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--documents", required=True, help="table of documents")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model with the tokenizer")
    parser.add_argument("--tokens", required=True, help="table of tokens to write")
    arguments = parser.parse_args(argv)

    identity = read_manifest(arguments.model)["tokenizer"]["identity"]
    documents = RowReader(arguments.documents, "documents", ["document_id", "text"])
    documents.read(["document_id"])  # each id once
    num_tokens = 0
    with TableWriter(
        arguments.tokens,
        "tokens",
        settings={},
        inputs={"documents": documents.manifest.data_digest},
        tokenizer=identity,
        code_digest=code_digest(Path(__file__)),
    ) as table:
        if table.keep_current():
            return
        tokenizer, said = checked_tokenizer(arguments.model.parent, sample_texts(documents))
        print(said, flush=True)
        with tqdm(desc="tokenize", total=len(documents), unit="document", mininterval=2) as progress:
            batches, read = itertools.tee(documents.batches(BATCH_BYTES))
            texts = (batch.column("text").to_pylist() for batch in read)
            for tokenized, batch in zip(encode_batches(tokenizer, texts), batches, strict=True):
                num_tokens += len(tokenized.input_ids)
                columns = {"document_id": batch.column("document_id")} | tokenized.columns()
                table.write(pa.table(columns))
                progress.update(len(batch))
    print(f"{arguments.tokens}: {num_tokens:,} tokens of {table.rows} documents")


if __name__ == "__main__":
    run_script(main)
