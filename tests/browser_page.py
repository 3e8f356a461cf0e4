"""What a page holds, as its data say."""

import base64
import gzip
import re

# As the page's script shows what would not be seen.
_HIDDEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def data_of(page) -> dict:
    """The data in an open page."""
    return page.evaluate("JSON.parse(document.getElementById('data').textContent)")


def window_text(page, data_id: str) -> str:
    """Text of a window, as the page should show it."""
    window = next(one for one in data_of(page)["reader"]["windows"] if one["id"] == data_id)
    text = gzip.decompress(base64.b64decode(window["block"]))[: window["text"]].decode()
    return _HIDDEN.sub(_shown, text)


def _shown(match: re.Match) -> str:
    code = ord(match[0])
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else f"[U+{code:04X}]"
