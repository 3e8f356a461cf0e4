"""Selections: what a method looks at."""

from pathlib import Path

from longspan_workflow.settings.blocks import Settings, Stage
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

    def _of(self, wildcards) -> Stage:
        return self._settings.stages[wildcards.selection]

    def settings(self, wildcards) -> dict:
        """Method and keep rule of a selection or stage, and the number of a stage."""
        stage = self._of(wildcards)
        block = stage.as_settings("windowing", "scorer")
        block["window_tokens"] = stage.windowing.window_tokens
        if stage.number is not None:
            block["stage"] = stage.number
        if stage.is_drawn:
            block["seed"] = derive_seed(self._settings.seed, "select_windows", stage.seed_name)
        return block

    def method(self, wildcards) -> str:
        """Name of the method."""
        return self._of(wildcards).method

    def windows(self, wildcards) -> list[str]:
        """Windows of the windowing."""
        return self._windows.all_windows(self._of(wildcards).windowing)

    def before(self, wildcards) -> list[str]:
        """Table of the stage before, from whose kept windows a stage chooses."""
        before = self._of(wildcards).before
        return [] if before is None else [self._places.selection.format(selection=before.key)]

    def sources(self, wildcards) -> dict[str, list[str]]:
        """What the method looks at beside the windows, as it says itself."""
        stage = self._of(wildcards)
        windowing, needs = stage.windowing, stage.needs
        found = {}
        if stage.scorer is not None:
            found["scores"] = self._scores.of_all_shards(windowing, stage.scorer)
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
