"""Write down the settings of a run, with every default filled in.

python workflow/scripts/record_settings.py --settings '{"seed": 0, …}' --record results/settings.yaml
"""

from pathlib import Path

import yaml

from longspan.process.command_line import parser_for, run_script
from longspan.store.tables import atomic_path


def main(argv=None):
    """Write the settings as YAML."""
    parser = parser_for(__doc__)
    parser.add_argument("--record", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)
    with atomic_path(arguments.record) as temporary:
        temporary.write_text(yaml.safe_dump(arguments.settings, sort_keys=False))


if __name__ == "__main__":
    run_script(main)
