"""Read the documents of a shard's plan: decode, strip boilerplate; say what is left out and why.

    python workflow/scripts/read_documents.py --settings '{"on_bad_document": "skip", "clean_up": {}}' \
        --plan results/corpora/books/plan/00000.json \
        --documents results/corpora/books/documents/00000.parquet \
        --dropped results/corpora/books/dropped/00000.parquet
"""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from longspan.corpora.clean_up import CleanUp
from longspan.corpora.documents import Document, read_documents
from longspan.corpora.plans import read_plan
from longspan.process.command_line import parser_for, run_script
from longspan.store.code import code_digest
from longspan.store.tables import TableWriter, digest_file, read_table
from longspan.windows.counts import by_reason, left_out, of_category


def main(argv=None):
    """Write one row a document, and one a document that is left out."""
    parser = parser_for(__doc__)
    parser.add_argument("--plan", required=True, help="the shard's plan")
    parser.add_argument("--documents", required=True, help="table of documents to write")
    parser.add_argument("--dropped", required=True, help="table of left out documents to write")
    parser.add_argument("--references", nargs="?", help="table of n-grams that no document may share")
    arguments = parser.parse_args(argv)

    items = read_plan(arguments.plan)
    inputs = {"plan": digest_file(arguments.plan)}
    clean_up = CleanUp(**arguments.settings["clean_up"])
    if arguments.references:
        table, references = read_table(arguments.references, "reference_ngrams")
        inputs["references"] = references.data_digest
        words, ngrams = (column.to_numpy() for column in table.columns)
        by_words = {int(size): ngrams[words == size] for size in np.unique(words)}
        whole = by_words.pop(clean_up.ngram_words, np.zeros(0, np.uint64))
        clean_up = replace(clean_up, references=whole, short_references=by_words)
    manifest = {
        "settings": arguments.settings,
        "inputs": inputs,
        "code_digest": code_digest(Path(__file__)),
    }
    with (
        TableWriter(arguments.documents, "documents", **manifest) as kept,
        TableWriter(arguments.dropped, "dropped", **manifest) as dropped,
    ):
        if kept.keep_current(dropped):
            return
        policy = arguments.settings["on_bad_document"]
        for document in read_documents(items, on_bad_document=policy, clean_up=clean_up):
            if isinstance(document, Document):
                kept.append(asdict(document), len(document.text))
                kept.counts[of_category(document.category)] += 1
            else:
                dropped.append(asdict(document), 1)
                kept.counts[left_out(document.reason)] += 1
    print(f"{arguments.documents}: {kept.rows} documents")
    for reason, count in sorted(by_reason(kept.counts).items()):
        print(f"{arguments.dropped}: {count} left out: {reason}")


if __name__ == "__main__":
    run_script(main)
