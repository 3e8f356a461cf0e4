"""Exports: what a shard's windows are written from, and what the card says."""

from pathlib import Path

from longspan_workflow.settings.blocks import Export, Settings
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.windows import Windows


class Exports:
    """Inputs and parameters of rules/exports.smk.

    Args:
        settings: the settings.
        places: paths.
        windows: tables of windowings.
    """

    def __init__(self, settings: Settings, places: Places, windows: Windows):
        self._settings, self._places, self._windows = settings, places, windows

    def _of(self, wildcards) -> Export:
        return self._settings.exports[wildcards.export]

    # A shard of an export

    def export_settings(self, wildcards) -> dict:
        """Format of an export, and the loss whose weights it holds."""
        export, loss, seed = self._of(wildcards), None, None
        if export.loss is not None:
            loss = export.loss.as_settings("scorer")
            seed = derive_seed(self._settings.seed, "export_windows", export.key)
        return {"format": export.format, "loss": loss, "seed": seed}

    def inputs(self, wildcards) -> dict[str, str | list[str]]:
        """Tables of a shard; kept windows if the export has a selection, scores and index if a loss."""
        export, shard = self._of(wildcards), wildcards.shard
        windowing = export.windowing
        loss = export.loss
        scorers = [] if loss is None or loss.scorer_name is None else [loss.scorer_name]
        scores, index = (
            [template.format(windowing=windowing.key, scorer=scorer, shard=shard) for scorer in scorers]
            for template in (self._places.scores, self._places.score_index)
        )
        selections = [] if export.selection_name is None else [export.selection_name]
        return {
            "documents": self._windows.documents_of(windowing, shard),
            "tokens": self._windows.tokens_of(windowing, shard),
            "windows": self._windows.windows_of(windowing, shard),
            "kept": [self._places.kept.format(selection=selection) for selection in selections],
            "scores": scores,
            "index": index,
        }

    # An export over all shards

    def shard_count(self, wildcards) -> int:
        """Number of shards of an export."""
        return self._of(wildcards).windowing.corpus.shards

    def data_files(self, wildcards) -> list[str]:
        """Files of all shards."""
        return self._of_all_shards(self._places.export_data, wildcards)

    def manifests(self, wildcards) -> list[str]:
        """Manifests of all shards."""
        return self._of_all_shards(self._places.export_manifest, wildcards)

    def _of_all_shards(self, template: str, wildcards) -> list[str]:
        export = self._of(wildcards)
        shards = export.windowing.corpus.shard_names
        return [template.format(export=export.key, ending=export.ending, shard=shard) for shard in shards]

    def ending(self, wildcards) -> str:
        """Ending of an export's files."""
        return self._of(wildcards).ending

    def cards(self) -> list[str]:
        """Data card of every export; who has it has the export."""
        return [self._places.export_card.format(export=export) for export in self._settings.exports]

    def publications(self) -> list[str]:
        """Records of the exports that are published.

        Raises:
            SettingsError: none is.
        """
        names = [export.key for export in self._settings.exports.values() if export.repo is not None]
        if not names:
            raise SettingsError("exports: none has a 'repo', so there is nothing to publish")
        return [self._places.publication.format(export=name) for name in names]

    def publication_settings(self, wildcards) -> dict[str, str | bool]:
        """Dataset of the hub that an export becomes."""
        export = self._of(wildcards)
        if export.repo is None:
            raise SettingsError(f"exports.{export.key}: has no 'repo' to publish to")
        return {"repo": export.repo, "private": export.private}

    # The card

    def card_settings(self, wildcards) -> dict:
        """What the card says beside the shards' manifests; the arguments of `data_card`."""
        export = self._of(wildcards)
        folder = self._places.here(self._places.export.format(export=export.key))
        return {
            "title": export.key,
            "location": export.repo or folder,
            "data_files": f"data/*.{export.ending}",
            "sources": [
                {
                    "source": source.origin,
                    "category": source.category,
                    "license": source.license,
                    "pin": source.pin,
                }
                for source in export.windowing.corpus.sources
            ],
            "models": self._models(export),
            "citations": citations_of(export.selection, export.loss, *self._scorers(export)),
            "settings": self._used(export),
        }

    def card_folder(self, wildcards, input) -> str:
        """Folder of the shards' manifests."""
        return str(Path(input.manifests[0]).parent)

    def revisions(self, wildcards) -> list[str]:
        """The hub's commits, if a source or model of an export comes from there."""
        settings = self.card_settings(wildcards)
        pins = [part["pin"] for part in (*settings["sources"], *settings["models"])]
        return [self._places.revisions] if any(pins) else []

    @staticmethod
    def _scorers(export: Export) -> list:
        blocks = [block for block in (export.selection, export.loss) if block is not None]
        return [scorer for block in blocks for scorer in block.scorers]

    def _models(self, export: Export) -> list[dict[str, str]]:
        models, roles = {}, {}
        uses = [("tokenizer", export.windowing.tokenizer)]
        uses += [(f"scorer {scorer.key}", scorer.model) for scorer in self._scorers(export)]
        for role, model in uses:
            models[model.key] = model
            roles.setdefault(model.key, []).append(role)
        return [
            {
                "role": ", ".join(dict.fromkeys(roles[name])),
                "name": name,
                "source": model.source.origin,
                "license": model.license,
                "pin": model.pin,
            }
            for name, model in models.items()
        ]

    def _used(self, export: Export) -> dict:
        """The settings that an export depends on, in the form of the settings."""
        windowing, scorers = export.windowing, self._scorers(export)
        blocks = {
            "models": [windowing.tokenizer, *(scorer.model for scorer in scorers)],
            "corpora": [windowing.corpus],
            "windowings": [windowing],
            "scorers": scorers,
            "selections": [export.selection],
            "losses": [export.loss],
            "exports": [export],
        }
        return {
            "seed": self._settings.seed,
            **{
                section: {block.key: block.as_settings() for block in members if block is not None}
                for section, members in blocks.items()
            },
        }


def citations_of(*blocks) -> list[str]:
    """BibTeX entries of what was used, each once."""
    return list(dict.fromkeys(entry for block in blocks if block is not None for entry in block.cited))
