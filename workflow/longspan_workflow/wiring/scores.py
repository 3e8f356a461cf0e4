"""Scores: which windows a store holds scores of, and by what."""

from pathlib import Path

from longspan_workflow.settings.blocks import ScorerBlock, Settings, WindowingBlock
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.windows import Windows


class Scores:
    """Inputs and parameters of rules/scores.smk, and the tables of a store.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
    """

    def __init__(self, settings: Settings, places: Places, windows: Windows):
        self._settings, self._places, self._windows = settings, places, windows
        self._used = Used(settings)

    def scorer_settings(self, wildcards) -> dict:
        """A scorer's settings, the forward pass of its model among them."""
        scorer = self._settings.scorers[wildcards.scorer]
        forward = scorer.model.forward(scorer.rope_theta)
        own = scorer.as_settings("kind", "model", "rope_theta")
        return own | {key: forward[key] for key in scorer.forward_keys}

    def inputs(self, wildcards) -> dict[str, str | list[str]]:
        """The model that scores a shard and the shard's tokens; also its documents if the model has another
        tokenizer than the windows', to compare the two."""
        windows = self._windows.inputs(wildcards)
        model = self._places.model.format(model=self._settings.scorers[wildcards.scorer].model_name)
        return {
            "model": model,
            "tokens": windows["tokens"],
            "documents": [] if model == windows["model"] else [windows["documents"]],
        }

    def kept(self, wildcards) -> list[str]:
        """Kept windows of the selections and stages that alone need scores; none if all windows need them."""
        names = self._used.kept_enough((wildcards.windowing, wildcards.scorer))
        return [self._places.kept.format(selection=name) for name in names]

    def all_windows(self, wildcards) -> list[str]:
        """Windows of every shard of a store."""
        return self._windows.all_windows(self._settings.windowings[wildcards.windowing])

    def all_scores(self, wildcards) -> list[str]:
        """Scores of every shard of a store."""
        windowing = self._settings.windowings[wildcards.windowing]
        return self.of_all_shards(windowing, self._settings.scorers[wildcards.scorer])

    def shard_count(self, wildcards) -> int:
        """Number of shards of a store."""
        return self._settings.windowings[wildcards.windowing].corpus.shards

    def indexes(self) -> list[str]:
        """Indexes of all frozen NLL stores that runs and exports need."""
        return [
            self._places.score_index.format(windowing=windowing, scorer=scorer)
            for windowing, scorer in self._used.frozen_stores
        ]

    # Tables of a store

    def of_all_shards(self, windowing: WindowingBlock, scorer: ScorerBlock) -> list[str]:
        """Scores of every shard of a windowing."""
        return [
            self._places.scores.format(windowing=windowing.key, scorer=scorer.key, shard=shard)
            for shard in windowing.corpus.shard_names
        ]

    def index(self, windowing: WindowingBlock, scorer: ScorerBlock) -> str:
        """Index of a store."""
        return self._places.score_index.format(windowing=windowing.key, scorer=scorer.key)

    def folder_here(self, windowing: WindowingBlock, scorer: ScorerBlock) -> str:
        """Folder of a store, as it is on the disk."""
        return str(Path(self._places.here(self.index(windowing, scorer))).parent)
