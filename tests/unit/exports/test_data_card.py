import ast
import re

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


def test_the_head_says_each_columns_type():
    names = CONTRACTS["exported_windows"].columns.names
    text = card(MANIFEST | {"columns": names}, MANIFEST | {"columns": names, "columns_of_times": ["title"]})
    features = yaml.safe_load(text.split("---\n")[1])["dataset_info"]["features"]
    assert [feature.pop("name") for feature in features] == names
    types = dict(zip(names, features, strict=True))
    assert types["content"] == types["source"] == {"dtype": "string"}
    assert types["title"] == {"dtype": "json"}
    assert types["char_start"] == {"dtype": "int64"}
    assert types["input_ids"] == {"sequence": "int32"}
    assert types["loss_weights"] == {"sequence": "float32"}


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


def test_what_was_used_is_cited_in_a_block_of_its_own():
    assert f"## Citations\n\n```bibtex\n{LONGATTN}\n{TOKEN_WEIGHTING}\n```" in card(
        citations=[LONGATTN, TOKEN_WEIGHTING]
    )
    assert "Citations" not in card(citations=[])


HOSTILE = (
    "x` | <img src=x onerror=alert(1)> **bold** [a](javascript:b)\n"
    "---\nlicense: mit\n# Heading\n```\n\u202eoof"
)


def hostile_card():
    part = {"category": HOSTILE, "license": HOSTILE, "windows": 2, "documents": 1}
    return card(
        MANIFEST | {"parts": [part]},
        location=f'me/x", trust_remote_code=True, y="{HOSTILE}',
        data_files=HOSTILE,
        sources=[{"source": HOSTILE, "category": HOSTILE, "license": HOSTILE}],
        models=[{"role": HOSTILE, "name": HOSTILE, "source": HOSTILE, "license": HOSTILE}],
        settings={HOSTILE: {"text": HOSTILE}},
    )


def test_text_of_settings_and_corpora_is_no_markup():
    text = hostile_card()
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    head = yaml.safe_load(front)
    assert head["license"] == "other"
    assert head["configs"] == [{"config_name": "default", "data_files": HOSTILE}]
    # Blocks of code show it; elsewhere nothing of it is markup.
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert "<img" not in outside.replace("\\<", "")
    assert "**bold**" not in outside
    assert not re.search(r"(?<!\\)[`\[<]x?img|(?<!\\)\]\(", outside)
    assert "\u202e" not in text
    titles = [line for line in outside.splitlines() if line.startswith("#")]
    assert titles == ["# my-windows", *(f"## {name}" for name in SECTIONS)]
    tables = [line for line in outside.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) - 1 for line in tables}
    assert widths == {2, 3, 4, 5}


SECTIONS = ("Columns", "Sources", "Counts", "Models", "Settings", "Citations")


def test_the_settings_come_back_from_a_card_with_any_text():
    block = re.search(r"^(`{3,})yaml\n(.*?)^\1$", hostile_card(), re.DOTALL | re.MULTILINE)
    assert yaml.safe_load(block[2]) == {HOSTILE: {"text": HOSTILE}}


def test_the_line_that_loads_it_is_python_with_any_name():
    block = re.search(r"^(`{3,})python\n(.*?)^\1$", hostile_card(), re.DOTALL | re.MULTILINE)
    call = ast.parse(block[2]).body[1].value
    assert [keyword.arg for keyword in call.keywords] == ["split"]
    assert len(call.args) == 1


def test_no_absolute_path_of_this_machine_is_in_a_card():
    text = card(
        location="/home/me/project/results/exports/kept",
        sources=[{"source": "/home/me/a.txt, /home/me/b/*.txt", "category": "c", "license": "l"}],
        models=[{"role": "tokenizer", "name": "m", "source": "/home/me/models/tiny", "license": "l"}],
        settings={"corpora": {"x": {"sources": [{"paths": ["/home/me/b/*.txt", "inputs/c.txt"]}]}}},
    )
    assert "/home" not in text
    assert "| a.txt, \\*.txt | c | l |" in text
    assert "| tokenizer | m | tiny | l |" in text
    settings = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert settings["corpora"]["x"]["sources"] == [{"paths": ["*.txt", "inputs/c.txt"]}]
