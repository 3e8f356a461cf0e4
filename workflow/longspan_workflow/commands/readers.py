"""A page to read one window, or the windows of one document, whatever the report holds."""

from pathlib import Path

from longspan.reporting.page.document import render_page
from longspan.reporting.page.windows import WindowingReader, within_budget
from longspan.store.tables import atomic_path
from longspan.weighting.variant import loss_of_settings
from longspan_workflow.commands.explanations import cut_window, explain, in_words
from longspan_workflow.wiring.wiring import Wiring


def write_reader(wiring: Wiring, name: str, path: Path) -> int:
    """Write a page with the windows of an id.

    Args:
        wiring: of the settings.
        name: a data_id, or a document_id.
        path: the page.

    Returns:
        The number of windows in it.

    Raises:
        ValueError: there is no window of that name; or as `explain`.
    """
    answer = explain(wiring, name)
    settings = wiring.pages.page_settings()
    losses = {entry["name"]: entry for entry in settings["losses"]}
    ids = {
        windowing: [name] if "data_id" in answer else _windows_of(found)
        for windowing, found in answer.get("windowings", {}).items()
    }
    if not any(ids.values()):
        raise ValueError(f"{name} has no window to read: {'; '.join(in_words(answer))}")

    def packed():
        for windowing, data_ids in ids.items():
            block = wiring.pages.windowing_tables(wiring.settings.windowings[windowing])
            reader = WindowingReader(block)
            by_store = {
                store: {
                    loss: loss_of_settings(entry["block"])
                    for loss, entry in losses.items()
                    if entry["scorer"] in (store, None)
                }
                for store in block["stores"]
            }
            for data_id in data_ids:
                reader.include(cut_window(wiring, windowing, data_id))
                found = explain(wiring, data_id)
                why = "; ".join(in_words(found))
                yield {"windowing": windowing, "why": why, **reader.pack(data_id, by_store)}

    windows = within_budget(packed())
    labels = {name: {key: entry[key] for key in ("label", "is_used")} for name, entry in losses.items()}
    data = {"title": name, "heading": name, "reader": {"windows": windows, "losses": labels}}
    with atomic_path(path) as temporary:
        temporary.write_text(render_page(name, data), encoding="utf-8")
    return len(windows)


def _windows_of(found: dict) -> list[str]:
    return list(found["windows"]) if isinstance(found["windows"], dict) else []
