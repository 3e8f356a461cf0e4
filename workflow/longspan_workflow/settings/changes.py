"""What settings say beyond the defaults."""

from collections.abc import Mapping
from typing import Any

from longspan.plugins.options import Options
from longspan_workflow.settings.blocks import Settings


def beyond_defaults(block: Options) -> dict[str, Any]:
    """A block as it stands in the settings, without the keys that have their default."""
    found = {}
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if field.is_required() or value != field.get_default(call_default_factory=True):
            found[field.alias or name] = _plain(value)
    return block.without_derived(found) if isinstance(block, Settings) else found


def _plain(value: Any) -> Any:
    if isinstance(value, Options):
        return beyond_defaults(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
