"""Count what a shard adds to the report: texts, what was dropped, NLL and weights.

    python workflow/scripts/aggregate_shard.py --settings '{"losses": {"short": {"dense": {…}}}}' \
        --shard 00000 --windows results/windows/books-2k/00000.parquet \
        --documents results/corpora/books/documents/00000.parquet \
        --tokens results/tokens/books/llama/00000.parquet \
        --dropped results/corpora/books/dropped/00000.parquet \
        --scores short=results/scores/books-2k/short/00000.parquet \
        --aggregate results/aggregates/windows/books-2k/00000.json
"""

from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.page.aggregates import write_aggregate
from longspan.reporting.page.shards import nll_counts, text_counts
from longspan.store.code import code_digest
from longspan.store.tables import RowReader
from longspan.weighting.variant import loss_of_settings, variant_files
from longspan.windows.shard import Shard


def main(argv=None):
    """Write the counts of one shard."""
    parser = parser_for(__doc__)
    parser.add_argument("--shard", required=True, help="the shard's name")
    for name in ("windows", "documents", "tokens", "dropped"):
        parser.add_argument(f"--{name}", required=True, help=f"table of {name}")
    parser.add_argument("--scores", nargs="*", default=[], metavar="SCORER=TABLE", help="NLL stores")
    parser.add_argument("--aggregate", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)
    losses = arguments.settings["losses"]

    shard = Shard(
        arguments.shard,
        arguments.windows,
        tokens=arguments.tokens,
        documents=arguments.documents,
        with_offsets=True,
    )
    counts, inputs = {"texts": text_counts(shard, arguments.dropped), "stores": {}}, shard.inputs
    for name, _, path in (entry.partition("=") for entry in arguments.scores):
        scores = RowReader(path, "nll_scores")
        variants = {loss: loss_of_settings(block) for loss, block in losses[name].items()}
        if found := nll_counts(shard, scores, variants):
            counts["stores"][name] = found
        inputs[f"scores/{name}"] = scores.manifest.data_digest
    blocks = [block for stored in losses.values() for block in stored.values()]
    write_aggregate(
        arguments.aggregate,
        counts,
        settings=arguments.settings,
        inputs=inputs,
        code_digest=code_digest(Path(__file__), *(file for block in blocks for file in variant_files(block))),
    )
    print(f"{arguments.aggregate}: {len(shard.data_ids)} windows, {len(counts['stores'])} stores")


if __name__ == "__main__":
    run_script(main)
