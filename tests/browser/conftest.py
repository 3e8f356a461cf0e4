"""The report of a tiny run with hostile texts, open in a headless Chromium."""

import copy
import os
import shutil
from pathlib import Path

import pytest

from tiny_chain import TINY, Chain
from tiny_inputs import make_inputs

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = (
    "<script>window.hurt = 1</script> <img src=x onerror='window.hurt = 1'> &amp; </script> "
    "שלום עולם \u202eabc\u202c مرحبا 👩\u200d🚀🏳️\u200d🌈 \x07\x1b[31m ]]> @@DATA@@ ${1} \\u003c \u2028 end.\n"
)
TITLE = "<img src=x onerror='window.hurt = 1'>"


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The page of the tiny run, with all windows of few documents, some of them hostile."""
    folder = tmp_path_factory.mktemp("report")
    make_inputs(folder / "inputs")
    for path in sorted((folder / "inputs/prose").glob("*.txt"))[4:]:
        path.unlink()
    (folder / "inputs/prose/hostile.txt").write_text(HOSTILE * 12, encoding="utf-8")
    rows = folder / "inputs/rows.jsonl"
    first = rows.read_text().splitlines()[0]
    assert '"book": "' in first
    book = first.partition('"book": "')[2].partition('"')[0]
    rows.write_text(rows.read_text().replace(f'"book": "{book}"', f'"book": "{TITLE}"'))
    settings = copy.deepcopy(TINY)
    settings["windowings"]["short-128"]["sampling"] = {}
    settings["corpora"]["short"]["sources"][1]["title_column"] = "book"
    settings["report"]["title"] = f"{TITLE} & more"
    before = Path.cwd()
    os.chdir(folder)
    try:
        Chain(settings).make_all()
    finally:
        os.chdir(before)
    return folder / "results/report.html"


@pytest.fixture(scope="session")
def chromium():
    """A browser, where there is one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, report):
    """Opens the page, or another file; at the end, it must have said nothing and asked for no other file."""
    contexts, said, asked = [], [], []

    def open_(path=report, *, hash_="", width=1280, height=900, scheme="light"):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.set_default_timeout(10_000)
        page.goto(path.as_uri() + hash_)
        page.wait_for_selector("html[data-ready=yes]", state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "blob"}
    assert len([url for url in asked if url.startswith("file")]) == len(contexts)
