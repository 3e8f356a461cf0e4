"""Tiny causal language models of many architectures, with random weights."""

import torch
import transformers

VOCABULARY = 61

_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**_COMMON),
    "llama_tied": lambda: transformers.LlamaConfig(**_COMMON, tie_word_embeddings=True),
    "qwen2": lambda: transformers.Qwen2Config(**_COMMON),
    "qwen3": lambda: transformers.Qwen3Config(**_COMMON, head_dim=8),
    "gemma2": lambda: transformers.Gemma2Config(
        **_COMMON, head_dim=8, final_logit_softcapping=2.0, sliding_window=16
    ),
    "phi": lambda: transformers.PhiConfig(**_COMMON),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=256, bos_token_id=1, eos_token_id=2
    ),
    "granite": lambda: transformers.GraniteConfig(**_COMMON, logits_scaling=0.25),
    "cohere": lambda: transformers.CohereConfig(**_COMMON, logit_scale=4.0),
}
ARCHITECTURES = tuple(_CONFIGS)


def tiny_model(architecture: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """Build the model in eval mode; its weights are large enough that tokens differ in likelihood."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(_CONFIGS[architecture]())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
            elif name.endswith("bias"):
                parameter.normal_()
    return model.eval().to(dtype)


def random_ids(sequences: int, tokens: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCABULARY, (sequences, tokens), generator=generator)


def formula_llama() -> torch.nn.Module:
    """A Llama whose weights come from a formula: no generator, so no version of one, is in its numbers."""
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    sizes = {key: _COMMON[key] for key in _COMMON.keys() - {"bos_token_id", "eos_token_id", "pad_token_id"}}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, rope_parameters=rope))
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64).view(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(0.4 * torch.sin(1.7 * steps * (1 + k) + k))
            else:
                parameter.fill_(1.0)
    return model.eval()
