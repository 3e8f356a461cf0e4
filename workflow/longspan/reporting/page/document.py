"""The page as one file: template, styles, scripts and data. Nothing is fetched when it is opened.

The data go in as JSON that no HTML parser can leave, and the page's script puts them on the screen as text.
The policy in the page's head lets nothing run but the scripts that stand in it, known by their digests.
"""

import base64
import hashlib
import json
import math
from pathlib import Path

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "page.js")
_OTHERS = ("page.html", "page.css")


def page_files() -> list[Path]:
    """Files that go into each page, on which it depends as it does on code."""
    return [_STATIC / name for name in (*_OTHERS, *_SCRIPTS)]


def render_page(title: str, data: dict) -> str:
    """A whole page.

    Args:
        title: shown by browsers.
        data: what the page's script shows, of JSON's types.

    Raises:
        ValueError: a number that is not finite.
    """
    scripts = [(_STATIC / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    parts = {
        "POLICY": f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "TITLE": _escaped(title),
        "STYLE": (_STATIC / "page.css").read_text(encoding="utf-8"),
        "DATA": embedded_json(data),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # Split before anything is put in, so that no text of the data is taken for a mark.
    pieces = (_STATIC / "page.html").read_text(encoding="utf-8").split("@@")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def embedded_json(data: dict) -> str:
    """JSON that is text to an HTML parser: no `<`, `>` or `&`, and no character that is none in UTF-8."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    if not _has_half(text):
        return text
    # Half a pair of surrogates, which no file can hold, becomes its escape.
    return "".join(f"\\u{ord(c):04x}" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)


def _has_half(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def finite(value: float) -> float | None:
    """A number, or None where it is none, which JSON cannot hold."""
    return float(value) if math.isfinite(value) else None


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
