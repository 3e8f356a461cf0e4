"""Score a shard's windows by a frozen model, as a kind of scorer does it.

    python workflow/scripts/score_windows.py --kind short_nll --settings '{"base_length": 512, …}' \
        --model results/models/llama/longspan.json --tokens results/tokens/books/llama/00000.parquet \
        --windows results/windows/books-2k/00000.parquet --scores results/scores/books-2k/short/00000.parquet

A killed job goes on at the next window that has no score; windows that have one are left alone.
"""

from pathlib import Path

from longspan.plugins.options import own_options
from longspan.process.command_line import parser_for, run_script
from longspan.scoring.kind import SCORER_KINDS
from longspan.scoring.store import ScoreWriter
from longspan.scoring.vocabulary import open_shard
from longspan.store.code import code_digest, stage_version
from longspan.windows.store import kept_ids


def main(argv=None):
    """Add the missing scores of a shard."""
    parser = parser_for(__doc__)
    parser.add_argument("--kind", required=True, help="kind of the scorer")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the scoring model")
    parser.add_argument("--tokens", required=True, help="table of tokens")
    parser.add_argument("--windows", required=True, help="table of windows")
    parser.add_argument("--documents", nargs="?", help="table of documents, for a tokenizer of its own")
    parser.add_argument("--kept", nargs="*", default=[], help="kept windows of selections: score only those")
    parser.add_argument("--scores", type=Path, required=True, help="table of scores to write")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args(argv)
    settings, kind = arguments.settings, SCORER_KINDS[arguments.kind]
    scorer = kind(**own_options(kind, settings))

    manifest, windows = open_shard(
        arguments.model,
        arguments.tokens,
        arguments.windows,
        shard=arguments.scores.stem,
        documents=arguments.documents,
    )
    wanted = windows.data_ids
    if arguments.kept:
        wanted = kept_ids(arguments.kept, windows.windows_digests)
    forward = {key: settings[key] for key in scorer.forward_keys}
    with ScoreWriter(
        arguments.scores,
        scorer.table,
        windows,
        settings=settings | scorer.window_settings(windows),
        inputs={"model": manifest[scorer.model_digest]},
        stage_version=stage_version(scorer.stage),
        without=scorer.without,
        code_digest=code_digest(Path(__file__), SCORER_KINDS.source_file(scorer.name)),
    ) as writer:
        writer.add_missing(
            wanted,
            lambda: scorer.load(arguments.model.parent, windows, forward=forward, threads=arguments.threads),
        )
        count = writer.finish()
    print(f"{arguments.scores}: {count} of {len(windows.data_ids)} windows have scores")


if __name__ == "__main__":
    run_script(main)
