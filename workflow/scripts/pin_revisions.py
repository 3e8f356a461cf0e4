"""Check that the hub's models and datasets may be read, and keep the commit that each revision was at first.

    python workflow/scripts/pin_revisions.py --revisions downloads/revisions.json \
        --settings '{"repositories": [["dataset", "emozilla/pg19", "main"]]}'
"""

import json
from pathlib import Path

from longspan.fetching.hub_revisions import pin_revision
from longspan.process.command_line import parser_for, run_script
from longspan.store.tables import atomic_path


def main(argv=None):
    """Write commits by kind, repository and revision; those that are there stay."""
    parser = parser_for(__doc__)
    parser.add_argument("--revisions", type=Path, required=True, help="commits, read and written")
    arguments = parser.parse_args(argv)

    path = arguments.revisions
    pins = json.loads(path.read_text()) if path.exists() else {}
    for kind, repo, revision in arguments.settings["repositories"]:
        name = f"{kind} {repo} {revision}"
        if name not in pins:
            pins[name] = pin_revision(kind, repo, revision)
            print(f"{name} is commit {pins[name]}", flush=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_script(main)
