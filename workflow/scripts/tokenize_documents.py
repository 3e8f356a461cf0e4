"""Tokenize a shard's documents with a model's own tokenizer, and keep where each token begins.

    python workflow/scripts/tokenize_documents.py --documents results/corpora/books/documents/00000.parquet \
        --model results/models/llama/longspan.json --tokens results/tokens/books/llama/00000.parquet
"""

from pathlib import Path

from tqdm import tqdm

from longspan.artifacts import RowReader, TableWriter
from longspan.command_line import parser_for, run_script
from longspan.model_folders import read_manifest
from longspan.tokenization import DocumentTokenizer
from longspan_workflow.code_digests import code_digest


def main(argv=None):
    """Write one row of token ids and offsets a document."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--documents", required=True, help="table of documents")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model with the tokenizer")
    parser.add_argument("--tokens", required=True, help="table of tokens to write")
    arguments = parser.parse_args(argv)

    identity = read_manifest(arguments.model)["tokenizer"]["identity"]
    tokenizer = DocumentTokenizer(arguments.model.parent)
    documents = RowReader(arguments.documents, "documents", ["document_id", "text"])
    num_tokens = 0
    with TableWriter(
        arguments.tokens,
        "tokens",
        settings={},
        inputs={"documents": documents.manifest.data_digest},
        tokenizer=identity,
        code_digest=code_digest("tokenize_documents"),
    ) as table:
        if table.keep_current():
            return
        for row in tqdm(range(len(documents)), desc="tokenize", unit="document", mininterval=2):
            document = {name: value.as_py() for name, value in documents[row].items()}
            tokenized = tokenizer.encode(document.pop("text"))
            num_tokens += len(tokenized.input_ids)
            table.append(document | vars(tokenized), len(tokenized.input_ids))
    print(f"{arguments.tokens}: {num_tokens:,} tokens of {table.rows} documents")


if __name__ == "__main__":
    run_script(main)
