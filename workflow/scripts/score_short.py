"""Score a shard's windows with a frozen model of short context (and, by setting, of the whole window).

    python workflow/scripts/score_short.py --settings '{"base_length": 512, "base_stride": 384, …}' \
        --model results/models/llama/longspan.json --tokens results/tokens/books/llama/00000.parquet \
        --windows results/windows/books-2k/00000.parquet --scores results/scores/books-2k/short/00000.parquet

A killed job goes on at the next window that has no score; windows that have one are left alone.
"""

from longspan.models.loading import load_model, pick_device
from longspan.process.command_line import run_script, scoring_parser
from longspan.scoring.store import ScoreWriter
from longspan.scoring.vocabulary import open_shard
from longspan.store.code import code_digest, stage_version
from longspan.windows.window_store import kept_ids


def main(argv=None):
    """Add the missing scores of a shard."""
    parser = scoring_parser(__doc__)
    parser.add_argument("--kept", nargs="*", default=[], help="kept windows of selections: score only those")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    model_manifest, windows = open_shard(
        arguments.model,
        arguments.tokens,
        arguments.windows,
        shard=arguments.scores.stem,
        documents=arguments.documents,
    )

    def load_scorer():
        import torch

        from longspan.scoring.nll import long_context_nll, short_context_nll

        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        forward = {key: settings[key] for key in ("dtype", "attention", "compile_layers", "rope_theta")}
        model = load_model(arguments.model.parent, **forward, device=pick_device()).eval()

        short_context = {key: settings[key] for key in ("base_length", "base_stride", "windows_per_batch")}
        short_context["bos_token_id"] = windows.bos_token_id

        def score(unscored):
            for data_id, input_ids_T in unscored:
                ids_1T = torch.from_numpy(input_ids_T)[None]
                columns = {"short_nll": short_context_nll(model, ids_1T, **short_context)}
                if settings["store_long"]:
                    columns["long_nll"] = long_context_nll(model, ids_1T)
                for name, nll_1N in columns.items():
                    if not nll_1N.isfinite().all():
                        raise ValueError(f"{name} of window {data_id} is not finite; try dtype float32")
                yield {name: nll_1N[0].half().cpu().numpy() for name, nll_1N in columns.items()}

        return score

    wanted = windows.data_ids
    if arguments.kept:
        wanted = kept_ids(arguments.kept, windows.windows_digests)
    with ScoreWriter(
        arguments.scores,
        "nll_scores",
        windows,
        settings=settings | {"bos_token_id": windows.bos_token_id},
        inputs={"model": model_manifest["digest"]},
        stage_version=stage_version("scoring.nll"),
        without=frozenset() if settings["store_long"] else frozenset({"long_nll"}),
        code_digest=code_digest("score_short"),
    ) as writer:
        writer.add_missing(wanted, load_scorer)
        count = writer.finish()
    print(f"{arguments.scores}: {count} of {len(windows.data_ids)} windows have scores")


if __name__ == "__main__":
    run_script(main)
