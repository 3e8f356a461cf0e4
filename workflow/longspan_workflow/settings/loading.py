"""Settings, checked before the first job, with their defaults."""

import copy

from longspan_workflow.settings.checks import check_relations
from longspan_workflow.settings.schema import check_schema, fill_defaults


def load_settings(config: dict) -> dict:
    """Check the settings and fill in the defaults; `config` itself stays as it is.

    Raises:
        SettingsError: naming the key, what is wrong with it, and what is valid.
    """
    settings = copy.deepcopy(dict(config))
    check_schema(settings)
    fill_defaults(settings)
    check_relations(settings)
    return settings
