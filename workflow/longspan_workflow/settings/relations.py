"""What the blocks of the settings need of each other."""


def scored_pairs(settings: dict) -> dict[tuple[str, str], list[str | None]]:
    """(windowing, scorer) of every frozen NLL store that runs and exports need, and of which windows.

    Those are the names of the selections whose kept windows are enough, and None if all windows are needed.
    """
    pairs: dict[tuple[str, str], list[str | None]] = {}

    def need(windowing: str, loss: str, selection: str | None) -> None:
        if scorer := settings["losses"][loss].get("scorer"):
            parts = pairs.setdefault((windowing, scorer), [])
            if selection not in parts:
                parts.append(selection)

    for run in settings["runs"].values():
        for loss in losses_of(run):
            need(run["windowing"], loss, run["selection"] if run["select_first"] else None)
    for export in settings["exports"].values():
        if "loss" in export:
            need(windowing_of_export(settings, export), export["loss"], export.get("selection"))
    return pairs


def selecting_pairs(settings: dict) -> dict[tuple[str, str], list[str]]:
    """(windowing, scorer) of every store that selections choose by, with the selections."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for name, selection in settings["selections"].items():
        if "scorer" in selection:
            pairs.setdefault((selection["windowing"], selection["scorer"]), []).append(name)
    return pairs


def windowing_of_export(settings: dict, export: dict) -> str:
    """The windowing whose windows an export writes."""
    if "selection" in export:
        return settings["selections"][export["selection"]]["windowing"]
    return export["windowing"]


def losses_of(run: dict) -> list[str]:
    """A run's losses as a list."""
    return [run["loss"]] if isinstance(run["loss"], str) else run["loss"]
