"""Write a shard's windows, or those that a selection keeps, as Parquet or JSON lines for others.

    python workflow/scripts/export_windows.py --settings '{"format": "parquet", "loss": null, "seed": null}' \
        --documents results/corpora/books/documents/00000.parquet --shard 00000 \
        --tokens results/tokens/books/llama/00000.parquet --windows results/windows/books-2k/00000.parquet \
        --kept results/selections/best.kept.parquet --export results/exports/best/data/00000.parquet \
        --manifest results/exports/best/manifests/00000.parquet.json
"""

from functools import partial
from pathlib import Path

from longspan.exports.windows import ExportWriter, exported_rows, frozen_weights
from longspan.process.command_line import parser_for, run_script
from longspan.scoring.index import IndexedScores
from longspan.store.code import code_digest
from longspan.store.tables import digest_of
from longspan.weighting.variant import loss_of_settings, variant_files
from longspan.windows.shard import Shard
from longspan.windows.store import kept_ids


def main(argv=None):
    """Write one row a window, and the manifest."""
    parser = parser_for(__doc__)
    parser.add_argument("--documents", required=True, help="table of documents")
    parser.add_argument("--tokens", required=True, help="table of tokens")
    parser.add_argument("--windows", required=True, help="table of windows")
    parser.add_argument("--shard", required=True, help="the shard's name")
    parser.add_argument("--kept", nargs="?", help="kept windows of a selection: export those; otherwise all")
    parser.add_argument("--index", nargs="?", type=Path, help="index of the frozen scores, for a loss")
    parser.add_argument("--export", type=Path, required=True, help="file to write")
    parser.add_argument("--manifest", type=Path, required=True, help="its manifest, written last")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    shard = Shard(arguments.shard, arguments.windows, tokens=arguments.tokens, documents=arguments.documents)
    inputs, digests = shard.inputs, {shard.name: shard.windows_digest}
    data_ids = shard.data_ids
    if arguments.kept:
        kept = set(kept_ids([arguments.kept], digests))
        data_ids = [data_id for data_id in data_ids if data_id in kept]
        inputs["kept"] = digest_of(data_ids)
    weights_of = None
    if arguments.index:
        scores = IndexedScores(
            arguments.index,
            {shard.name: arguments.index.with_name(f"{shard.name}.parquet")},
            digests,
            columns=("short_nll", "long_nll"),
        )
        weights_of = partial(frozen_weights, scores, loss_of_settings(settings["loss"]), settings["seed"])
        inputs["scores"] = scores.digests[shard.name]
    with ExportWriter(
        arguments.export,
        arguments.manifest,
        settings["format"],
        with_weights=weights_of is not None,
        settings=settings | {"window_tokens": shard.window_tokens, "bos_token_id": shard.bos_token_id},
        inputs=inputs,
        tokenizer=shard.tokenizer,
        code_digest=code_digest(Path(__file__), *variant_files(settings["loss"])),
    ) as writer:
        for row in exported_rows(shard, set(data_ids), weights_of):
            writer.append(row)
    print(f"{arguments.export}: {writer.rows} of {len(shard.data_ids)} windows")


if __name__ == "__main__":
    run_script(main)
