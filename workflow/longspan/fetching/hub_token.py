"""The hub's token: checked before it is used, and kept from processes that do not talk to the hub."""

import os

# A token, and what huggingface_hub would get one with; of the tokens the first counts.
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
VARIABLES = (*_TOKENS, "HF_OIDC_RESOURCE", "HF_OIDC_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


def token() -> str | None:
    """The token that the environment names, if any."""
    return next((value for name in _TOKENS if (value := os.environ.get(name))), None)


def require_sendable_token() -> None:
    """Refuse a token that no HTTP header can hold: a client's own error would print it.

    Raises:
        ValueError: naming the variable, without its value.
    """
    for name in VARIABLES:
        value = os.environ.get(name, "")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(
                f"{name} holds a line end, a space or another character that no token has; set it anew, for "
                f"example by export {name}=\"$(tr -d '[:space:]' < FILE)\""
            )


def drop_token() -> None:
    """Keep the token from all that this process starts and loads; for work that does not ask the hub."""
    for name in VARIABLES:
        os.environ.pop(name, None)


def environment_without_token() -> dict[str, str]:
    """The environment for a child that does not talk to the hub."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}
