"""A scorer of another architecture, with a tokenizer file of its own: same ids, or refused by name."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from foreign_scorer import add_token, make_foreign_scorer
from longspan.store.tables import read_table
from longspan.windows.store import WindowStore
from tiny_chain import TINY, Chain, script_of

BOTH = pytest.mark.parametrize(
    ("script", "scorer", "kind"),
    [
        ("score_short", "tiny-32", "nll_scores"),
        ("score_attention", "tiny-layer0", "attention_scores"),
        ("score_ladm", "tiny-spans", "ladm_scores"),
        ("score_prolong", "tiny-pairs", "prolong_scores"),
    ],
)
CHOOSE = "choose a scorer with the vocabulary of the windowing's tokenizer"


def make_scorer(change, vocabulary=402, bos_token="<s>", **windowing):
    """The chain with scorers of a GPT-2 whose tokenizer.json is the Llama's after `change`."""
    folder = make_foreign_scorer(Path("inputs"), change, vocabulary, bos_token)
    settings = copy.deepcopy(TINY)
    settings["models"]["gpt2"] = settings["models"]["tiny"] | {
        "source": {"kind": "folder", "path": str(folder)}
    }
    for scorer in settings["scorers"].values():
        scorer["model"] = "gpt2"
    settings["windowings"]["short-128"] |= windowing
    chain = Chain(settings)
    chain.make("download_model", model="gpt2")
    return chain


def swap_two_tokens(tokenizer):
    """Two words change places."""
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Ġthe"], vocabulary["Ġof"] = vocabulary["Ġof"], vocabulary["Ġthe"]


def refusal(chain, script):
    result = chain.run(script)
    assert result.code == 1
    return result.stderr.splitlines()[-1].removeprefix(
        f"{script_of(script)}: error: {chain.path('model', model='gpt2')} "
    )


def test_a_scorer_of_another_architecture_and_tokenizer_file_scores_the_same_ids(chain):
    other = make_scorer(add_token)
    other.make("score_attention")
    other.make("score_short")
    store = WindowStore({"00000": (chain.path("tokens"), chain.path("windows"))})
    model = AutoModelForCausalLM.from_pretrained("inputs/gpt2").eval()
    stored = read_table(other.path("scores"), "nll_scores")[0].to_pylist()
    assert [row["data_id"] for row in stored] == store.data_ids
    ids = torch.from_numpy(store.input_ids(stored[0]["data_id"]))
    with torch.no_grad():
        logits = model(ids[None]).logits[0, :-1].double()
    nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    np.testing.assert_allclose(stored[0]["long_nll"], nll, rtol=1e-3)


@BOTH
def test_a_tokenizer_that_differs_in_one_token_is_refused(chain, script, scorer, kind):
    other = make_scorer(swap_two_tokens)
    before = chain.path("scores", scorer=scorer).read_bytes()
    documents = read_table(chain.path("documents"), "documents")[0].to_pylist()
    tokens = read_table(chain.path("tokens"), "tokens")[0].to_pylist()
    ours = Tokenizer.from_file("inputs/gpt2/tokenizer.json")
    # The first document of the sample, which is the first of the shard here.
    ids, stored = ours.encode(documents[0]["text"]).ids, tokens[0]["input_ids"]
    place = next(number for number, pair in enumerate(zip(ids, stored, strict=True)) if len(set(pair)) == 2)
    assert refusal(other, script) == (
        "has another vocabulary than the windows: it gives document "
        f"{documents[0]['document_id']} other ids from token {place} on "
        f"({', '.join(map(str, ids[place : place + 3]))} instead of "
        f"{', '.join(map(str, stored[place : place + 3]))}); {CHOOSE}"
    )
    assert chain.path("scores", scorer=scorer).read_bytes() == before


def test_a_model_without_embeddings_of_all_ids_is_refused(chain):
    other = make_scorer(add_token, vocabulary=300)
    tokens = read_table(chain.path("tokens"), "tokens")[0].to_pylist()
    largest = max(max(row["input_ids"]) for row in tokens)
    assert refusal(other, "score_short") == (
        f"has embeddings of 300 ids, the windows' go up to {largest}; {CHOOSE}"
    )


def test_a_model_with_another_bos_token_is_refused_where_windows_begin_with_one(chain):
    other = make_scorer(add_token, bos_token="</s>")
    other.make("score_short")
    other = make_scorer(add_token, bos_token="</s>", add_bos=True)
    other.make("assign_windows")
    assert refusal(other, "score_short") == f"has the BOS token 2, the windows begin with 1; {CHOOSE}"


@BOTH
def test_documents_that_were_not_tokenized_are_refused(chain, script, scorer, kind):
    other = make_scorer(add_token)
    documents = chain.path("documents")
    shutil.copyfile(chain.path("documents", shard="00001"), documents)
    result = other.run(script)
    assert result.code == 1
    assert result.stderr.startswith(
        f"{script_of(script)}: error: {chain.path('tokens')} was made with another documents file ("
    )
    assert result.stderr.endswith("which reruns tokenize_documents\n")
