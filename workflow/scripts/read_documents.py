"""Read the documents of a shard's plan: decode, strip boilerplate; say what is left out and why.

    python workflow/scripts/read_documents.py --settings '{"on_bad_document": "skip"}' \
        --plan results/corpora/books/plan/00000.json \
        --documents results/corpora/books/documents/00000.parquet \
        --dropped results/corpora/books/dropped/00000.parquet
"""

from collections import Counter
from dataclasses import asdict

from longspan.artifacts import TableWriter, digest_file
from longspan.command_line import parser_for, run_script
from longspan.documents import Document, read_documents
from longspan.shard_plans import read_plan
from longspan_workflow.code_digests import code_digest


def main(argv=None):
    """Write one row a document, and one a document that is left out."""
    parser = parser_for(__doc__)
    parser.add_argument("--plan", required=True, help="the shard's plan")
    parser.add_argument("--documents", required=True, help="table of documents to write")
    parser.add_argument("--dropped", required=True, help="table of left out documents to write")
    arguments = parser.parse_args(argv)

    items = read_plan(arguments.plan)
    manifest = {
        "settings": arguments.settings,
        "inputs": {"plan": digest_file(arguments.plan)},
        "code_digest": code_digest("read_documents"),
    }
    reasons = Counter()
    with (
        TableWriter(arguments.documents, "documents", **manifest) as kept,
        TableWriter(arguments.dropped, "dropped", **manifest) as dropped,
    ):
        if kept.keep_current(dropped):
            return
        for document in read_documents(items, **arguments.settings):
            if isinstance(document, Document):
                kept.append(asdict(document), len(document.text))
            else:
                dropped.append(asdict(document), 1)
                reasons[document.reason] += 1
    print(f"{arguments.documents}: {kept.rows} documents")
    for reason, count in sorted(reasons.items()):
        print(f"{arguments.dropped}: {count} left out: {reason}")


if __name__ == "__main__":
    run_script(main)
