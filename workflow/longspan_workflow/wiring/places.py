"""Where files lie: paths by names. Templates hold wildcards in braces."""

import json
import re
from collections.abc import Callable, Iterable


class Places:
    """Paths of one workflow.

    Snakemake puts a module's prefix before the inputs and outputs of its rules, and before nothing else: a
    path that goes into a parameter, or that is looked at while the DAG is made, goes through `here`.

    Args:
        results: folder of what the workflow makes.
        downloads: folder of what it fetches.
        here: gives a path as it is on the disk.
    """

    def __init__(self, results: str, downloads: str, here: Callable[[str], str] = str):
        self.here = here
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
        self.export = f"{results}/exports/{{export}}"
        self.export_data = f"{self.export}/data/{{shard}}.{{ending}}"
        self.export_manifest = f"{self.export}/manifests/{{shard}}.{{ending}}.json"
        self.export_card = f"{self.export}/README.md"
        self.publication = f"{self.export}/published.json"
        self.run = f"{results}/runs/{{run}}/{{loss}}/seed{{seed}}"
        self.evaluation = f"{results}/evaluations/{{run}}/{{trained}}/{{evaluation}}.parquet"
        self.prepared_task = f"{results}/tasks/{{evaluation}}/{{windowing}}.parquet"
        self.evaluation_table = f"{results}/evaluation.tsv"
        self.evaluation_markdown = f"{results}/evaluation.md"
        self.verdict = f"{results}/verdict.txt"
        self.estimate = f"{results}/estimate.tsv"
        self.settings_record = f"{results}/settings.yaml"
        self.summary = f"{results}/summary.txt"
        self.summary_table = f"{results}/summary.tsv"
        self.benchmarks = f"{results}/benchmarks"
        self.costs = f"{results}/costs.tsv"
        self.funnel = f"{results}/funnel.tsv"
        self.figure = f"{results}/figures/{{figure}}.svg"
        self.shard_aggregate = f"{results}/aggregates/windows/{{windowing}}/{{shard}}.json"
        self.selection_aggregate = f"{results}/aggregates/selections/{{selection}}.json"
        self.page = f"{results}/report.html"
        self.report = f"{results}/report-snakemake.html"

    def log(self, rule: str, *wildcards: str) -> str:
        """Template of a rule's log, named by its wildcards."""
        return f"{self.results}/logs/{rule}/{_named(wildcards)}.log"

    def benchmark(self, rule: str, *wildcards: str) -> str:
        """Template of the table of what a job of a rule took."""
        return f"{self.benchmarks}/{rule}/{_named(wildcards)}.tsv"


def _named(wildcards: tuple[str, ...]) -> str:
    return "/".join(f"{{{wildcard}}}" for wildcard in wildcards) or "all"


def as_json(settings: dict | Callable) -> str | Callable:
    """Settings (or a function of wildcards that gives them) as JSON, for a command line."""
    if callable(settings):
        return lambda wildcards: as_json(settings(wildcards))
    return json.dumps(settings, sort_keys=True, ensure_ascii=False)


def alternatives(names: Iterable[str]) -> str:
    """Pattern of a wildcard that takes one of some names."""
    return "|".join(re.escape(name) for name in names) or "(?!)"
