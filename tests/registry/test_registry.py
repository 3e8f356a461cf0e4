"""The bounded form of check_models.py: the types that people use now, tiny, without compiled layers."""

import sys
from pathlib import Path

import pytest

# Beside this file, where the command finds them too.
sys.path.insert(0, str(Path(__file__).parent))
from check_models import check
from tiny_types import IN_USE

RIGHT_THROUGHOUT = {
    "llama",
    "llama, dynamic NTK",
    "phi3, LongRoPE",
    "qwen3",
    "qwen3_moe",
    "gemma4_text",
    "olmo3",
    "deepseek_v3",
    "llama4_text",
}
REFUSED = {
    # Attention sinks: whole windows by its own attention alone.
    "gpt_oss": {"first layer", "layers", "documents"},
    # Linear attention carries a state from document to document.
    "qwen3_next": {"layers", "documents"},
    "mamba": {"first layer", "layers", "documents"},
}


def test_the_types_in_use_are_all_listed_here():
    assert RIGHT_THROUGHOUT | REFUSED.keys() == set(IN_USE)


@pytest.mark.parametrize("name", IN_USE)
def test_each_type_in_use_is_right_or_refused_by_name(name):
    ((_, found),) = check([name], seconds=60)
    expected = {aspect: "refused" if aspect in REFUSED.get(name, ()) else "right" for aspect in found}
    assert {aspect: verdict for aspect, (verdict, _) in found.items()} == expected, found
