from pathlib import Path

import yaml

from longspan.exports.data_card import COLUMNS, data_card
from longspan.plugins.citations import LONGATTN, TOKEN_WEIGHTING
from longspan.store.contracts import CONTRACTS
from refusals import refused

MANIFEST = {
    "columns": ["content", "data_id", "input_ids"],
    "settings": {"window_tokens": 1000, "bos_token_id": None},
    "tokenizer": "t" * 64,
    "windows": 2,
    "tokens": 2000,
    "parts": [{"category": "a|b", "license": "MIT", "windows": 2, "documents": 1}],
}


def card(*manifests, **changes):
    return data_card(
        "my-windows",
        **{
            "location": "me/my-windows",
            "data_files": "data/*.parquet",
            "manifests": manifests or [MANIFEST],
            "sources": [{"source": "x", "category": "a|b", "license": "MIT"}],
            "models": [{"role": "tokenizer", "name": "m", "source": "hub o/m", "license": "l"}],
            "citations": [LONGATTN],
            "settings": {"seed": 0, "corpora": {"été": {}}},
        }
        | changes,
    )


def test_shards_add_up():
    other = MANIFEST | {
        "windows": 1,
        "tokens": 1000,
        "parts": [{"category": "c", "license": "CC0-1.0", "windows": 1, "documents": 1}],
    }
    text = card(MANIFEST, MANIFEST, other)
    assert "5 windows of 1,000 tokens (5,000 tokens) of 3 documents" in text
    assert "| a\\|b | MIT | 2 | 4 | 4,000 |" in text
    assert "| c | CC0-1.0 | 1 | 1 | 1,000 |" in text


def test_the_head_is_yaml_and_the_settings_too():
    text = card()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"] == "my-windows"
    assert yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["corpora"] == {"été": {}}
    assert 'my_windows = load_dataset("me/my-windows", split="train")' in text


def test_a_bos_token_is_told():
    assert "a BOS token" not in card()
    settings = {"window_tokens": 1000, "bos_token_id": 7}
    assert "a BOS token (7) in front" in card(MANIFEST | {"settings": settings})


def test_an_export_without_windows_has_a_card():
    assert "0 windows of 1,000 tokens (0 tokens)" in card(MANIFEST | {"windows": 0, "tokens": 0, "parts": []})


def test_every_column_has_a_meaning():
    assert set(COLUMNS) == set(CONTRACTS["exported_windows"].columns.names)


def test_shards_of_other_columns_are_refused():
    with refused("the shards of my-windows were exported with different columns; run the same target again"):
        card(MANIFEST, MANIFEST | {"columns": ["content"]})


def test_the_citations_of_the_readme_are_the_cards():
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    for citation in (LONGATTN, TOKEN_WEIGHTING):
        assert citation in readme


def test_what_was_used_is_cited_in_a_block_of_its_own():
    assert f"## Citations\n\n```bibtex\n{LONGATTN}\n{TOKEN_WEIGHTING}\n```" in card(
        citations=[LONGATTN, TOKEN_WEIGHTING]
    )
    assert "Citations" not in card(citations=[])
