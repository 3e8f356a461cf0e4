import itertools

import numpy as np
import pytest
import torch
import transformers
from torch._dynamo.testing import CompileCounterWithBackend

from longspan.models.document_attention import NAME
from longspan.models.layers import compile_layers
from longspan.store.tables import RowReader
from longspan.training.loop import collate_windows
from longspan.training.packed_documents import PackedDocuments
from longspan.weighting.exposure import ContextWeights
from longspan.weighting.loss import WeightedLM
from longspan.weighting.variant import weighting_from_settings
from stored_tables import write_tokens
from tiny_models import VOCABULARY, tiny_model

TOKENS = 24


def packed(folder, lengths, *, bos=None, document_tokens=10, scored=True):
    """Packed documents of such lengths; token t of the second, say, is 200 + t."""
    path = folder / "tokens.parquet"
    write_tokens(path, {f"d{number}": length for number, length in enumerate(lengths)})
    return PackedDocuments(
        "web",
        {"00000": path},
        window_tokens=TOKENS,
        document_tokens=document_tokens,
        bos_token_id=bos,
        scored=scored,
    )


def test_documents_fill_sequences_to_the_last_token(tmp_path):
    source = packed(tmp_path, [7, 25, 3, 30])
    rows = [source[index] for index in range(len(source))]
    assert [row["document_lengths"] for row in rows] == [[7, 10, 7], [8, 3, 10, 3]]
    assert source.data_ids == ["web-packed_0000000", "web-packed_0000001"]
    ids = np.concatenate([row["input_ids"] for row in rows])
    assert all(row["input_ids"].shape == (TOKENS,) and row["input_ids"].dtype == np.int64 for row in rows)
    assert ids.tolist() == [*range(100, 107), *range(200, 225), *range(300, 303), *range(400, 413)]
    assert rows[0]["short_nll"].shape == (TOKENS - 1,)


def test_every_piece_begins_with_bos_and_no_token_is_lost(tmp_path):
    source = packed(tmp_path, [7, 25, 3, 30], bos=999)
    rows = [source[index] for index in range(len(source))]
    for row in rows:
        starts = np.cumsum([0, *row["document_lengths"][:-1]])
        assert sum(row["document_lengths"]) == TOKENS
        assert (row["input_ids"][starts] == 999).all()
        assert (row["input_ids"] == 999).sum() == len(starts)
        assert max(row["document_lengths"]) <= 10
    text = [token for row in rows for token in row["input_ids"] if token != 999]
    assert text == [*range(100, 107), *range(200, 225), *range(300, 303), *range(400, 430)][: len(text)]


def pieces_of(row):
    """Pieces of a sequence, each of which begins with a BOS token."""
    (starts,) = np.nonzero(row["input_ids"] == 999)
    return np.split(row["input_ids"], starts[1:])


class Batch:
    """A long sequence and one of three documents."""

    lengths = (5, 12, 7)

    def __init__(self):
        draw = np.random.default_rng(0)
        self.long = {
            "sequence_ids": "long",
            "input_ids": draw.integers(0, VOCABULARY, TOKENS),
            "short_nll": draw.uniform(1, 6, TOKENS - 1).astype(np.float32),
        }
        self.short = {
            "sequence_ids": "short",
            "input_ids": draw.integers(0, VOCABULARY, TOKENS),
            "short_nll": np.zeros(TOKENS - 1, np.float32),
            "document_lengths": list(self.lengths),
        }


def weighted(architecture="llama"):
    model = tiny_model(architecture)
    model.set_attn_implementation(NAME)
    return WeightedLM(model.train(), weighting_from_settings({"variant": "dense"}), seed=1)


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "phi"])
def test_documents_learn_as_if_each_stood_alone(architecture, recomputed):
    batch = Batch()
    together = weighted(architecture)
    if recomputed:
        together.activation_checkpointing_enable()
    output = together(**collate_windows([batch.long, batch.short]))
    output["loss"].backward()
    counted = TOKENS - 1 + TOKENS - len(batch.lengths)

    apart = weighted(architecture)
    apart(**collate_windows([batch.long]), num_items_in_batch=counted)["loss"].backward()
    plain, start = [], 0
    for length in batch.lengths:
        ids = torch.from_numpy(batch.short["input_ids"][None, start : start + length])
        weights = torch.ones(1, length - 1)
        alone = WeightedLM(apart.model)(ids, token_weights=weights, num_items_in_batch=counted)
        alone["loss"].backward()
        plain.append(alone["nll"][0])
        start += length
    torch.testing.assert_close(gradient(together), gradient(apart), rtol=1e-4, atol=1e-6)
    inside = output["nll"][1][collate_windows([batch.short])["labels"][0, 1:] != -100]
    torch.testing.assert_close(inside, torch.cat(plain), rtol=1e-5, atol=1e-5)
    assert (output["weights"][1] == 1).all()
    assert output["weights"][0].std() > 0


def test_packed_documents_are_weighed_by_their_own_context_and_shuffled_in_themselves():
    batch = collate_windows([Batch().long, Batch().short])
    counted = batch["labels"][:, 1:] != -100
    alone = weighted()(**batch)["weights"]
    model = weighted()
    context = ContextWeights((0, 8, 16), (1.0, 1.5, 3.0), keeps_sum=True)
    model.context_weights = context
    together = model(**batch)["weights"]
    # Documents of 5, 12 and 7 tokens: only the second reaches the second bucket.
    factors = [1.0] * 4 + [1.0] + [1.0] * 7 + [1.5] * 4 + [1.0] * 7
    scale = counted[1].sum() / (torch.tensor(factors)[counted[1]]).sum()
    torch.testing.assert_close(together[1], torch.tensor(factors) * scale)
    # The whole window by its own places.
    places = torch.arange(1, TOKENS)
    factors = torch.where(places < 8, 1.0, torch.where(places < 16, 1.5, 3.0))
    expected = alone[0] * factors * alone[0].sum() / (alone[0] * factors).sum()
    torch.testing.assert_close(together[0], expected)

    model.shuffle_weights = True
    control = model(**batch)["weights"]
    starts = np.cumsum((0, *Batch.lengths))
    for start, stop in itertools.pairwise(starts):
        inside = slice(start, stop - 1)  # the document's targets
        assert torch.equal(control[1, inside].sort().values, together[1, inside].sort().values)
    assert torch.equal(control[1, ~counted[1]], together[1, ~counted[1]])
    assert torch.equal(control[0].sort().values, together[0].sort().values)
    assert not torch.equal(control[0], together[0])


def test_lengths_of_packed_documents_are_told_without_their_tokens(tmp_path, monkeypatch):
    source = packed(tmp_path, [7, 25, 3, 30], bos=999)
    expected = [[len(piece) for piece in pieces_of(source[index])] for index in range(len(source))]
    monkeypatch.delattr(RowReader, "__getitem__")
    assert [source.document_lengths(index) for index in range(len(source))] == expected


@pytest.mark.parametrize("keep_attention", [False, True, 1])
def test_compiled_layers_learn_the_same_from_documents_of_any_lengths(keep_attention):
    torch._dynamo.reset()
    compiled, plain = weighted(), weighted()
    counter = CompileCounterWithBackend("aot_eager")
    compile_layers(compiled.model, keep_attention=keep_attention, backend=counter)
    frames = []
    for lengths in [(TOKENS,), (5, 12, 7), (1, 23), (6, 6, 6, 6)]:
        row = Batch().long if len(lengths) == 1 else Batch().short | {"document_lengths": list(lengths)}
        losses = []
        for model in (compiled, plain):
            model.zero_grad()
            losses.append(model(**collate_windows([row]))["loss"])
            losses[-1].backward()
        assert torch.equal(*losses)
        torch.testing.assert_close(gradient(compiled), gradient(plain), rtol=1e-4, atol=1e-6)
        frames.append(counter.frame_count)
    # Each kind of row compiles once, whatever the lengths.
    assert 0 < frames[0] < frames[1] == frames[2] == frames[3]


def test_without_documents_nothing_differs_from_sdpa():
    batch = collate_windows([Batch().long])
    ours, sdpa = weighted("qwen2"), weighted("qwen2")
    sdpa.model.set_attn_implementation("sdpa")
    assert torch.equal(ours(**batch)["nll"], sdpa(**batch)["nll"])


def test_a_model_whose_attention_is_another_is_refused():
    model = weighted()
    model.model.set_attn_implementation("sdpa")
    with pytest.raises(ValueError, match="LlamaForCausalLM does not tell its attention of packed documents"):
        model(**collate_windows([Batch().short]))


def test_a_sliding_window_shorter_than_a_document_is_refused():
    config = transformers.MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=11,
        attn_implementation=NAME,
    )
    model = WeightedLM(transformers.MistralForCausalLM(config))
    batch = collate_windows([Batch().short])
    for name in ("short_nll", "packed"):
        del batch[name]
    with pytest.raises(ValueError, match="attends by a sliding window of 11 tokens, fewer than a packed doc"):
        model(**batch, token_weights=torch.ones(1, TOKENS - 1))
