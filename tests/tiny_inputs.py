"""The inputs of configs/tiny.yaml: a random two-layer Llama with a real tokenizer, and a few short texts.

    python tests/tiny_inputs.py inputs

The same call gives the same bytes.
"""

import json
import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 400
POSITIONS = 512
BOOKS = ("Amber", "Birch", "Cedar", "Dune", "Elm")
_WORDS = (
    "the a of and to in that was his with as had her she not but at on they which all there when from him an "
    "were so said what their if will one would into then no upon out old great some little time man day sea "
    "house light river stone hand morning heart door road night window garden winter letter voice water fire "
    "mountain silence captain daughter village journey harbour lantern orchard carriage thunder whispered "
    "remembered wandered gathered answered followed carried listened café naïve façade Zürich déjà"
)
_MARKS = ("— “so be it” —", "…", "🌊", "日本語", "👩‍🚀")


def make_inputs(folder: Path) -> None:
    """Write model/, prose/prose_0.txt … prose_5.txt and rows.jsonl into `folder`."""
    draw = random.Random(0)
    folder = Path(folder)
    (folder / "prose").mkdir(parents=True, exist_ok=True)
    texts = [_prose(draw, words) for words in (600, 450, 250, 800, 350, 500)]
    for number, text in enumerate(texts):
        (folder / "prose" / f"prose_{number}.txt").write_text(text, encoding="utf-8")
    rows = [{"book": book, "text": _sentence(draw)} for book in BOOKS for _ in range(30)]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    make_model(folder / "model", [*texts, *(row["text"] for row in rows)])


def make_model(folder: Path, texts: list[str]) -> None:
    """Write a model folder in Hugging Face form, its byte-level BPE trained on the texts."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "pad_token": "<pad>"}, indent=1))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    generator = torch.Generator().manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Wide enough that tokens differ in likelihood and attention is not uniform.
            if parameter.ndim > 1:
                parameter.normal_(std=0.3, generator=generator)
    model.save_pretrained(folder)


def _prose(draw: random.Random, words: int) -> str:
    paragraphs, count = [], 0
    while count < words:
        paragraph = " ".join(_sentence(draw) for _ in range(draw.randint(3, 6)))
        count += len(paragraph.split())
        paragraphs.append(paragraph)
    return "\n\n".join(paragraphs) + "\n"


def _sentence(draw: random.Random) -> str:
    words = [draw.choice(_WORDS.split()) for _ in range(draw.randint(6, 18))]
    if draw.random() < 0.15:
        words.insert(draw.randrange(len(words)), draw.choice(_MARKS))
    return " ".join(words).capitalize() + draw.choice(".!?")


if __name__ == "__main__":
    make_inputs(Path(sys.argv[1] if len(sys.argv) > 1 else "inputs"))
