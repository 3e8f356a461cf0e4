"""The data card of an export: what a reader of its README.md must know."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from longspan.exports.markdown import as_yaml, fenced, plain, table, without_folders
from longspan.store.contracts import CONTRACTS
from longspan.store.versions import __version__

_DTYPES = {pa.float32(): "float32", pa.float64(): "float64"}

COLUMNS = {
    "content": "the window's text, an exact slice of its document; a character that a window's edge cuts "
    "belongs to the windows on both sides",
    "data_id": "id of the window",
    "document_id": "id of its document",
    "category": "category of the document",
    "title": "title of the document",
    "source": "file that the document was read from",
    "license": "licence of the document",
    "char_start": "first character of the window in its document",
    "char_stop": "behind its last character",
    "input_ids": "token ids",
    "loss_weights": "weight of each token's loss, as long as `input_ids` and aligned with labels: entry t "
    "weighs the loss of predicting token t; the first is 0, since nothing predicts it",
}


def data_card(
    title: str,
    *,
    location: str,
    data_files: str,
    manifests: Sequence[Mapping],
    sources: Sequence[Mapping[str, str]],
    models: Sequence[Mapping[str, str]],
    citations: Sequence[str],
    settings: Mapping,
) -> str:
    """The card in Markdown, its head in YAML.

    Text of settings and corpora is shown as it is, and no absolute path of this machine.

    Args:
        title: name of the data.
        location: folder or hub dataset, to load it from.
        data_files: pattern of the data's files, from the card's folder.
        manifests: of all shards, as `read_export_manifest` gives them.
        sources: `source`, `category` and `license` of each.
        models: `role`, `name`, `source` and `license` of each that took part, the tokenizer's among them.
        citations: BibTeX entries of the methods that were used.
        settings: everything that was set, shown as YAML.

    Raises:
        ValueError: shards that were exported with different settings or tokenizers.
    """
    first = manifests[0]
    for manifest in manifests:
        for name in ("columns", "settings", "tokenizer"):
            if manifest[name] != first[name]:
                raise ValueError(
                    f"the shards of {title} were exported with different {name}; run the same target again"
                )
    windows, documents = Counter(), Counter()
    for manifest in manifests:
        for part in manifest["parts"]:
            key = (part["category"], part["license"])
            windows[key] += part["windows"]
            documents[key] += part["documents"]
    tokens = sum(manifest["tokens"] for manifest in manifests)
    window_tokens, bos = (first["settings"][name] for name in ("window_tokens", "bos_token_id"))
    head = {
        "pretty_name": title,
        "license": "other",
        "task_categories": ["text-generation"],
        "tags": ["long-context", "longspan"],
        "configs": [{"config_name": "default", "data_files": data_files}],
        "dataset_info": {"features": _features(manifests)},
    }
    counts = [
        (
            plain(category),
            plain(license),
            f"{documents[category, license]:,}",
            f"{windows[category, license]:,}",
            f"{windows[category, license] * window_tokens:,}",
        )
        for category, license in sorted(windows)
    ]
    beginning = "" if bos is None else f", a BOS token ({bos}) in front, which is no part of `content`"
    load = f'{_name(title)} = load_dataset({_quoted(without_folders(location))}, split="train")'
    sections = [
        f"# {plain(title)}",
        f"{windows.total():,} windows of {window_tokens:,} tokens ({tokens:,} tokens) of "
        f"{documents.total():,} documents, made by longspan {__version__}.",
        fenced(f"from datasets import load_dataset\n{load}\n", "python"),
        "## Columns",
        table(("column", "meaning"), [(f"`{name}`", COLUMNS[name]) for name in first["columns"]]),
        f"`input_ids` are {window_tokens:,} tokens{beginning}.",
        "## Sources",
        table(
            ("source", "category", "licence"),
            [cells(source, "source", "category", "license") for source in sources],
        ),
        "## Counts",
        table(("category", "licence", "documents", "windows", "tokens"), counts),
        "## Models",
        table(
            ("role", "name", "source", "licence"),
            [cells(model, "role", "name", "source", "license") for model in models],
        ),
        f"Identity of the tokenizer (sha256 of its mapping from text to ids): `{first['tokenizer']}`.",
        "## Settings",
        fenced(as_yaml(without_folders(dict(settings))), "yaml"),
    ]
    if citations:
        sections += ["## Citations", fenced("\n".join(citations), "bibtex")]
    front = as_yaml(head)
    return f"---\n{front}---\n" + "\n\n".join(sections) + "\n"


def _features(manifests: Sequence[Mapping]) -> list[dict[str, str]]:
    """Types of the columns as `datasets` names them, so that none is guessed by what values look like."""
    # A column of times alone would be parsed as such before the type is looked at; as JSON, text stays text.
    times = {name for manifest in manifests for name in manifest.get("columns_of_times", ())}
    schema = CONTRACTS["exported_windows"].columns
    features = []
    for name in manifests[0]["columns"]:
        kind = schema.field(name).type
        if pa.types.is_list(kind):
            features.append({"name": name, "sequence": _DTYPES.get(kind.value_type, str(kind.value_type))})
        else:
            features.append({"name": name, "dtype": "json" if name in times else str(kind)})
    return features


def cells(values: Mapping[str, str], *names: str) -> list[str]:
    """Cells of a table; those named `source` list names and paths, with a comma between them."""
    shown = {name: values[name] for name in names}
    if "source" in shown:
        shown["source"] = ", ".join(without_folders(shown["source"].split(", ")))
    return [plain(shown[name]) for name in names]


def _quoted(text: str) -> str:
    """A string of Python."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _name(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title).lstrip("_0123456789") or "windows"
