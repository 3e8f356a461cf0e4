"""Read the documents of a shard's plan: decode, strip boilerplate, keep origin and licence.

    python workflow/scripts/read_documents.py --plan results/corpora/books/plan/00000.json \
        --documents results/corpora/books/documents/00000.parquet
"""

from dataclasses import asdict

from longspan.artifacts import TableWriter, digest_file
from longspan.command_line import parser_for, run_script
from longspan.documents import read_documents
from longspan.shard_plans import read_plan
from longspan_workflow.code_digests import code_digest


def main(argv=None):
    """Write one row a document."""
    parser = parser_for(__doc__, settings=False)
    parser.add_argument("--plan", required=True, help="the shard's plan")
    parser.add_argument("--documents", required=True, help="table of documents to write")
    arguments = parser.parse_args(argv)

    items = read_plan(arguments.plan)
    inputs = {"plan": digest_file(arguments.plan)}
    digest = code_digest("read_documents")
    with TableWriter(
        arguments.documents, "documents", settings={}, inputs=inputs, code_digest=digest
    ) as table:
        if table.keep_current():
            return
        for document in read_documents(items):
            table.append(asdict(document), len(document.text))
    print(f"{arguments.documents}: {table.rows} documents")


if __name__ == "__main__":
    run_script(main)
