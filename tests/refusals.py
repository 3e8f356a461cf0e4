"""Errors by their exact text."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(message: str, kind: type[Exception] = ValueError) -> Iterator[None]:
    """Expect an error of exactly this message."""
    with pytest.raises(kind) as caught:
        yield
    assert str(caught.value) == message
