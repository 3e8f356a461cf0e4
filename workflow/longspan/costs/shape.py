"""Sizes of a decoder, out of the content of its config.json. Imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a Llama-like decoder, under the names of its transformers config."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool = False

    @classmethod
    def of(cls, config: dict) -> "DecoderShape":
        """Read the shape from the content of a config.json.

        An output layer that the config says nothing about is counted beside the embedding.

        Raises:
            ValueError: the config names no such sizes, or a mixture of experts.
        """
        config = config.get("text_config") or config
        if any(config.get(name) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
            raise ValueError("config.json names several experts, and what they need is not estimated")

        def size(*names: str, default: int | None = None) -> int:
            found = next((config[name] for name in names if config.get(name)), default)
            if found is None:
                raise ValueError(f"config.json has no {names[0]}, so what its model needs is not known")
            return int(found)

        hidden, heads = size("hidden_size", "n_embd"), size("num_attention_heads", "n_head")
        return cls(
            vocab_size=size("vocab_size"),
            hidden_size=hidden,
            intermediate_size=size("intermediate_size", "n_inner", default=4 * hidden),
            num_hidden_layers=size("num_hidden_layers", "n_layer"),
            num_attention_heads=heads,
            num_key_value_heads=size("num_key_value_heads", default=heads),
            head_dim=size("head_dim", default=hidden // heads),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        )

    def get_text_config(self) -> "DecoderShape":
        """Itself, as a transformers config would."""
        return self

    @property
    def _queries(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def _keys(self) -> int:
        return self.num_key_value_heads * self.head_dim

    @property
    def _matrices(self) -> int:
        layer = self.hidden_size * (2 * self._queries + 2 * self._keys + 3 * self.intermediate_size)
        return self.num_hidden_layers * layer

    @property
    def parameters(self) -> int:
        """Parameters, those of norms left out."""
        return self._matrices + self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def first_layer_parameters(self) -> int:
        """Parameters of the embedding and of the first layer's queries and keys."""
        return self.hidden_size * (self.vocab_size + self._queries + self._keys)

    def forward_flops(self, tokens: int, scored_tokens: int | None = None) -> float:
        """As `longspan.training.flops.forward_flops`, by the shape alone."""
        scored = tokens if scored_tokens is None else scored_tokens
        output_layer = 2.0 * scored * self.vocab_size * self.hidden_size
        attention = 2.0 * self.num_hidden_layers * self._queries * tokens**2
        return 2.0 * tokens * self._matrices + output_layer + attention

    def attention_flops(self, tokens: int) -> float:
        """FLOPs of the first layer's queries, keys, and causal products of the two, over one sequence."""
        projections = 2.0 * tokens * self.hidden_size * (self._queries + self._keys)
        return projections + self._queries * tokens**2
