import base64
import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.reporting.page.document import embedded_json, page_files, render_page

HOSTILE = "</script><script>alert(1)</script><!-- @@DATA@@ \u2028 \ud800 \x00 &lt;"


@settings(max_examples=30, deadline=None)
@given(st.text(), st.text())
def test_data_come_back_as_they_were_and_leave_their_script_nowhere(key, value):
    text = embedded_json({key: [value, HOSTILE]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {key: [value, HOSTILE]}


def test_a_page_runs_its_own_scripts_alone_and_fetches_nothing():
    page = render_page("a <b> & c", {"title": HOSTILE})
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "alert(1)</script>" not in page
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    page.encode()  # no half pair of surrogates is left


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded_json({"a": float("nan")})


def test_every_file_of_the_page_is_there_and_libraries_name_their_licence():
    files = {path.name: path for path in page_files()}
    assert set(files) == {"page.html", "page.css", "page.js", "d3.min.js", "plot.umd.min.js"}
    for name in ("LICENSE.d3", "LICENSE.plot", "README.md"):
        assert (files["d3.min.js"].parent / name).read_text().strip()
    listed = (files["d3.min.js"].parent / "README.md").read_text()
    for name in ("d3.min.js", "plot.umd.min.js"):
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() in listed
