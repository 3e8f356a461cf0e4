"""Selections: what a method looks at."""

from pathlib import Path

from longspan_workflow.settings.blocks import SelectionBlock, Settings
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.scores import Scores
from longspan_workflow.wiring.windows import Windows


class Selections:
    """Inputs and parameters of rules/selections.smk.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
        scores: tables of stores.
    """

    def __init__(self, settings: Settings, places: Places, windows: Windows, scores: Scores):
        self._settings, self._places, self._windows, self._scores = settings, places, windows, scores

    def _of(self, wildcards) -> SelectionBlock:
        return self._settings.selections[wildcards.selection]

    def settings(self, wildcards) -> dict:
        """Method and keep rule of a selection."""
        selection = self._of(wildcards)
        block = selection.as_settings("windowing", "scorer")
        block["window_tokens"] = selection.windowing.window_tokens
        if selection.is_drawn:
            block["seed"] = derive_seed(self._settings.seed, "select_windows", selection.key)
        return block

    def method(self, wildcards) -> str:
        """Name of a selection's method."""
        return self._of(wildcards).method

    def windows(self, wildcards) -> list[str]:
        """Windows that a selection chooses from."""
        return self._windows.all_windows(self._of(wildcards).windowing)

    def sources(self, wildcards) -> dict[str, list[str]]:
        """What a selection's method looks at beside the windows, as it says itself."""
        selection = self._of(wildcards)
        windowing, needs = selection.windowing, selection.needs
        found = {}
        if selection.scorer is not None:
            found["scores"] = self._scores.of_all_shards(windowing, selection.scorer)
        if needs.documents:
            found["documents"] = self._windows.all_documents(windowing)
        if needs.tokens:
            found["tokens"] = self._windows.all_tokens(windowing)
        return found

    def source_arguments(self, wildcards, input) -> list[str]:
        """Folders of these tables, for the command line."""
        return [
            argument
            for name in self.sources(wildcards)
            for argument in (f"--{name}", str(Path(input[name][0]).parent))
        ]

    def shard_count(self, wildcards) -> int:
        """Number of shards that a selection chooses from."""
        return self._of(wildcards).windowing.corpus.shards
