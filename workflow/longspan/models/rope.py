"""The base of rotary position embeddings."""


def set_rope_theta(config, rope_theta: float) -> None:
    """Set the base (θ) of a transformers config's rotary embedding, in place.

    Raises:
        ValueError: a model without rotary embedding.
    """
    rope = getattr(config.get_text_config(), "rope_parameters", None)
    if not rope:
        raise ValueError(f"rope_theta is set, but {config.model_type} has no rotary embedding")
    # Some models (Gemma 3) have one set of parameters for each type of layer.
    for parameters in [rope] if "rope_theta" in rope else rope.values():
        parameters["rope_theta"] = float(rope_theta)
