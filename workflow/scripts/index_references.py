"""Index the n-grams of words of the held-out works and of further files, for documents to be compared with.

A text of fewer words is one n-gram, and is compared whole.

    python workflow/scripts/index_references.py \
        --settings '{"ngram_words": 13, "files": [], "text_column": "text"}' \
        --documents results/corpora/books/documents/held_out.parquet \
        --ngrams results/corpora/books/reference_ngrams.parquet
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from longspan.corpora.documents import read_texts
from longspan.corpora.limits import require_inside
from longspan.corpora.ngrams import references_of
from longspan.corpora.raw_paths import raw_paths
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.tables import digest_file, read_table, write_table


def main(argv=None):
    """Write the n-grams of all texts, each once."""
    parser = parser_for(__doc__)
    parser.add_argument("--documents", required=True, help="table of the held-out documents")
    parser.add_argument("--ngrams", required=True, help="table of n-grams to write")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    held_out, manifest = read_table(arguments.documents, "documents", ["text"])
    texts = held_out.column(0).to_pylist()
    inputs = {"documents": manifest.data_digest}
    paths = raw_paths(settings["files"])
    require_inside(paths, settings["files"])
    for path in paths:
        texts += read_texts(path, settings["text_column"])
        inputs[path] = digest_file(path)
    references = references_of(texts, settings["ngram_words"])
    sizes = np.repeat(list(references), [len(hashes) for hashes in references.values()])
    ngrams = np.concatenate(list(references.values()))
    write_table(
        arguments.ngrams,
        "reference_ngrams",
        pa.table({"words": sizes, "ngram": ngrams}),
        settings=settings,
        inputs=inputs,
        code_digest=code_digest(Path(__file__)),
    )
    shorter = len(ngrams) - len(references[settings["ngram_words"]])
    print(f"{arguments.ngrams}: {len(ngrams):,} n-grams of {len(texts)} texts", end="")
    print(f", {shorter:,} of them whole texts of fewer words" if shorter else "")


if __name__ == "__main__":
    run_script(main)
