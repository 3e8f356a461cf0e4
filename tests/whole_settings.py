"""The tiny settings with the parts that few runs have, all at once."""

import copy

from tiny_chain import TINY

SHORT_TOKENS = 40


def whole_settings() -> dict:
    """One run that scores its kept windows alone, by a scorer with a tokenizer file of its own
    (tests/foreign_scorer.py), trains on a mixture, is evaluated in its
    course and by key tokens, and has a control."""
    settings = copy.deepcopy(TINY)
    source = {"kind": "folder", "path": "inputs/gpt2"}
    settings["models"]["gpt2"] = settings["models"]["tiny"] | {"source": source}
    settings["scorers"] = {
        "tiny-layer0": {"kind": "attention", "model": "gpt2"},
        "gpt2-32": TINY["scorers"]["tiny-32"] | {"model": "gpt2"},
    }
    settings["losses"]["dense"]["scorer"] = "gpt2-32"
    part = {"corpus": "short", "token_share": 0.25, "document_tokens": SHORT_TOKENS}
    settings["mixtures"] = {"mixed": {"short": [part]}}
    settings["runs"]["main"] |= {"select_first": True, "mixture": "mixed"}
    settings["runs"]["main"]["train"]["eval_steps"] = 2
    settings["exports"]["kept"]["loss"] = "dense"
    settings["runs"]["main"] |= {"evaluations": ["key"], "controls": ["shuffled"]}
    settings["evaluation"] = {"windows_per_document": 1}
    # A model of random weights makes nothing likely.
    settings["evaluations"] = {
        "key": {
            "task": "longppl",
            "evaluator": "tiny",
            "short_context": 48,
            "shared_tokens": 32,
            "min_gain": 0,
            "max_nll": 50,
        }
    }
    return settings
