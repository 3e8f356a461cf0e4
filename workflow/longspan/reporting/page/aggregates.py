"""Files of counts: what a shard or a selection adds to the page, with what it was made from."""

import json
from pathlib import Path

from longspan.store.contracts import SCHEMA_VERSION
from longspan.store.tables import atomic_path, read_json_manifest


def write_aggregate(
    path: Path | str, counts: dict, *, settings: dict, inputs: dict[str, str], code_digest: str
) -> None:
    """Write counts, whole or not at all.

    Args:
        path: where to.
        counts: numbers, text, lists and mappings of such.
        settings: what they depend on beside the inputs.
        inputs: digests of the tables that they were made of.
        code_digest: of the code, for the record.

    Raises:
        ValueError: a number that is not finite.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "inputs": inputs,
        "code_digest": code_digest,
        "counts": counts,
    }
    with atomic_path(path) as temporary:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        temporary.write_text(text + "\n", encoding="utf-8")


def read_aggregate(path: Path | str, rule: str) -> dict:
    """The counts of a file that a rule wrote; errors as `read_json_manifest`."""
    again = f"delete {path} and run the same target again, which reruns {rule}"
    return read_json_manifest(path, what="counts", makes=f"runs {rule}", again=again)
