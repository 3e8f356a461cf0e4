"""Write the short table of what the chain did, and the funnel: what is left at each step, and why.

    python workflow/scripts/summarize_results.py --settings '{"windowings": {"books-2k": {"folder": …}}, …}' \
        --text results/summary.txt --table results/summary.tsv --funnel results/funnel.tsv
"""

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from longspan.process.command_line import parser_for, run_script
from longspan.reporting.funnel import COLUMNS, funnel_rows
from longspan.reporting.summary import format_rows, summary_rows
from longspan.reporting.windowings import WindowingTables
from longspan.selection.comparison import compare_selections
from longspan.store.shards import HELD_OUT, shard_files
from longspan.store.tables import atomic_path, read_table
from longspan.windows.counts import total_counts


def main(argv=None):
    """Write the summary, as text and as a table, and the funnel; settings name the tables to read."""
    parser = parser_for(__doc__)
    parser.add_argument("--text", type=Path, required=True, help="aligned text to write")
    parser.add_argument("--table", type=Path, required=True, help="tab-separated values to write")
    parser.add_argument("--funnel", type=Path, required=True, help="funnel to write, tab-separated")
    arguments = parser.parse_args(argv)

    settings = arguments.settings
    windowings = {
        name: WindowingTables.read(files(**block)) for name, block in settings["windowings"].items()
    }
    corpora = {
        name: (
            windowings[windowing].counts,
            total_counts([Path(settings["windowings"][windowing]["folder"], f"{HELD_OUT}.parquet")]),
        )
        for name, windowing in settings["corpora"].items()
    }
    selection_of = cache(lambda path: read_table(path, "selection")[0].to_pandas())
    comparisons = {
        name: compare_selections(*map(selection_of, paths), name)
        for name, paths in settings["comparisons"].items()
    }
    selections = {
        name: (windowing, selection_of(path)) for name, (windowing, path) in settings["selections"].items()
    }
    rows = summary_rows(
        corpora={name: counts for name, (counts, _) in corpora.items()},
        windowings=windowings,
        stores={name: files(**block) for name, block in settings["stores"].items()},
        selections={name: table for name, (_, table) in selections.items()},
        comparisons=comparisons,
        trainings=settings["trainings"],
        evaluations=settings["evaluations"],
    )
    funnel = funnel_rows(corpora, windowings, selections)
    write_rows(arguments.table, [("quantity", "name", "value"), *rows])
    write_rows(arguments.funnel, [COLUMNS, *funnel])
    with atomic_path(arguments.text) as temporary:
        temporary.write_text(f"{format_rows(rows)}\n{verdict_of(settings['verdict'])}")


def verdict_of(path: str | None) -> str:
    """The verdict under a heading; nothing where no model is trained."""
    if path is None:
        return ""
    paragraphs = Path(path).read_text().splitlines()
    return "".join(f"\n{text}\n" for text in ("Verdict", *map(wrap, paragraphs)))


def wrap(paragraph: str) -> str:
    """A paragraph in lines of at most 110 characters."""
    return "\n".join(textwrap.wrap(paragraph, 110, break_long_words=False, break_on_hyphens=False))


def files(folder: str, shards: int) -> list[Path]:
    """Tables of all shards in a folder."""
    return list(shard_files(Path(folder), shards).values())


def write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write rows as tab-separated values."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in rows))


if __name__ == "__main__":
    run_script(main)
