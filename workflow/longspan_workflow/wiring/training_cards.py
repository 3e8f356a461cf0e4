"""What the card of a trained model says beside what its training knows."""

from longspan.weighting.parts import weighting_from_settings
from longspan_workflow.wiring.exports import origin_of


def training_card(settings: dict, wildcards) -> dict:
    """Arguments of `longspan.model_card.model_card` that the settings give."""
    run = settings["runs"][wildcards.run]
    model = settings["models"][run["model"]]
    corpora = [settings["windowings"][run["windowing"]]["corpus"]]
    if run["mixture"] is not None:
        corpora += [source["corpus"] for source in settings["mixtures"][run["mixture"]]["short"]]
    loss = settings["losses"][wildcards.loss]
    parts = {key: value for key, value in loss.items() if key not in ("scorer", "self_scoring")}
    citations = [] if weighting_from_settings(parts).is_plain else ["token_weighting"]
    if run["selection"] is not None:
        method = settings["selections"][run["selection"]]["method"]
        # Windows drawn at random, or by compressibility, follow no paper.
        citations += {"longattn": ["longattn"], "nll_gain": ["longfilter"]}.get(method, [])
    return {
        "title": f"{wildcards.run}/{wildcards.loss}/seed{wildcards.seed}",
        "base": {
            "name": run["model"],
            "source": origin_of(model["source"]),
            "license": model["license"],
        },
        "sources": [
            {"source": origin_of(source), "category": source["category"], "license": source["license"]}
            for corpus in dict.fromkeys(corpora)
            for source in settings["corpora"][corpus]["sources"]
        ],
        "citations": citations,
    }
