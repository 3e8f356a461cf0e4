"""Measure the attention statistics of a shard's windows in a model's first layer (LongAttn).

    python workflow/scripts/score_attention.py --settings '{"dtype": "float32", "rope_theta": null, …}' \
        --model results/models/llama/longspan.json --tokens results/tokens/books/llama/00000.parquet \
        --windows results/windows/books-2k/00000.parquet --scores results/scores/books-2k/layer0/00000.parquet

A killed job goes on at the next window that has no score; windows that have one are left alone.
"""

from longspan.models.loading import pick_device
from longspan.process.command_line import run_script, scoring_parser
from longspan.scoring.store import ScoreWriter
from longspan.scoring.vocabulary import open_shard
from longspan.store.code import code_digest, stage_version


def main(argv=None):
    """Add the missing scores of a shard."""
    arguments = scoring_parser(__doc__).parse_args(argv)
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

        from longspan.scoring.first_layer import load_first_layer, statistics_of_batches

        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        forward = {key: settings[key] for key in ("dtype", "rope_theta", "compile_layers")}
        first_layer = load_first_layer(arguments.model.parent, **forward, device=pick_device())

        def score(unscored):
            batches = (([data_id], torch.from_numpy(input_ids_T)[None]) for data_id, input_ids_T in unscored)
            for statistics in statistics_of_batches(first_layer, batches):
                names = ("strength", "variance_block", "variance_matrix")
                yield {name: value_1.item() for name, value_1 in zip(names, statistics, strict=True)}

        return score

    with ScoreWriter(
        arguments.scores,
        "attention_scores",
        windows,
        settings=settings,
        inputs={"model": model_manifest["first_layer_digest"]},
        stage_version=stage_version("scoring.attention_statistics"),
        code_digest=code_digest("score_attention"),
    ) as writer:
        writer.add_missing(windows.data_ids, load_scorer)
        count = writer.finish()
    print(f"{arguments.scores}: {count} of {len(windows.data_ids)} windows have scores")


if __name__ == "__main__":
    run_script(main)
