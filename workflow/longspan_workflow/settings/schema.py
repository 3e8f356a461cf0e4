"""The settings' JSON schema, made from their blocks: for editors, and for readers.

    python -m longspan_workflow.settings.schema      # writes workflow/schemas/config.schema.yaml

The workflow itself reads settings by the blocks (`load_settings`), which say more than a schema can.
"""

from typing import Any

import yaml

from longspan_workflow.running.project import ROOT
from longspan_workflow.settings.blocks import Settings

PATH = ROOT / "workflow" / "schemas" / "config.schema.yaml"
_HEAD = "# Made by `python -m longspan_workflow.settings.schema` from the settings' blocks and plug-ins.\n"
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12)."""
    found = Settings.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_plain(found)}


def as_text() -> str:
    """The schema as YAML."""
    return _HEAD + yaml.safe_dump(schema(), sort_keys=False, allow_unicode=True, width=110)


def _plain(part: Any) -> Any:
    """Without titles that repeat names, and with numbers as one type."""
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    is_absent = part.get("absent", False)
    found = {}
    for key, value in part.items():
        if key in ("title", "absent") or (key == "default" and is_absent):
            continue
        if key in ("properties", "$defs"):
            found[key] = {name: _plain(item) for name, item in value.items()}
        elif key == "default" and isinstance(value, dict):
            # The block's own defaults stand where it is described.
            found[key] = {}
        else:
            found[_BOUNDS.get(key, key)] = _plain(value)
    kinds = [branch.get("type") for branch in found.get("anyOf", [])]
    if kinds[:2] == ["integer", "number"]:
        rest = found.pop("anyOf")[2:]
        found = {"type": "number"} | found if not rest else {"anyOf": [{"type": "number"}, *rest]} | found
    return found


if __name__ == "__main__":
    PATH.write_text(as_text())
