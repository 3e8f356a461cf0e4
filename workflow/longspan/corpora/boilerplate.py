"""What transcribers put around a text, and how it is cut."""

import re

# Paragraphs that a transcriber put around a text, at its head or its tail.
_TRANSCRIBER = re.compile(
    r"project gutenberg|\be-?text\b|produced by|transcrib|spelling has been modernized|"
    r"accents and italics have been omitted",
    re.IGNORECASE,
)
_START_MARKER = re.compile(r"^\*\*\* ?START OF.*?\*\*\*\s*$", re.MULTILINE | re.IGNORECASE)
_END_MARKER = re.compile(r"^\*\*\* ?END OF.*?\*\*\*", re.MULTILINE | re.IGNORECASE)
_EDGE_PARAGRAPHS = 6


def strip_boilerplate(text: str) -> str:
    """Cut what surrounds a Project Gutenberg text: everything outside the markers, transcribers' notes."""
    if marker := _START_MARKER.search(text):
        text = text[marker.end() :]
    if marker := _END_MARKER.search(text):
        text = text[: marker.start()]
    paragraphs = text.strip("\n").split("\n\n")
    last = len(paragraphs) - _EDGE_PARAGRAPHS
    kept = [
        paragraph
        for index, paragraph in enumerate(paragraphs)
        if _EDGE_PARAGRAPHS <= index < last or not _TRANSCRIBER.search(paragraph)
    ]
    return "\n\n".join(kept).strip("\n") + "\n"
