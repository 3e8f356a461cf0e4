"""A tiny random model of each type in transformers' mapping of causal language models.

A type's own default config is taken and its sizes are made small by the names of its fields, in every part
of it. Types whose sizes depend on each other in ways of their own have fields or arguments listed here.
"""

import warnings
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

VOCABULARY = 128
WINDOW = 16  # tokens of sliding windows and attention chunks
POSITIONS = 256
LAYERS = 4
TYPES = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))

_NAMES_OF_SIZE = (
    (
        64,
        "hidden_size d_model n_embd dim model_dim embed_dim word_embed_proj_dim emb_dim embedding_dim "
        "input_hidden_size decoder_hidden_size encoder_hidden_size backbone_hidden_size hidden_dim lru_width "
        "initial_context_length",
    ),
    (
        96,
        "intermediate_size ffn_dim d_ff n_inner decoder_ffn_dim encoder_ffn_dim ffn_hidden_size dim_ff dff "
        "intermediate_size_mlp feed_forward_size block_ff_dim dense_intermediate_size",
    ),
    (
        32,
        "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size "
        "expert_hidden_size shared_intermediate_size expert_ffn_hidden_size moe_latent_size q_lora_rank",
    ),
    (
        LAYERS,
        "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers "
        "num_encoder_layers attention_num_hidden_layers depth num_attention_heads n_head n_heads num_heads "
        "decoder_attention_heads encoder_attention_heads num_decoder_attention_heads mamba_dt_rank "
        "num_encoder_attention_heads num_experts n_routed_experts num_local_experts moe_num_experts "
        "linear_num_value_heads linear_num_heads time_step_rank",
    ),
    (
        2,
        "num_key_value_heads num_kv_heads num_global_key_value_heads swa_num_key_value_heads moe_k moe_topk "
        "num_experts_per_tok num_experts_per_token top_k_experts moe_top_k linear_num_key_heads "
        "altup_num_inputs index_n_heads type_vocab_size",
    ),
    (
        16,
        "head_dim v_head_dim qk_nope_head_dim swa_head_dim swa_v_head_dim global_head_dim kv_lora_rank "
        "attention_head_dim kv_channels d_kv key_value_proj_dim mamba_d_head mamba_head_dim mamba_headdim "
        "linear_key_head_dim linear_value_head_dim linear_head_dim index_head_dim",
    ),
    (24, "qk_head_dim"),
    (
        8,
        "qk_rope_head_dim rotary_dim mamba_d_state ssm_state_size state_size mamba_n_heads mamba_num_heads "
        "n_mamba_heads mamba_chunk_size chunk_size index_topk hidden_size_per_layer_input laurel_rank",
    ),
    (
        1,
        "n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group num_expert_group "
        "mamba_n_groups n_groups mamba_ngroups first_k_dense_replace",
    ),
    (
        POSITIONS,
        "max_position_embeddings n_positions max_target_positions max_source_positions n_ctx "
        "max_seq_len max_sequence_length",
    ),
    (WINDOW, "sliding_window attention_chunk_size sliding_window_size attention_window_size window_size"),
    (128, "mamba_d_ssm"),
    (VOCABULARY, "vocab_size n_words entity_vocab_size decoder_vocab_size vocab_size_per_layer_input"),
)
_SIZES = {name: size for size, names in _NAMES_OF_SIZE for name in names.split()}
_SPECIAL_TOKENS = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 3,
    "cls_token_id": 3,
    "decoder_start_token_id": 3,
}
_RANDOM = ("dropout", "layerdrop", "drop_prob", "pdrop", "drop_rate", "jitter")
_BY_LAYER = ("layer_types", "layers_block_type", "mlp_layer_types", "block_types", "no_rope_layers")

_LATENT = {"head_dim": 8, "qk_head_dim": 24, "num_key_value_heads": 4}  # DeepSeek's compressed keys
_SCALED = {
    "logits_scaling": 4.0,
    "attention_multiplier": 0.3,
    "embedding_multiplier": 2.0,
    "residual_multiplier": 0.5,
}
_MIXED = ["full_attention", "linear_attention"] * 2
_INDEXED = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 16,
    "indexer_compress_ratio": 2,
    "layer_types": ["indexed_attention", "linear_attention"] * 2,
    "hc_lowrank": 8,
    "ple_embed_dim": 64,
    "ngram_vocab_size_base": 500,
    "split_ngram_parts": 2,
}
# Fields of a type, after the sizes; a dot leads into a part of the config.
_FIELDS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        [
            "axk1",
            "axk2",
            "bailing_hybrid",
            "deepseek_v3",
            "deepseek_v32",
            "glm4_moe_lite",
            "kimi_linear",
            "longcat_flash",
            "minicpm3",
            "youtu",
        ],
        _LATENT,
    ),
    "deepseek_v2": _LATENT | {"topk_method": "greedy", "num_experts_per_tok": 2},
    "glm_moe_dsa": _LATENT | {"indexer_types": ["full"] * LAYERS},
    "hy_v4": _LATENT | {"indexer_types": ["full", "full", "shared", "full"]},
    **dict.fromkeys(("granite", "granitemoe", "granitemoeshared", "granite_swa", "granitemoe_swa"), _SCALED),
    "granitemoehybrid": {"mamba_d_head": 16, "layer_types": _MIXED, "logits_scaling": 4.0},
    **{name: {"logit_scale": 2.0} for name in ("cohere", "cohere2", "cohere2_moe")},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "bamba": {"mamba_d_head": 16, "attn_layer_indices": [0, 2]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 0},
    "hrm_text": {"num_layers_per_stack": 2, "num_hidden_layers": 16, "embedding_scale": 2.0},
    "lfm2": {"layer_types": ["full_attention", "conv"] * 2},
    "lfm2_moe": {"layer_types": ["full_attention", "conv"] * 2, "num_dense_layers": 2},
    "dots1": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 2,
    },
    "dbrx": {
        "attn_config.kv_n_heads": 2,
        "attn_config.rope_theta": 1e4,
        "attn_config.clip_qkv": 8.0,
        "ffn_config.hidden_size": 64,
        "ffn_config.ffn_hidden_size": 96,
        "num_key_value_heads": 2,
    },
    "ministral": {"head_dim": 16, "layer_types": ["full_attention", "sliding_attention"] * 2},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1},
    "rwkv": {"attention_hidden_size": 64, "context_length": POSITIONS},
    "reformer": {
        "axial_pos_embds_dim": (32, 32),
        "axial_pos_shape": (16, 16),
        "num_buckets": 4,
        "is_decoder": True,
        "attn_layers": ["local", "lsh"] * 2,
    },
    "qwen4_exp_text": _INDEXED,
    "qwen4_exp": {f"text_config.{name}": value for name, value in _INDEXED.items()},
    **{name: {"layer_types": _MIXED} for name in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")},
    "gemma2": {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 3.0},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16, "moe_topk": 2},
    "nemotron": {"num_key_value_heads": 2},
    "gemma3n_text": {"final_logit_softcapping": 2.0},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}
_BASE = {
    "num_hidden_layers": LAYERS,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "intermediate_size": 96,
}
_SLIDING_FIRST = ["sliding_attention", "full_attention"] * 2
_GEMMA = _BASE | {
    "layer_types": _SLIDING_FIRST,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": VOCABULARY,
    "sliding_window": WINDOW,
    "final_logit_softcapping": 2.0,
}
_GEMMA_4 = _GEMMA | {"global_head_dim": 32, "num_kv_shared_layers": 0}
_SMALL = {"vocab_size": VOCABULARY, "hidden_size": 64, "bos_token_id": 1, "eos_token_id": 2}
# Arguments of a type's config class in place of its defaults, where changed fields come too late.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "gemma4_text": _GEMMA_4,
    "gemma4_unified_text": _GEMMA_4,
    "gemma4": {"text_config": _GEMMA_4},
    "gemma4_unified": {"text_config": _GEMMA_4},
    "gemma3n_text": _GEMMA
    | {
        "num_kv_shared_layers": 2,
        "altup_num_inputs": 2,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
    },
    "laguna": _BASE
    | {
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "layer_types": ["full_attention", "sliding_attention"] * 2,
        "sliding_window": WINDOW,
        "num_attention_heads_per_layer": [4] * LAYERS,
        "mlp_layer_types": ["dense", "sparse"] * 2,
    },
    "gpt_neo": _SMALL
    | {
        "num_layers": LAYERS,
        "attention_types": [[["global", "local"], 2]],
        "num_heads": 4,
        "window_size": WINDOW,
        "max_position_embeddings": POSITIONS,
    },
    "dots3_note_text": {name: _BASE[name] for name in _BASE if name != "max_position_embeddings"}
    | {
        "layer_types": ["indexed_attention"] * 2 + ["sliding_attention"] * 2,
        "mlp_layer_types": ["dense", "sparse"] * 2,
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
        "head_dim": 24,
        "index_head_dim": 16,
        "index_n_heads": 2,
        "index_topk": 8,
        "sliding_window": WINDOW,
        "moe_intermediate_size": 32,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
    },
    "zamba": {name: _BASE[name] for name in _BASE if name != "head_dim"}
    | {
        "num_key_value_heads": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 8,
        "n_mamba_heads": 2,
        "mamba_dt_rank": 4,
    },
    "zamba2": {name: _BASE[name] for name in _BASE if name != "head_dim"}
    | {
        "num_key_value_heads": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "mamba_d_state": 8,
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "n_mamba_heads": 8,
        "mamba_expand": 2,
        "num_mem_blocks": 1,
        "use_shared_attention_adapter": False,
        "adapter_rank": 8,
    },
    "xlstm": _SMALL
    | {
        "embedding_dim": 64,
        "num_hidden_layers": LAYERS,
        "num_blocks": LAYERS,
        "num_heads": 4,
        "qk_dim_factor": 0.5,
        "v_dim_factor": 1.0,
        "chunk_size": 8,
        "pad_token_id": 0,
    },
}
_LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 8,
    "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0],
    "factor": 10.0,
    "partial_rotary_factor": 1.0,
    "original_max_position_embeddings": 24,
}
# Settings of a type that change what must be checked: (type, fields).
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, linear RoPE": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "llama, YaRN": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 1e4,
                "original_max_position_embeddings": 24,
            }
        },
    ),
    "llama, dynamic NTK": (
        "llama",
        {
            "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
            "max_position_embeddings": 24,
        },
    ),
    "phi3, LongRoPE": (
        "phi3",
        {
            "rope_parameters": _LONG_ROPE,
            "original_max_position_embeddings": 24,
            "sliding_window": None,
        },
    ),
    "qwen2, sliding window": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "layer_types": ["full_attention", "sliding_attention"] * 2,
        },
    ),
}
EVERYTHING = (*TYPES, *VARIANTS)
# What people use at the time of writing: the form of the check that every change runs.
IN_USE = (
    "llama",
    "llama, dynamic NTK",
    "phi3, LongRoPE",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "gemma4_text",
    "olmo3",
    "gpt_oss",
    "deepseek_v3",
    "llama4_text",
    "mamba",
)


def tiny_config(name: str) -> PreTrainedConfig:
    """The config of a type or variant, with small sizes and nothing that is drawn in a forward pass."""
    model_type, more = VARIANTS.get(name, (name, {}))
    config = CONFIG_MAPPING[model_type](**_ARGUMENTS.get(model_type, {}))
    if model_type not in _ARGUMENTS:
        _shrink(config)
    elif config.get_text_config() is not config:
        for part in vars(config).values():
            if isinstance(part, PreTrainedConfig) and part is not config.get_text_config():
                _shrink(part)
    for path, value in (_FIELDS.get(model_type, {}) | more).items():
        *parts, field = path.split(".")
        owner = config
        for part in parts:
            owner = getattr(owner, part)
        setattr(owner, field, value)
    return config


def tiny_model(
    name: str, attention: str | None = None, dtype: torch.dtype = torch.float32
) -> torch.nn.Module:
    """A model of it in eval mode, by weights so large that what differs shows."""
    torch.manual_seed(0)
    options = {} if attention is None else {"attn_implementation": attention}
    model = AutoModelForCausalLM.from_config(tiny_config(name), dtype=dtype, **options)
    _draw(model)
    return model.eval()


def random_ids(sequences: int, tokens: int, seed: int = 0) -> torch.Tensor:
    """Ids [sequences, tokens] without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, VOCABULARY, (sequences, tokens), generator=generator)


def _shrink(config: PreTrainedConfig) -> None:
    for name, value in list(vars(config).items()):
        if isinstance(value, PreTrainedConfig):
            _shrink(value)
        elif (new := _shrunk(name, value)) is not value:
            setattr(config, name, new)


def _shrunk(name: str, value: Any) -> Any:
    if name in _SPECIAL_TOKENS:
        return _SPECIAL_TOKENS[name]
    if name == "is_decoder":
        return True
    if name in ("is_encoder_decoder", "add_cross_attention"):
        return False
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and any(part in name for part in _RANDOM):
        return 0.0
    if isinstance(value, list) and name in _BY_LAYER and value:
        kinds = list(dict.fromkeys(value))
        return ((kinds if len(kinds) > 1 else []) + value[:1] * LAYERS)[:LAYERS]
    return _SIZES.get(name, value) if isinstance(value, int) else value


@torch.no_grad()
def _draw(model: torch.nn.Module) -> None:
    # Rates of recurrences keep their own values: random ones explode.
    kept = ("A_log", "dt_bias", "dt_proj", "conv", "time_", ".D", "lstm", "igate", "fgate")
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or any(part in name for part in kept):
            continue
        if parameter.ndim > 1:
            parameter.normal_(std=0.15)
        elif name.endswith("bias") or "sink" in name:
            parameter.normal_(std=0.3)
        elif "norm" in name:
            parameter.add_(0.1 * torch.randn_like(parameter))
