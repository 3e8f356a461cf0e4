"""Rank windows by a score over all shards, and say which are kept and why.

    python workflow/scripts/select_windows.py --settings '{"method": "longattn", "mode": "paper", …}' \
        --windows results/windows/books-2k --scores results/scores/books-2k/layer0 --shards 2 \
        --selection results/selections/best-quarter.parquet
"""

from pathlib import Path

import pandas as pd

from longspan.artifacts import read_table, write_table
from longspan.command_line import parser_for, run_script
from longspan.score_index import build_index
from longspan.selection import method_scores, selection_table
from longspan_workflow.code_digests import code_digest
from longspan_workflow.shards import shard_files


def main(argv=None):
    """Write the selection table."""
    parser = parser_for(__doc__)
    parser.add_argument("--windows", type=Path, required=True, help="folder of tables of windows")
    parser.add_argument("--scores", type=Path, required=True, help="folder of tables of scores")
    parser.add_argument("--shards", type=int, required=True, help="number of shards")
    parser.add_argument("--selection", required=True, help="table to write")
    arguments = parser.parse_args(argv)
    settings = arguments.settings

    shards = shard_files(arguments.windows, arguments.shards)
    scores = shard_files(arguments.scores, arguments.shards)
    # The same completeness that the NLL stores must show.
    _, inputs = build_index(shards, scores, kind="attention_scores")
    windows = pd.concat(
        read_table(shards[shard], "windows")[0]
        .to_pandas()
        .merge(read_table(scores[shard], "attention_scores")[0].to_pandas(), on=["data_id", "tokens_digest"])
        for shard in shards
    ).reset_index(drop=True)
    if windows.empty:
        raise ValueError(
            "the corpus gives no window: every document is shorter; shorten window_tokens, or add text"
        )
    table = selection_table(
        windows["data_id"],
        method_scores(settings["method"], windows, alpha=settings["alpha"], mode=settings["mode"]),
        keep=settings["keep"],
        category=windows["category"],
        num_tokens=[settings["window_tokens"]] * len(windows),
        ratio_within_category=settings["mode"] == "paper",
    )
    write_table(
        arguments.selection,
        "selection",
        table.to_dict("records"),
        settings=settings,
        inputs=inputs,
        code_digest=code_digest("select_windows"),
    )
    print(f"{arguments.selection}: {int(table['kept'].sum())} of {len(table)} windows kept")


if __name__ == "__main__":
    run_script(main)
