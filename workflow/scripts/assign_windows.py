"""Cut a shard's documents into windows with ids, and sample them.

    python workflow/scripts/assign_windows.py --settings '{"window_tokens": 2048, "policy": "both_ends", …}' \
        --tokens results/tokens/books/llama/00000.parquet --model results/models/llama/longspan.json \
        --id-prefix books-00000 --windows results/windows/books-2k/00000.parquet
"""

from pathlib import Path

from longspan.models.folders import read_manifest
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.tables import RowReader, read_table, require_same, write_table
from longspan.windows.assignment import (
    TOKEN_COLUMNS,
    bos_token_of,
    sample_windows,
    tokenized_documents,
    windowing_of,
    windows_of,
)
from longspan.windows.counts import count_cut


def main(argv=None):
    """Write one row a window."""
    parser = parser_for(__doc__)
    parser.add_argument("--documents", required=True, help="table of documents, for their categories")
    parser.add_argument("--tokens", required=True, help="table of tokens")
    parser.add_argument("--model", required=True, help="manifest of the model with the tokenizer")
    parser.add_argument("--id-prefix", required=True, help="corpus and shard, in front of the ids' numbers")
    parser.add_argument("--windows", required=True, help="table of windows to write")
    arguments = parser.parse_args(argv)
    settings = dict(arguments.settings)

    documents, documents_manifest = read_table(arguments.documents, "documents", ["document_id", "category"])
    tokens = RowReader(arguments.tokens, "tokens", list(TOKEN_COLUMNS))
    require_same(
        "documents file",
        documents_manifest.data_digest,
        tokens.manifest.inputs["documents"],
        where=arguments.tokens,
        rule="tokenize_documents",
    )
    again = "delete it and run the same target again, which reruns tokenize_documents"
    tokenized = tokens.read(["document_id"])
    if not tokenized.column("document_id").equals(documents.column("document_id")):
        raise ValueError(f"{arguments.tokens} lacks documents of {arguments.documents}, or has more; {again}")
    tokenizer = read_manifest(arguments.model)["tokenizer"]
    require_same(
        "tokenizer",
        tokenizer["identity"],
        tokens.manifest.tokenizer,
        where=arguments.tokens,
        rule="tokenize_documents",
    )
    settings["bos_token_id"] = bos_token_of(settings.pop("add_bos"), tokenizer, arguments.model)
    sampling, seed = settings["sampling"], settings["seed"]
    num_tokens = {}

    def rows():
        for document in tokenized_documents(documents.column("category").to_pylist(), tokens):
            num_tokens[document["document_id"]] = len(document["input_ids"])
            yield document

    all_windows = list(windows_of(rows(), windowing_of(settings), arguments.id_prefix))
    windows = sample_windows(all_windows, seed, **sampling)
    counts = count_cut(num_tokens, all_windows)
    write_table(
        arguments.windows,
        "windows",
        windows,
        settings=settings,
        inputs={"tokens": tokens.manifest.data_digest, "documents": documents_manifest.data_digest},
        tokenizer=tokens.manifest.tokenizer,
        counts=documents_manifest.counts | counts,
        code_digest=code_digest(Path(__file__)),
    )
    short, window_tokens = counts["short_documents"], settings["window_tokens"]
    print(
        f"{arguments.windows}: {len(windows)} of {len(all_windows)} windows; {short} of {len(documents)} "
        f"documents are shorter than a window of {window_tokens} tokens and give none"
    )


if __name__ == "__main__":
    run_script(main)
