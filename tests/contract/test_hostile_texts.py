"""Whatever text the settings hold, a rule's own command hands it to its script as it is."""

import copy
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from longspan_workflow.settings.loading import load_settings
from tiny_chain import TINY, Chain

SIGNS = "ab {}$%\\'\"`!*?[]()<>|&;#~=-:,.@^é日🌊\u202e\u00a0"
LINE = st.text(st.sampled_from(SIGNS), min_size=1, max_size=30)
LINES = st.text(st.sampled_from(SIGNS + "\n\r\t\x1b"), min_size=1, max_size=30)
SHELL = "${HOME} $(touch pwned) `touch pwned` '\"' \\n %s %% {x} {{x}} {params.settings} !! && ;"


def with_texts(category: str, license: str, title: str, heading: str, path: str) -> dict:
    """The tiny settings with these texts wherever such a text may stand."""
    found = copy.deepcopy(TINY)
    found["models"]["tiny"] |= {"license": license, "source": {"kind": "folder", "path": path}}
    first, second = found["corpora"]["short"]["sources"]
    first |= {"category": category, "license": license, "hold_out": [title, "prose_1"], "paths": [path, "a"]}
    second |= {"title_column": title, "group_by": heading, "encoding": "utf-8"}
    found["corpora"]["short"]["clean_up"] = {"overlap": {"files": [path], "text_column": title}}
    found["selections"]["half"]["keep"] = {"per_category": {category: {"ratio": 0.5}}}
    found["report"] = {"title": heading}
    return found


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(*[SHELL] * 5)
@example("\\", "-x", "\n", "\n.. raw:: html\n", "a'b")
@given(LINE, LINE, LINES, LINES, LINE.filter(lambda path: "{" not in path))
def test_a_script_is_given_the_texts_of_the_settings(category, license, title, heading, path):
    given = with_texts(category, license, title, heading, path.replace("{", "("))
    chain, expected = Chain(given), load_settings(given)

    def of(rule, **names):
        return json.loads(*chain.options(rule, **names)["--settings"])

    assert of("record_settings") == expected.as_settings()
    planned = of("plan_shards")["sources"]
    for found, source in zip(planned, expected.corpora["short"].as_settings()["sources"], strict=True):
        assert found.items() >= {key: source[key] for key in found if key not in ("paths", "files")}.items()
        assert found["paths"] == source["paths"]
    references = of("index_references")
    overlap = expected.corpora["short"].clean_up.overlap
    assert (references["files"], references["text_column"]) == (overlap.files, overlap.text_column)
    assert of("download_model")["source"] == expected.models["tiny"].source.as_settings()
    assert of("select_windows")["keep"] == expected.selections["half"].keep.as_settings()
    card = of("write_data_card")
    assert card["settings"]["corpora"]["short"] == expected.corpora["short"].as_settings()
    assert {source["category"] for source in card["sources"]} == {category, "rows"}
    given_card = json.loads(*chain.options("train")["--card"])
    assert given_card["base"]["license"] == license
