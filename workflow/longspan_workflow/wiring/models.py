"""Models: what is fetched, and what each becomes."""

import glob

from longspan_workflow.settings.blocks import Model, Settings
from longspan_workflow.wiring.places import Places


class Models:
    """Inputs and parameters of rules/models.smk.

    Args:
        settings: the settings.
        places: paths.
    """

    def __init__(self, settings: Settings, places: Places):
        self._settings, self._places = settings, places

    def _of(self, wildcards) -> Model:
        return self._settings.models[wildcards.model]

    def path(self, model: Model) -> str:
        """Manifest of a model."""
        return self._places.model.format(model=model.key)

    def settings(self, wildcards) -> dict:
        """Source and identity of a model; not how it is run."""
        model = self._of(wildcards)
        block = {
            "source": model.source.as_settings(),
            "license": model.license,
            "max_position_embeddings": model.max_position_embeddings,
        }
        return block | {"first_layer_only": self._first_layer_only(model)}

    def _first_layer_only(self, model: Model) -> bool:
        # A model that only gives attention scores needs few of its files.
        scorers = [scorer for scorer in self._settings.scorers.values() if scorer.model_name == model.key]
        trained = any(run.model_name == model.key for run in self._settings.runs.values())
        return bool(scorers) and not trained and all(scorer.first_layer_only for scorer in scorers)

    def files(self, wildcards) -> list[str]:
        """Files of a model that is a local folder."""
        source = self._of(wildcards).source
        if source.kind != "folder":
            return []
        return sorted(glob.glob(f"{source.path}/*.json") + glob.glob(f"{source.path}/*.safetensors"))

    def revisions(self, wildcards) -> list[str]:
        """The hub's commits, if a model comes from there."""
        return [self._places.revisions] if self._of(wildcards).pin else []

    def repositories(self) -> list[tuple[str, str, str]]:
        """(kind, repository, revision) of everything that comes from the hub."""
        models = [model.source.repository for model in self._settings.models.values()]
        texts = [source.repository for corpus in self._settings.corpora.values() for source in corpus.sources]
        return sorted({repository for repository in (*models, *texts) if repository is not None})

    def downloads(self) -> list[str]:
        """Everything that needs a network: texts, and models that are no local folder."""
        models = [
            self.path(model) for model in self._settings.models.values() if model.source.kind != "folder"
        ]
        archives = dict.fromkeys(
            source.archive_name
            for corpus in self._settings.corpora.values()
            for source in corpus.sources
            if source.is_fetched
        )
        archives |= dict.fromkeys(
            source.archive_name for task in self._settings.evaluations.values() for source in task.archives
        )
        texts = [self._places.text_archive.format(archive=archive) for archive in archives]
        return [*models, *texts, *([self._places.revisions] if self.repositories() else [])]
