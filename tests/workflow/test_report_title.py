"""The title of the report is text, whatever it looks like to RST, Jinja or HTML."""

import html
import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

TEXT = (Path(__file__).parents[2] / "workflow" / "report" / "workflow.rst").read_text(encoding="utf-8")
# Snakemake puts targets of links behind the text.
BEHIND = "\n\n.. _Workflow: javascript:show_panel('workflow')\n"
SIGNS = "ab1 .:_`*|=-+~\\<>&{}%#[]()\"'!/@$^\n\t\0\x1b\u2028é日🌊"


def shown(config: dict) -> str:
    """The title of the page that Snakemake makes of the text, which has no fault of RST."""
    text = Environment().from_string(TEXT + BEHIND).render(snakemake=SimpleNamespace(config=config))
    warnings = io.StringIO()
    parts = publish_parts(text, writer="html", settings_overrides={"warning_stream": warnings})
    assert warnings.getvalue() == ""
    assert "<em>Summary</em> has the numbers" in parts["html_body"]
    assert parts["html_body"].count("<h1") == 1
    assert not re.search("[<>]", parts["title"])
    return html.unescape(parts["title"])


def as_line(title: str) -> str:
    """A title as it is shown: one line, without signs that do not print."""
    line = "".join(sign for sign in " ".join(title.split()) if sign.isprintable())
    return line.strip() or "longspan"


@settings(deadline=None)
@given(st.text(st.sampled_from(SIGNS), max_size=40) | st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_title_is_shown_as_it_is(title):
    assert shown({"report": {"title": title}}) == as_line(title)


@pytest.mark.parametrize(
    "title",
    [
        ".. include:: /etc/passwd",
        "x\n\n.. raw:: html\n\n   <script>alert(1)</script>\n",
        "</script><img src=x onerror=alert(1)>",
        "{{ snakemake.config }} {% for x in y %}",
        "`text <javascript:alert(1)>`_ Workflow_ |x| [1]_",
    ],
)
def test_no_directive_or_markup_of_a_title_works(title):
    assert shown({"report": {"title": title}}) == as_line(title)


def test_settings_without_a_title_have_the_projects_name():
    for config in ({}, {"report": {}}, {"report": None}, {"report": {"title": ""}}):
        assert shown(config) == "longspan"
