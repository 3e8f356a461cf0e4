"""The card of a trained model: what a reader of its README.md must know."""

from collections.abc import Mapping, Sequence

from longspan.exports.data_card import cells
from longspan.exports.markdown import as_yaml, fenced, plain, table, without_folders
from longspan.store.versions import __version__


def model_card(
    title: str,
    *,
    base: Mapping[str, str],
    sources: Sequence[Mapping[str, str]],
    citations: Sequence[str],
    windows: int,
    window_tokens: int,
    identity: Mapping,
) -> str:
    """The card in Markdown, its head in YAML.

    Args:
        title: name of the training.
        base: `name`, `source` and `license` of the model that was trained.
        sources: `source`, `category` and `license` of the texts that the windows come from.
        citations: BibTeX entries of the methods that were used.
        windows: windows that the training could draw from.
        window_tokens: tokens of each.
        identity: settings, stage version and digests of the inputs.
    """
    train = identity["settings"]["train"]
    seen = train["max_steps"] * train["windows_per_update"]
    head = {
        "license": "other",
        "license_name": base["license"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["long-context", "longspan"],
    }
    base_name, base_source, base_license = cells(base, "name", "source", "license")
    sections = [
        f"# {plain(title)}",
        f"{base_name} ({base_source}, licence {base_license}), trained further by longspan "
        f"{__version__} with a token-weighted loss: {train['max_steps']:,} updates of "
        f"{train['windows_per_update']:,} windows of {window_tokens:,} tokens, {seen * window_tokens:,} "
        f"tokens in all, drawn from {windows:,} windows.",
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained(".")\n'
        'tokenizer = AutoTokenizer.from_pretrained(".")\n```',
        "## Data",
        table(
            ("source", "category", "licence"),
            [cells(source, "source", "category", "license") for source in sources],
        ),
        "## Settings",
        fenced(as_yaml(without_folders(dict(identity)), sort_keys=True), "yaml"),
        "`metrics.parquet` beside this folder has the losses of all updates.",
    ]
    if citations:
        sections += ["## Citations", fenced("\n".join(citations), "bibtex")]
    front = as_yaml(head)
    return f"---\n{front}---\n" + "\n\n".join(sections) + "\n"
