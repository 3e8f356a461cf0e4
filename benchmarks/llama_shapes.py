"""Shapes of published models, for models of random weights."""

import torch
import transformers

_LLAMA = {"vocab_size": 128256, "num_attention_heads": 32, "num_key_value_heads": 8}
LLAMA_8B = _LLAMA | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
LLAMA_1B = _LLAMA | {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
TINY = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def llama_config(shape: dict, positions: int) -> transformers.LlamaConfig:
    """A config of this shape for so many positions (tokens)."""
    rope = {"rope_type": "default", "rope_theta": 500000.0}
    return transformers.LlamaConfig(**shape, max_position_embeddings=positions, rope_parameters=rope)


def random_llama(shape: dict, positions: int) -> torch.nn.Module:
    """A model of this shape with random bfloat16 weights, on the CUDA device."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        config = llama_config(shape, positions)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
