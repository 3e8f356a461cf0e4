import copy

import pytest

from longspan_workflow.settings.changes import beyond_defaults
from longspan_workflow.settings.loading import load_settings
from tiny_settings import TINY, every_key


@pytest.mark.parametrize("config", [TINY, every_key()], ids=["tiny", "every key"])
def test_what_is_beyond_the_defaults_gives_the_same_settings(config):
    settings = load_settings(copy.deepcopy(config))
    found = beyond_defaults(settings)
    assert load_settings(found).as_settings() == settings.as_settings()


def test_defaults_are_left_out_and_what_was_set_stays():
    found = beyond_defaults(load_settings(TINY | {"device": {"memory_gb": 80}, "results_dir": "results"}))
    assert found["device"] == {"memory_gb": 80}
    assert "results_dir" not in found
    assert "dtype" not in found["models"]["tiny"]
