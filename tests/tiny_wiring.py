"""The wiring of changed settings, and the wildcards of the tiny run."""

import copy
from types import SimpleNamespace

import yaml

from longspan_workflow.settings.loading import load_settings
from longspan_workflow.wiring.wiring import Wiring
from tiny_chain import NAMES
from tiny_settings import ROOT, TINY

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
LLAMA = yaml.safe_load((ROOT / "configs" / "llama3-8b-32k.yaml").read_text())
WILDCARDS = SimpleNamespace(**NAMES | {"shard": "00001"})


def wildcards(**changes) -> SimpleNamespace:
    """Those of the tiny run, but for some."""
    return SimpleNamespace(**vars(WILDCARDS) | changes)


def wiring_of(change=lambda settings: None, config=TINY, **options) -> Wiring:
    """The wiring of some settings after a change of them."""
    settings = copy.deepcopy(config)
    change(settings)
    return Wiring(load_settings(settings), **options)


def put(path: str, value):
    """A change: this value at a path."""

    def change(settings):
        *folders, key = (int(part) if part.isdigit() else part for part in path.split("/"))
        block = settings
        for folder in folders:
            block = block[folder] if isinstance(block, list) else block.setdefault(folder, {})
        block[key] = value

    return change
