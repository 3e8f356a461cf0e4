"""What a reader of the report does, in a real browser."""

import json
import re

import numpy as np
import pytest

from browser_page import data_of, window_text
from longspan.reporting.page.document import render_page
from longspan.reporting.page.selections import selection_counts
from longspan.selection.methods.longattn import LongAttn
from longspan.selection.table import selection_table

SECTIONS = ("helped", "funnel", "selection", "reader", "weights", "how")


def shown_window(page) -> str:
    """Id of the window that is shown, when it is there."""
    page.wait_for_selector("#window-text .t")
    return page.locator("#reader dl.facts .id").first.inner_text()


def await_window(page, data_id: str) -> None:
    # Not by a function: the page's policy lets no text be evaluated.
    page.wait_for_selector(f'#reader dl.facts .id:text-is("{data_id}")')


def panel(page) -> str:
    return page.locator("#token").inner_text()


def gain_of(text: str) -> float:
    return float(re.search(r"gain ([+−\d.]+)", text)[1].replace("−", "-").replace("+", ""))


def test_each_section_has_its_numbers(open_page):
    page = open_page()
    for name in SECTIONS:
        text = page.locator(f"#{name}").inner_text()
        assert re.search(r"\d", text), name
    assert page.locator("#cards .card b").count() == 4
    for name in ("helped", "selection", "weights"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{name} svg")
    assert "main/dense" in page.locator("#helped").inner_text()
    assert page.locator("nav a").count() == len(SECTIONS)


def test_a_window_is_chosen_and_its_address_leads_to_it(open_page):
    page = open_page()
    ids = [window["id"] for window in data_of(page)["reader"]["windows"]]
    assert shown_window(page) == ids[0]
    page.select_option("#window-choice", ids[2])
    await_window(page, ids[2])
    assert page.url.endswith(f"#window={ids[2]}")
    again = open_page(hash_=f"#window={ids[3]}")
    await_window(again, ids[3])


def test_a_row_of_a_selection_leads_to_its_window(open_page):
    page = open_page()
    link = page.locator("#selection table a").nth(1)
    target = link.get_attribute("href").partition("=")[2]
    link.click()
    await_window(page, target)
    assert page.locator("#reader").bounding_box()["y"] < 400


def test_a_window_that_is_not_there_is_named(open_page):
    page = open_page(hash_="#window=%3Cimg%20src=x%3E")
    page.wait_for_selector("#reader .note", timeout=5000)
    assert "does not hold the window <img src=x>" in page.locator("#reader").inner_text()


def test_a_token_that_is_pointed_at_tells_its_numbers(open_page):
    page = open_page()
    window = next(one for one in data_of(page)["reader"]["windows"] if one["id"] == shown_window(page))
    token = page.locator("#window-text .t").nth(60)
    token.scroll_into_view_if_needed()
    token.hover()
    text = panel(page)
    assert "position 60" in text
    assert all(name in text for name in ("short", "long", "gain", "weight"))
    short, long = (float(re.search(rf"{name} ([\d.]+)", text)[1]) for name in ("short", "long"))
    assert gain_of(text) == pytest.approx(short - long, abs=0.011)
    assert window["scored"]


def test_jumps_go_from_the_most_helped_to_the_next(open_page):
    page = open_page()
    shown_window(page)
    gains = []
    for _ in range(3):
        page.click("#most-helped")
        gains.append(gain_of(panel(page)))
    assert gains[0] > 0
    assert gains == sorted(gains, reverse=True)
    page.click("#most-hurt")
    assert gain_of(panel(page)) < 0
    assert page.locator("#window-text .t.here").count() == 1


def test_another_loss_gives_other_weights(open_page):
    page = open_page()
    shown_window(page)
    page.click("#most-helped")
    seen = {}
    for loss in ("dense", "plain", "longce"):
        page.select_option("#loss-choice", loss)
        seen[loss] = page.locator("#token-weight").inner_text()
    assert seen["plain"] == "weight 1.000"
    assert len(set(seen.values())) == 3


def test_a_table_is_sorted_by_its_heads(open_page):
    page = open_page()
    # Other selections' tables come with other choices.
    head = page.locator("#selection table").first.locator("th", has_text="score")
    column = [text.strip() for text in page.locator("#selection table").first.locator("th").all_inner_texts()]
    place = next(number for number, text in enumerate(column) if text.startswith("score"))

    def scores():
        cells = page.locator("#selection table").first.locator(f"tbody tr td:nth-child({place + 1})")
        return [float(text.replace("−", "-")) for text in cells.all_inner_texts()]

    head.locator("button").click()
    assert scores() == sorted(scores(), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert scores() == sorted(scores())
    assert len(scores()) > 8


def test_the_text_is_read_by_keyboard(open_page):
    page = open_page()
    shown_window(page)
    page.focus("#window-text")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert "position 1" in panel(page)
    page.keyboard.press("End")
    assert "position 127" in panel(page)
    page.keyboard.press("Home")
    assert "nothing predicts the first token" in panel(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(open_page, scheme):
    page = open_page(width=420, scheme=scheme)
    shown_window(page)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ground, ink))
    assert (light > dark + 400) if scheme == "light" else (dark > light + 400)


def test_in_print_the_text_stands_whole_without_controls(open_page):
    page = open_page()
    shown_window(page)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("#window-choice").is_visible()
    box = page.evaluate(
        "(node => [node.scrollHeight, node.clientHeight])(document.querySelector('#window-text'))"
    )
    assert box[0] <= box[1] + 2


def test_hostile_texts_are_shown_and_run_nothing(open_page):
    page = open_page()
    windows = data_of(page)["reader"]["windows"]
    hostile = [window["id"] for window in windows if window["document"].endswith("hostile.txt")]
    titled = [window["id"] for window in windows if "<img" in window["title"]]
    assert hostile
    assert titled
    shown = ""
    for data_id in (*hostile, titled[0]):
        page.select_option("#window-choice", data_id)
        await_window(page, data_id)
        text = page.locator("#window-text").text_content()
        assert text == window_text(page, data_id)
        shown += text
    assert "<script>window.hurt = 1</script>" in shown
    assert "[U+202E]abc[U+202C]" in shown
    assert "\u2407\u241b[31m" in shown
    assert "👩[U+200D]🚀" in shown
    assert "שלום" in shown
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img, main script, header img").count() == 0
    assert page.locator("header .title").inner_text().startswith("<img src=x")


def test_many_windows_are_drawn_as_cells_and_many_runs_apart(open_page, report, tmp_path):
    page = report.read_text(encoding="utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    draw = np.random.default_rng()
    windows = 5000
    numbers = {"strength": draw.random(windows), "variance_block": draw.gamma(2.0, 1e-7, windows)}
    ids = [f"x-00000_{number:07d}" for number in range(windows)]
    table = selection_table(ids, numbers["strength"], keep={"ratio": 0.25}).assign(**numbers)
    counts = selection_counts(table, LongAttn().axes, "score")
    rows = [row | {"title": "t", "begins": "b"} for row in counts["rows"]]
    first = {name: value for name, value in data["selections"][0].items() if name != "dots"}
    data["selections"][0] = first | counts | {"rows": rows}
    (chart,) = data["helped"]["changes"]
    chart["points"] = [
        point | {"model": f"run-{run}/dense"} for run in range(18) for point in chart["points"]
    ]
    (tmp_path / "large.html").write_text(render_page("large", data), encoding="utf-8")
    page = open_page(tmp_path / "large.html")
    page.locator("#selection").scroll_into_view_if_needed()
    page.wait_for_selector("#selection svg [aria-label=dot] path")
    assert page.locator("#selection svg [aria-label=dot] path").count() > 50
    page.locator("#helped").scroll_into_view_if_needed()
    page.wait_for_selector("#helped svg")
    labels = page.locator("#helped svg").first.text_content()
    assert all(f"run-{run}/dense" in labels for run in range(18))


def test_downloads_are_the_tables(open_page, report):
    page = open_page()
    with page.expect_download() as download:
        page.click("text=funnel.tsv")
    path = download.value.path()
    assert path.read_text() == (report.parent / "funnel.tsv").read_text()
