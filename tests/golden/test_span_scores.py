"""The stored numbers of LADM's spans and scores; to renew them:

PYTHONPATH=workflow:tests python tests/golden/test_span_scores.py
"""

import json
from pathlib import Path

import pytest
import torch

from longspan.scoring.span_attention import STAGE_VERSION, dependency_score, query_spans, span_attention

STORED = Path(__file__).with_name("span_scores.json")
SPAN_TOKENS, NUM_SPANS = 4, 21


def computed():
    """Scores of two windows in both modes, and a row of spans; queries and keys are from a formula."""
    tokens = SPAN_TOKENS * NUM_SPANS
    position = torch.arange(2 * 4 * tokens * 16, dtype=torch.float64)
    q = (3 * torch.sin(position**1.3)).float().reshape(2, 4, tokens, 16)
    k = torch.cos(position[: 2 * 2 * tokens * 16] ** 1.2).float().reshape(2, 2, tokens, 16)
    found = {"stage_version": STAGE_VERSION}
    for mode in ("paper", "released"):
        pairs = {"mode": mode, "skipped_spans": 1, "near_spans": 3}
        spans = query_spans(NUM_SPANS, **pairs, first_span=8)
        own = {"own_span": mode == "paper"}
        pfs = span_attention(q, k, span_tokens=SPAN_TOKENS, spans=spans, **own)
        capped = span_attention(q, k, span_tokens=SPAN_TOKENS, spans=spans, scale=0.3, softcap=4.0, **own)
        found[f"{mode}_row"] = pfs[0, -1].tolist()
        found[f"{mode}_capped_row"] = capped[1, 0].tolist()
        found[f"{mode}_scores"] = [dependency_score(row, spans, **pairs).item() for row in pfs]
    return found


def test_numbers_move_only_with_the_stage_version():
    stored, now = json.loads(STORED.read_text()), computed()
    assert now.keys() == stored.keys()
    assert now["stage_version"] == stored["stage_version"], f"stored for another version: run {__file__}"
    for name in now.keys() - {"stage_version"}:
        assert now[name] == pytest.approx(stored[name], rel=1e-5), (
            f"{name}: numbers moved: bump STAGE_VERSION in span_attention.py, then run {__file__}"
        )


if __name__ == "__main__":
    STORED.write_text(json.dumps(computed(), indent=1) + "\n")
